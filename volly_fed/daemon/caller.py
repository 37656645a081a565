"""One caller on the federation port, from its address to its session.

in: what it claims and proves; out: its link, on the trust level that was judged.
Never: judges anything itself, or keeps the link of one who only probed.
"""

import attrs

from volly_fed.channel import Negotiated
from volly_fed.codepoints import Extension, TrustLevel
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.judge import Claim, Judge
from volly_fed.daemon.peers import Peers
from volly_fed.handshake import Claimed, Outcome
from volly_fed.names import Fingerprint
from volly_fed.trust.evidence import Evidence


@attrs.define(kw_only=True)
class Caller:
    """What `connection.Accepted` asks for, one step after the other."""

    judge: Judge
    peers: Peers
    address: str
    claim: Claim | None = None
    level: TrustLevel = TrustLevel.NONE

    async def admit(self, claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:
        """The identities that the claimed domain may prove; raises like `Judge.admit`."""
        self.claim = await self.judge.admit(claimed, negotiated, self.address)
        return self._evidence.expected

    async def confirm(self, outcome: Outcome) -> None:
        """The claim is proved; raises like `Judge.establish`."""
        assert self.claim is not None
        self.level = await self.judge.establish(outcome, self._evidence)
        self.judge.proved(self.claim)

    async def use(self, connection: Connection) -> None:
        """Serve the link until it ends."""
        if Extension.PROBE not in connection.outcome.extensions:
            await self.peers.converse(connection, self.level)

    @property
    def _evidence(self) -> Evidence:
        assert self.claim is not None, "nobody proves what was not claimed"
        return self.claim.evidence
