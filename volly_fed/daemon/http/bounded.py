"""One connection of a client of the HTTP face, bounded in what it may say and in how slowly it may listen.

in: a socket; out: the same as a stream. Never: waits for a client for longer than limits_http.CONNECTION_TIME, even
where a cancellation is not heard (hypercorn shields its sending), or reads more than limits_http.REQUEST from it.
"""

import trio

from volly_fed import limits_http


class Bounded(trio.abc.HalfCloseableStream):
    """Ends, as if the client had gone, where a bound is reached."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._left = limits_http.REQUEST
        self._until = trio.current_time() + limits_http.CONNECTION_TIME

    @property
    def socket(self) -> trio.socket.SocketType:
        """Hypercorn asks it for its names."""
        return self._stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises BrokenResourceError: time is up."""
        with trio.move_on_at(self._until) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        """As SocketStream has it."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Nothing (the end) beyond the bound."""
        most = min(self._left, max_bytes or self._left)
        data = bytes(await self._stream.receive_some(most)) if most else b""
        self._left -= len(data)
        return data

    async def send_eof(self) -> None:
        """As SocketStream has it."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As SocketStream has it."""
        await self._stream.aclose()
