"""DNS over TLS: one connection to each named resolver, shared by all questions, closed when it is idle.

in: queries; out: responses, matched by id, in whatever order they come. Never: talks to a resolver that does not prove
its name, or falls back to clear text. Source: RFC 7858, RFC 8310 §8.1 (authentication by name), RFC 7766 §6.2.
"""

import secrets
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from volly_fed import limits
from volly_fed.config.values import Server
from volly_fed.daemon.dns.cache import SingleFlight
from volly_fed.errors import BadMessage

_LENGTH: Final = 2  # RFC 1035 §4.2.2
_IDENTS: Final = 1 << 16


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificates and names checked, with the system's authorities or those in `ca_file` (PEM).

    Raises OSError (ssl.SSLError is one) where the file cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def frame(message: bytes) -> bytes:
    """A message as it goes over a stream."""
    return len(message).to_bytes(_LENGTH) + message


async def read_frame(stream: trio.abc.ReceiveStream, received: bytearray) -> bytes:
    """The next message of a stream; what came behind it stays in `received`, for the next call.

    Raises BadMessage where the stream ends. Cancelling it loses nothing.
    """
    while True:
        end = _LENGTH + int.from_bytes(received[:_LENGTH])
        if len(received) >= max(end, _LENGTH):
            message = bytes(received[_LENGTH:end])
            del received[:end]
            return message
        chunk = await stream.receive_some(limits.RECEIVE_BUFFER)
        if not chunk:
            raise BadMessage("the connection ended in the middle of an answer" if received else "it hung up")
        received += chunk


@attrs.define
class _Waiting:
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: bytes | None = None


class _Connection:
    """An open connection, and the task that reads it until it is idle, broken, or the run ends."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.closed = False
        self.error = ""
        self.heard = 0
        self._stream = stream
        self._sending = trio.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._reading = trio.CancelScope()
        # nobody who asks a question stays to read the next one's answer, and a Resolver has no nursery of its own:
        # a system task ends with the run, and closes the socket at the latest then
        trio.lowlevel.spawn_system_task(self._read)

    async def ask(self, make: Callable[[int], bytes]) -> bytes | None:
        """The response to the query that `make` makes of an id; None if the connection breaks before it comes."""
        ident = secrets.randbelow(_IDENTS)
        while ident in self._waiting:
            ident = secrets.randbelow(_IDENTS)
        waiting, heard = self._waiting.setdefault(ident, _Waiting()), self.heard
        try:
            async with self._sending:
                await self._send(frame(make(ident)))
            await waiting.done.wait()
        finally:
            self._waiting.pop(ident, None)
            if waiting.answer is None and self.heard == heard:
                self._end("it does not answer")  # the way may be dead: the next question gets another connection
        return waiting.answer

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(_cause(error))
        except trio.Cancelled:
            self._end("it was cut off in the middle of a query")  # nothing can follow on this connection
            raise

    async def _read(self) -> None:
        received = bytearray()
        error = "it was idle"
        try:
            with self._reading:
                while not await self._is_idle(received):
                    pass
        except (OSError, BadMessage, trio.BrokenResourceError, trio.ClosedResourceError) as caught:
            error = _cause(caught)
        finally:
            self._end(error)
            await trio.aclose_forcefully(self._stream.transport_stream)

    async def _is_idle(self, received: bytearray) -> bool:
        with trio.move_on_after(limits.DNS_TLS_IDLE):
            wire = await read_frame(self._stream, received)
            self.heard += 1
            waiting = self._waiting.pop(int.from_bytes(wire[:2]), None)
            if waiting is not None:
                waiting.answer = wire
                waiting.done.set()
            return False
        return not self._waiting

    def _end(self, error: str) -> None:
        self.closed = True
        self.error = self.error or error
        self._reading.cancel()
        for waiting in self._waiting.values():
            waiting.done.set()


class TlsPool:
    """Connections by resolver: opened when there is a question, one each, and again when one has been closed."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context` None: the system's certificate store."""
        self._context = context
        self._connections: dict[Server, _Connection] = {}
        self._opening: SingleFlight[Server, _Connection | str] = SingleFlight()

    async def ask(self, server: Server, make: Callable[[int], bytes]) -> bytes:
        """The response to the query that `make` makes of an id. Raises OSError saying why there is none.

        One that came too late for a connection is sent again: resolvers close idle ones when they like, and some after
        a number of answers (RFC 7766 §6.2.3). One that was opened for this very question and
        never answered is not tried again; another may only have been given up with a question of others.
        """
        while True:
            connection = self._connections.get(server)
            fresh = False
            if connection is None or connection.closed:
                opened = await self._opening.do(server, partial(self._open, server))
                if isinstance(opened, str):
                    raise OSError(opened)
                connection, fresh = opened, True
            answer = await connection.ask(make)
            if answer is not None:
                return answer
            if fresh and not connection.heard:
                raise OSError(connection.error)

    async def _open(self, server: Server) -> _Connection | str:
        """The connection, or why there is none: for all that wait for it."""
        if self._context is None:
            self._context = tls_context()
        try:
            transport = await trio.open_tcp_stream(server.host, server.port)
        except OSError as error:
            return str(error)
        stream = trio.SSLStream(transport, self._context, server_hostname=server.name, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(transport)
            return f"TLS: {_cause(error)}"
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise
        connection = self._connections[server] = _Connection(stream)
        return connection


def _cause(error: BaseException) -> str:
    """What OpenSSL said, where trio wraps it."""
    return str(error.__cause__ or error) or type(error).__name__
