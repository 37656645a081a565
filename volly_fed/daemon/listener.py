"""Where homeservers and edge nodes connect: the door for strangers, and what becomes of their errors.

in: listening sockets, an `Accepted` plan per caller; out: proved connections, in the plan's `use`.
Never: lets one caller's error end the listener; what is not a caller's fault is logged and costs that caller only.
"""

from collections.abc import Callable

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.daemon.acceptor import Acceptor, address_of
from volly_fed.daemon.admission import Admission, Stage, Stranger
from volly_fed.daemon.call_rate import CallRate
from volly_fed.daemon.connection import Accepted, accept
from volly_fed.daemon.metered import Metered
from volly_fed.daemon.refusals import Refusals
from volly_fed.daemon.socket_stream import direct
from volly_fed.errors import RemoteError, StorageError, VollyFedError
from volly_fed.handshake import Claimed, source_of
from volly_fed.names import Fingerprint
from volly_fed.observe.log import Log
from volly_fed.observe.tally import Tally

Plan = Callable[[str], Accepted]
"""The caller's address -> how to judge and serve it."""
_DOOR = "DOOR"
_RATE = "RATE"


@attrs.define(kw_only=True)
class Listener:
    """Accepts callers of one kind. Whoever makes `refusals` runs it too."""

    plan: Plan
    log: Log
    admission: Admission = attrs.field(factory=Admission)
    rate: CallRate = attrs.field(factory=CallRate)
    refusals: Refusals = attrs.field(factory=Refusals)
    whom: str = "peer"
    """Or edge: who is expected."""
    tally: Tally = attrs.field(factory=Tally)
    _acceptor: Acceptor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._acceptor = Acceptor(self._welcome)

    async def serve(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until `stop`; see `Acceptor.serve`."""
        await self._acceptor.serve(listeners, task_status=task_status)

    def stop(self) -> None:
        """Accept nobody any more."""
        self._acceptor.stop()

    async def _welcome(self, stream: trio.SocketStream) -> None:
        try:
            if address := address_of(stream):
                await self._let_in(stream, address, source_of(address))
        finally:
            await trio.aclose_forcefully(stream)

    async def _let_in(self, stream: trio.SocketStream, address: str, source: str) -> None:
        if objection := self.rate.objection(source, trio.current_time()):
            self._note(_RATE, objection)
            return
        with self.admission.stranger(address, known=self.rate.knows(source)) as stranger:
            if not stranger.objection:
                await self._hear(Metered(direct(stream)), address, stranger)
        if stranger.objection:
            self._note(_DOOR, stranger.objection)

    async def _hear(self, stream: Metered, address: str, stranger: Stranger) -> None:
        def secured() -> None:
            stranger.reached(Stage.SECURED)

        def proved() -> None:
            stranger.reached(Stage.PROVED)
            self.admission.leave(stranger)
            self.rate.proved(stranger.source)
            stream.trust()

        plan = self.plan(address)

        async def admit(claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:
            expected = await plan.admit(claimed, negotiated)
            stranger.reached(Stage.CLAIMED)
            return expected

        try:
            await accept(stream, attrs.evolve(plan, admit=admit), secured=secured, proved=proved)
        except RemoteError as error:
            more = f"more than {limits.MAX_BEFORE_PROOF} bytes before a proof: " if stream.exceeded else ""
            self._note(error.code.name, f"{more}{error}")
        except StorageError:
            pass  # nothing about the caller, and the store has said so itself
        except VollyFedError as error:
            self._note(type(error).__name__, str(error))

    def _note(self, kind: str, reason: str) -> None:
        self.tally.handshakes[self.whom, "acceptor", kind] += 1
        self.refusals.note(kind, lambda count: self.log.claim_refused(peer=None, code=kind, reason=reason, count=count))
