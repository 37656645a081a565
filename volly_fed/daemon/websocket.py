"""Binary messages over any trio stream: RFC 6455 by trio-websocket, cut down to what the protocol uses.

in: a stream (TLS or, for devices on loopback, plain), a profile; out: a `Socket` of whole binary messages.
Never: lets text, another path or subprotocol, extensions or oversized messages through, or an error of the library
out: whatever hostile bytes make it raise costs this connection and becomes a ChannelError. Sends no WebSocket pings.
Source: RFC 6455 §4 (opening), §5.3 (masking), §7.4 (close codes).
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection

from volly_fed import limits
from volly_fed.channel import ChannelProfile
from volly_fed.daemon import masking
from volly_fed.errors import ChannelError, LocalProtocolError

NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED_DATA = 1003
_NO_CODE = 1005
_ABNORMAL = 1006
_IN_ORDER = frozenset({NORMAL, GOING_AWAY, _NO_CODE})
_MAX_REASON = 123  # bytes: RFC 6455 §5.5 gives control frames 125, the code takes two
_NOT_FOUND = 404
_BAD_REQUEST = 400

masking.install()


class Socket:
    """An open WebSocket. One task may send and one may receive; both may run at the same time.

    Resource handling: owns its stream from the start, failed openings included, and closes it when either end does.
    """

    def __init__(self, websocket: WebSocketConnection, wire: "_Wire") -> None:
        self._websocket = websocket
        self._wire = wire
        self._closing = False

    async def send(self, message: bytes) -> None:
        """Send one binary message of at most limits.MAX_MESSAGE bytes; when cancelled half-way, the socket is dead.

        Raises ChannelError when the connection is closed or broken, LocalProtocolError when the message is too long.
        """
        if len(message) > limits.MAX_MESSAGE:
            raise LocalProtocolError("a message is longer than limits.MAX_MESSAGE")
        try:
            await self._websocket.send_message(message)
        except ConnectionClosed as closed:
            raise self._broken(closed) from None

    async def receive(self) -> bytes:
        """The next binary message.

        Raises EndOfChannel when either end closed in order (codes 1000, 1001, none), and ChannelError for any other
        end: another code, a text or too long message, a transport that broke or just ended.
        """
        try:
            message = await self._websocket.get_message()
        except ConnectionClosed as closed:
            if self._closing or (closed.reason is not None and closed.reason.code in _IN_ORDER):
                raise trio.EndOfChannel from None
            raise self._broken(closed) from None
        self._wire.claim()
        if isinstance(message, str):
            await self.aclose(UNSUPPORTED_DATA, "binary messages only")
            raise ChannelError("the peer sent a text message; only binary ones are allowed")
        return message

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """Close with `code` and `reason` (cut to 123 bytes), waiting for the peer's answer limits.CLOSE at most.

        When cancelled, closes at once, without a word; shield it to say goodbye. Closing again does nothing.
        """
        self._closing = True
        text = reason.encode()[:_MAX_REASON].decode("utf-8", "ignore")
        try:
            with trio.move_on_after(limits.CLOSE):
                await self._websocket.aclose(code, text or None)
        finally:
            try:
                await self._wire.aclose()
            finally:
                self._wire.stop()  # the library's reader would wait forever for somebody to take its last message

    def _broken(self, closed: ConnectionClosed) -> ChannelError:
        if self._closing:
            return ChannelError("this WebSocket was closed here")
        if self._wire.failure is not None:
            return ChannelError(f"the connection broke: {_failure_text(self._wire.failure)}")
        reason = closed.reason
        if reason is None or reason.code == _ABNORMAL:
            return ChannelError("the connection ended without a WebSocket close")
        return ChannelError(f"the WebSocket was closed with code {reason.code} ({reason.reason or 'no reason'!r:.100})")


async def connect_websocket(
    nursery: trio.Nursery, stream: trio.abc.Stream, profile: ChannelProfile, host: str
) -> Socket:
    """Open a WebSocket as the client; `host` stands in the Host header, with its port where it is not the default.

    A background task runs in `nursery` until the socket is closed; it raises nothing.
    Raises ChannelError when the server refuses (with its HTTP status), picks another subprotocol, or breaks off.
    No time limit of its own: see limits.WEBSOCKET_UPGRADE.
    """
    wire = _Wire(stream)

    async def upgrade(inner: trio.Nursery) -> WebSocketConnection:
        # trio-websocket names two kinds of stream; it uses only what every stream has
        websocket = await trio_websocket.wrap_client_stream(
            inner,
            wire,  # type: ignore[arg-type]
            host,
            profile.path,
            subprotocols=[profile.subprotocol],
            max_message_size=limits.MAX_MESSAGE,
            receive_buffer_size=limits.RECEIVE_BUFFER,
        )
        if websocket.subprotocol != profile.subprotocol:
            raise ChannelError(f"the server did not agree on the subprotocol {profile.subprotocol}")
        return websocket

    return await _open(nursery, wire, upgrade)


async def accept_websocket(nursery: trio.Nursery, stream: trio.abc.Stream, profile: ChannelProfile) -> Socket:
    """Answer one WebSocket opening as the server: 404 for another path, 400 for another subprotocol.

    A background task runs in `nursery` until the socket is closed; it raises nothing.
    Raises ChannelError when the client was refused or broke off. No time limit of its own: see
    limits.WEBSOCKET_UPGRADE.
    """
    wire = _Wire(stream)

    async def upgrade(inner: trio.Nursery) -> WebSocketConnection:
        request = await trio_websocket.wrap_server_stream(
            inner, wire, max_message_size=limits.MAX_MESSAGE, receive_buffer_size=limits.RECEIVE_BUFFER
        )
        if request.path != profile.path:
            await request.reject(_NOT_FOUND, body=b"no such path\n")
            raise ChannelError("the client asked for another path")
        if profile.subprotocol not in request.proposed_subprotocols:
            await request.reject(_BAD_REQUEST, body=b"no such subprotocol\n")
            raise ChannelError(f"the client did not offer the subprotocol {profile.subprotocol}")
        return await request.accept(subprotocol=profile.subprotocol)

    return await _open(nursery, wire, upgrade)


_Upgrade = Callable[[trio.Nursery], Awaitable[WebSocketConnection]]


async def _open(nursery: trio.Nursery, wire: "_Wire", upgrade: _Upgrade) -> Socket:
    socket: Socket = await nursery.start(partial(_run, wire, upgrade))
    return socket


async def _run(wire: "_Wire", upgrade: _Upgrade, *, task_status: trio.TaskStatus[Socket]) -> None:
    """Own the library's reader task for as long as the socket lives, and take what it raises.

    trio-websocket lets rejections, and on some hostile input its own protocol errors, out of that task into the
    nursery it was given, and waits forever for an opening that the peer broke off. Here a nursery of our own takes
    the first, and the wire, which sees the end come, stops the second.
    """
    opened = False
    try:
        async with trio.open_nursery() as inner:
            wire.stop = inner.cancel_scope.cancel
            websocket: WebSocketConnection | None = None
            with trio.CancelScope() as opening:
                wire.on_end = opening.cancel
                websocket = await upgrade(inner)
            wire.on_end = None
            if websocket is not None:
                opened = True
                task_status.started(Socket(websocket, wire))
            else:
                wire.stop()
    except* Exception as group:  # foreign code, fed with hostile bytes: whatever it is, it costs one connection
        wire.failure = wire.failure or group.exceptions[0]
    finally:
        await wire.aclose()
    if not opened:
        raise _opening_error(wire.failure)


def _opening_error(failure: Exception | None) -> ChannelError:
    if isinstance(failure, ChannelError):
        return failure
    if isinstance(failure, ConnectionRejected):
        return ChannelError(f"the server answered HTTP {failure.status_code} instead of opening a WebSocket")
    if failure is not None:
        return ChannelError(f"the WebSocket did not open: {_failure_text(failure)}")
    return ChannelError("the peer ended the connection, or spoke something else, before the WebSocket was open")


def _failure_text(failure: Exception) -> str:
    """Our own and trio's texts as they are; of foreign errors only the kind, for they may quote the peer's bytes."""
    if isinstance(failure, ChannelError | trio.BrokenResourceError | trio.ClosedResourceError):
        return str(failure) or "the transport failed"
    return type(failure).__name__


def _nothing() -> None:
    """What stops before there is anything to stop."""


class _Wire(trio.abc.Stream):
    """The stream under a WebSocket: remembers how it ended, tells whoever waits, and counts what nobody claims."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._unclaimed = 0
        self._send_cut = False
        self.failure: Exception | None = None
        self.on_end: Callable[[], None] | None = None
        self.stop: Callable[[], None] = _nothing

    def claim(self) -> None:
        """A message was delivered: start counting again."""
        self._unclaimed = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream, with an end to bytes that never become a message."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(error)
            raise
        if not data:
            self._end(None)
        self._unclaimed += len(data)
        if self._unclaimed > limits.MAX_UNCLAIMED:
            # empty fragments grow the library's list without ever reaching its size limit
            endless = trio.BrokenResourceError("the peer sends without ever finishing a message")
            self._end(endless)
            raise endless
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream; after a send was cut half-way, nothing can follow it."""
        if self._send_cut:
            raise trio.BrokenResourceError("sending was interrupted half-way")
        try:
            await self._stream.send_all(data)
        except BaseException as error:
            self._send_cut = True
            if isinstance(error, trio.BrokenResourceError):
                self._end(error)
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream; whoever waits for an opening is told."""
        self._end(None)
        await self._stream.aclose()

    def _end(self, failure: Exception | None) -> None:
        if self.failure is None:
            self.failure = failure
        if self.on_end is not None:
            self.on_end()
