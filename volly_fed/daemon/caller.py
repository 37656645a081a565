"""One caller, from its address to its session: on the federation port, or an edge node on its own.

in: what it claims and proves; out: its link, on the trust level that was judged.
Never: judges anything itself, or keeps the link of one who only probed.
"""

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.codepoints import ErrorCode, Extension, TrustLevel
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.edges import EdgeLinks
from volly_fed.daemon.judge import Claim, Judge
from volly_fed.daemon.peers import Peers
from volly_fed.errors import RemoteError
from volly_fed.handshake import TOO_MANY_LINKS, Admission, Claimed, ClaimGuard, Outcome
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
        if Extension.PROBE not in connection.outcome.extensions:  # [handshake-28]
            await self.peers.converse(attrs.evolve(connection, records_until=self._evidence.until), self.level)

    @property
    def _evidence(self) -> Evidence:
        assert self.claim is not None, "nobody proves what was not claimed"
        return self.claim.evidence


@attrs.define
class EdgeDoor:
    """What all callers on the port for edges have in common: the limits on claims, and on reading the enrolments."""

    links: EdgeLinks
    guard: ClaimGuard = attrs.field(factory=ClaimGuard)
    readers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(limits.EDGE_LOOK_UPS))


@attrs.define(kw_only=True)
class EdgeCaller:
    """As `Caller`, for one edge node; its enrolment stands in for a discovery."""

    door: EdgeDoor
    address: str
    admission: Admission | None = None

    async def admit(self, claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:
        """The identity the claimed edge may prove; raises like `EdgeLinks.admit`, and RemoteError BUSY."""
        admission = self.door.guard.admit(
            claimed.domain, address=self.address, spki_sha256=negotiated.peer_spki_sha256, now=trio.current_time()
        )
        if not admission.allowed:
            raise RemoteError(admission.reason, code=ErrorCode.BUSY, retry_after=admission.retry_after)
        self.admission = admission
        try:
            async with self.door.readers:
                return await self.door.links.admit(claimed, negotiated)
        finally:
            self.door.guard.release(admission)

    async def confirm(self, outcome: Outcome) -> None:
        """The claim is proved; raises like `EdgeLinks.confirm`, and RemoteError BUSY."""
        assert self.admission is not None, "nobody proves what was not claimed"
        async with self.door.readers:
            await self.door.links.confirm(outcome)
        if wait := self.door.guard.proved(self.admission, trio.current_time()):
            raise RemoteError(TOO_MANY_LINKS, code=ErrorCode.BUSY, retry_after=wait)

    async def use(self, connection: Connection) -> None:
        """Serve the edge's link until it ends."""
        await self.door.links.serve(connection)
