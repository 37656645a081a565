"""TCP without detours: the system call at once, the scheduler only when it would block, and now and then.

in: a `trio.SocketStream`, which it takes over; out: a stream with the same bytes at a fifth of the cost.
Never: sends or receives after it was closed, when the descriptor's number may be somebody else's.

trio gives every other task a turn in every call (a checkpoint), which costs more than the system call itself. Here a
call that need not wait does so once in limits.CALLS_WITHOUT_CHECKPOINT; that it was cancelled, it notices always.
A read that did not fill its buffer has emptied the socket, so the next one waits first: the kernel reports what came
meanwhile, and the end too, for as long as it is there.
"""

import errno
import os

import trio

from volly_fed import limits

_CLOSED_HERE = frozenset({errno.EBADF, errno.ENOTSOCK})


def direct(stream: trio.abc.Stream) -> trio.abc.Stream:
    """`stream` without detours where it is TCP; as it is otherwise."""
    return DirectStream(stream) if isinstance(stream, trio.SocketStream) else stream


class DirectStream(trio.abc.Stream):
    """A connected TCP socket. One task may send and one may receive at a time.

    Resource handling: takes over `stream`; the caller closes this object.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = stream.socket
        self._calls = 0
        self._drained = False  # the last read took all there was: another would only say so

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio describes it; cancelled half-way, nobody knows how much was sent."""
        await self._turn()
        with memoryview(data) as whole:
            sent = 0
            while sent < len(whole):
                try:
                    sent += os.write(self._socket.fileno(), whole[sent:])
                except BlockingIOError:
                    await self.wait_send_all_might_not_block()
                except OSError as error:
                    raise _as_trio(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        """As trio describes it."""
        self._calls = 0
        await trio.lowlevel.wait_writable(self._socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio describes it; being cancelled loses nothing."""
        size = max_bytes or limits.RECEIVE_BUFFER
        if not self._drained:
            await self._turn()
        while True:
            if self._drained:
                await self._wait_readable()
            try:
                data = os.read(self._socket.fileno(), size)
            except BlockingIOError:
                self._drained = True
            except OSError as error:
                raise _as_trio(error) from error
            else:
                self._drained = len(data) < size
                return data

    async def _wait_readable(self) -> None:
        self._calls = 0
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        await trio.lowlevel.wait_readable(self._socket)

    async def aclose(self) -> None:
        """As trio describes it; whoever waits in a call here is told (ClosedResourceError)."""
        await self._stream.aclose()

    async def _turn(self) -> None:
        """Notice that we were cancelled; after many calls that never waited, let the other tasks go first."""
        self._calls += 1
        if self._calls < limits.CALLS_WITHOUT_CHECKPOINT:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._calls = 0
            await trio.lowlevel.checkpoint()


def _as_trio(error: OSError) -> Exception:
    if error.errno in _CLOSED_HERE:
        return trio.ClosedResourceError("this socket was already closed")
    return trio.BrokenResourceError(f"socket connection broken: {os.strerror(error.errno or 0)}")
