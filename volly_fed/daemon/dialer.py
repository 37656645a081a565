"""Our calls to other homeservers: gate, discovery, TCP, proof of identity, target by target.

in: a domain; out: a Connection handed to the caller's `use`.
Never: connects to an address that did not come out of a validated answer, or to a target without a matching key.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from volly_fed.channel import FEDERATION, check_tlsa
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.eyeballs import connect_any
from volly_fed.daemon.judge import Judge
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.discovery.endpoint import Target
from volly_fed.errors import ChannelError, NoMatch, RemoteError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName
from volly_fed.trust.evidence import Evidence

Use = Callable[[Connection, TrustLevel], Awaitable[None]]


@attrs.define(kw_only=True)
class Dialer:
    """One per homeserver."""

    party: Party
    judge: Judge
    context: TlsContext

    @classmethod
    def create(cls, party: Party, judge: Judge, identity: TlsIdentity) -> "Dialer":
        """A dialler that shows `identity`'s certificate."""
        return cls(party=party, judge=judge, context=make_context(FEDERATION, server=False, identity=identity))

    async def dial(self, peer: DomainName, use: Use) -> None:
        """Connect to `peer` and hand the proved connection to `use`; returns when that returns.

        The next SRV target is tried while none has connected (RFC 2782). Raises RemoteError (POLICY when our own
        gate says no), DiscoveryError, ChannelError; and what `use` raises.
        """
        decision = self.judge.may_dial(peer)
        if not decision.allowed:
            raise RemoteError(decision.reason, code=ErrorCode.POLICY)
        endpoint, evidence = await self.judge.look_up(peer)
        failures: list[str] = []
        for target in endpoint.targets:
            attempt = _Attempt(use)
            try:
                stream = await connect_any(target.addresses, target.port)
                await self._converse(stream, target, evidence, attempt)
            except (ChannelError, NoMatch) as error:
                if attempt.established:
                    raise
                failures.append(f"{target.host}: {error}")
            else:
                return
        raise ChannelError(f"no target of {peer} can be reached: {'; '.join(failures)}")

    async def _converse(self, stream: trio.abc.Stream, target: Target, evidence: Evidence, attempt: "_Attempt") -> None:
        async def confirm(outcome: Outcome) -> None:
            attempt.level = await self.judge.establish(outcome, evidence)

        plan = Dialled(
            context=self.context,
            party=self.party,
            host=target.host,
            wanted=evidence.domain,
            expected=evidence.expected,
            check_key=partial(check_tlsa, target.tlsa),
            confirm=confirm,
            use=attempt.proceed,
        )
        await dial(stream, plan)


@attrs.define
class _Attempt:
    """One target: whether it got as far as a session, and on which trust level."""

    use: Use
    level: TrustLevel = TrustLevel.NONE
    established: bool = False

    async def proceed(self, connection: Connection) -> None:
        """The connection is proved."""
        self.established = True
        await self.use(connection, self.level)
