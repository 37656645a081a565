"""Where others connect: the loop that accepts, the door for strangers, and what becomes of their errors.

in: listening sockets, an `Accepted` plan per caller; out: proved connections, in the plan's `use`.
Never: lets one caller's error end the listener; what is not a caller's fault is logged and costs that caller only.
"""

from collections.abc import Callable
from contextlib import ExitStack

import attrs
import trio

from volly_fed.daemon.admission import Admission
from volly_fed.daemon.connection import Accepted, accept
from volly_fed.errors import LocalError, RemoteError, VollyFedError
from volly_fed.observe.log import Log

Plan = Callable[[str], Accepted]
"""The caller's address -> how to judge and serve it."""


@attrs.define(kw_only=True)
class Listener:
    """Accepts callers of one kind."""

    plan: Plan
    log: Log
    admission: Admission = attrs.field(factory=Admission)
    _accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def serve(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until `stop`, then return when the last connection has ended. The sockets are closed at `stop`."""
        async with trio.open_nursery() as nursery:
            with self._accepting:
                task_status.started()
                await trio.serve_listeners(self._welcome, listeners, handler_nursery=nursery)

    def stop(self) -> None:
        """Accept nobody any more."""
        self._accepting.cancel()

    async def _welcome(self, stream: trio.SocketStream) -> None:
        try:
            address = str(stream.socket.getpeername()[0])
        except OSError:  # gone already
            await trio.aclose_forcefully(stream)
            return
        with ExitStack() as inside:
            if not inside.enter_context(self.admission.stranger(address)):
                await trio.aclose_forcefully(stream)
                return
            try:
                await accept(stream, self.plan(address), proved=inside.close)
            except RemoteError as error:
                self.log.claim_refused(peer=None, code=error.code.name, reason=str(error))
            except LocalError as error:
                self.log.storage_failed(reason=str(error))
            except VollyFedError as error:
                self.log.claim_refused(peer=None, code=type(error).__name__, reason=str(error))
