"""Our calls to other homeservers: gate, discovery, TCP, proof of identity, target by target.

in: a domain; out: a Connection handed to the caller's `use`.
Never: connects to an address that did not come out of a validated answer, or to a target without a matching key.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import FEDERATION, check_tlsa
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.eyeballs import connect_any
from volly_fed.daemon.judge import Judge
from volly_fed.daemon.link import End
from volly_fed.daemon.targets import Failures
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.discovery.endpoint import Target
from volly_fed.errors import ChannelError, NoMatch, Refused, RemoteError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName
from volly_fed.observe.tally import Tally
from volly_fed.trust.evidence import Evidence

Use = Callable[[Connection, TrustLevel], Awaitable[End | None]]
_IMPOSTORS = frozenset({ErrorCode.KEY_MISMATCH, ErrorCode.IDENTITY_MISMATCH, ErrorCode.WRONG_NAME})
"""What is wrong with a target at which somebody else answers."""
_BROKEN = frozenset({ErrorCode.CHANNEL, ErrorCode.TIMEOUT})
"""How links end that neither end has closed."""


@attrs.define(kw_only=True)
class Dialer:
    """One per homeserver."""

    party: Party
    judge: Judge
    context: TlsContext
    tally: Tally = attrs.field(factory=Tally)
    _failures: Failures = attrs.field(factory=Failures, init=False)

    @classmethod
    def create(cls, party: Party, judge: Judge, identity: TlsIdentity) -> "Dialer":
        """A dialler that shows `identity`'s certificate."""
        # [channel-27]
        return cls(party=party, judge=judge, context=make_context(FEDERATION, server=False, identity=identity))

    async def dial(self, peer: DomainName, use: Use) -> None:
        """Connect to `peer` and hand the proved connection to `use`; returns when that returns.

        The next SRV target is tried while none has proved itself (RFC 2782), for limits.DIAL in all. Raises
        RemoteError (POLICY when our own gate says no), DiscoveryError, ChannelError; and what `use` raises.
        """
        try:
            await self._reach(peer, use)
        except RemoteError as error:
            self.tally.handshakes["peer", "dialler", error.code.name] += 1
            raise

    async def _reach(self, peer: DomainName, use: Use) -> None:
        decision = self.judge.may_dial(peer)
        if not decision.allowed:
            raise RemoteError(decision.reason, code=ErrorCode.POLICY)
        endpoint, evidence = await self.judge.look_up(peer)
        targets = self._failures.in_order(endpoint.targets, trio.current_time())
        deadline = trio.current_time() + limits.DIAL
        failed: list[str] = []
        code = ErrorCode.CHANNEL
        for left, target in zip(range(len(targets), 0, -1), targets, strict=True):  # [discovery-25]
            share = (deadline - trio.current_time()) / left
            failure = await self._try(target, evidence, use, share)
            if failure is None:
                return
            failed.append(f"{target.host}: {failure}")
            if failure.code in _IMPOSTORS:
                self._report(peer, target, failure)
                code = failure.code
        text = f"no target of {peer} can be reached: {'; '.join(failed)}"
        raise ChannelError(text) if code is ErrorCode.CHANNEL else RemoteError(text, code=code)

    async def _try(self, target: Target, evidence: Evidence, use: Use, patience: float) -> RemoteError | None:
        """A connection to `target`, to its end; or what is wrong with it, where another one may do better."""
        with trio.CancelScope(deadline=trio.current_time() + patience) as scope:
            attempt = _Attempt(use, scope, evidence.until)
            try:
                await self._converse(target, evidence, attempt)
            except (RemoteError, NoMatch) as error:
                if attempt.established or _speaks_for_all(error):
                    raise
                failure = RemoteError(str(error), code=_code(error))
            else:
                self._note_end(target, attempt)
                return None
        if scope.cancelled_caught:
            failure = ChannelError(f"no proof of its identity within {patience:.0f} s", code=ErrorCode.TIMEOUT)
        self._failures.note(target, trio.current_time())
        return failure

    async def _converse(self, target: Target, evidence: Evidence, attempt: "_Attempt") -> None:
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
        await dial(await connect_any(target.addresses, target.port), plan)

    def _note_end(self, target: Target, attempt: "_Attempt") -> None:
        """A link that broke is a reason to begin elsewhere next time."""
        if attempt.end is not None and attempt.end.code in _BROKEN:
            self._failures.note(target, trio.current_time())
        else:
            self._failures.forget(target)

    def _report(self, peer: DomainName, target: Target, failure: RemoteError) -> None:
        self.judge.log.target_skipped(
            peer=peer, subject=f"{target.host}:{target.port}", code=failure.code.name, reason=str(failure)
        )


@attrs.define
class _Attempt:
    """One target: whether it got as far as a session, on which trust level, and how that ended."""

    use: Use
    patience: trio.CancelScope
    records_until: float
    level: TrustLevel = TrustLevel.NONE
    established: bool = False
    end: End | None = None

    async def proceed(self, connection: Connection) -> None:
        """The connection is proved: it may take as long as it likes."""
        self.established = True
        self.patience.deadline = float("inf")
        self.end = await self.use(attrs.evolve(connection, records_until=self.records_until), self.level)


def _speaks_for_all(error: RemoteError | NoMatch) -> bool:
    """Whether another target of the same domain would end in the same way: the domain, or we, do not want a link."""
    if isinstance(error, Refused):
        return error.code is not ErrorCode.WRONG_NAME
    return isinstance(error, RemoteError) and error.code is ErrorCode.POLICY


def _code(error: RemoteError | NoMatch) -> ErrorCode:
    return error.code if isinstance(error, RemoteError) else ErrorCode.KEY_MISMATCH
