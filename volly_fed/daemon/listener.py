"""Where homeservers and edge nodes connect: the door for strangers, and what becomes of their errors.

in: listening sockets, an `Accepted` plan per caller; out: proved connections, in the plan's `use`.
Never: lets one caller's error end the listener; what is not a caller's fault is logged and costs that caller only.
"""

from collections.abc import Callable
from contextlib import ExitStack

import attrs
import trio

from volly_fed.daemon.acceptor import Acceptor, address_of
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
        address = address_of(stream)
        with ExitStack() as inside:
            if not address or not inside.enter_context(self.admission.stranger(address)):
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
