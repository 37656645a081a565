"""The loop that accepts: callers get tasks of their own, and outlive the end of accepting.

in: listening sockets, what to do with a stream; out: a serve loop that can be told to accept nobody any more.
Never: stops because of one caller: what `welcome` raises is a bug of ours.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio


@attrs.define
class Acceptor:
    """One set of listening sockets."""

    welcome: Callable[[trio.SocketStream], Awaitable[None]]
    _accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def serve(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until `stop`, then return when the last caller is gone. The sockets are closed at `stop`."""
        async with trio.open_nursery() as nursery:
            with self._accepting:
                task_status.started()
                await trio.serve_listeners(self.welcome, listeners, handler_nursery=nursery)

    def stop(self) -> None:
        """Accept nobody any more."""
        self._accepting.cancel()


def address_of(stream: trio.SocketStream) -> str:
    """The caller's IP address; "" where it is gone already."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""
