"""WebSockets over any trio stream, from either end: the opening, one HTTP request and one answer.

in: a stream, a profile; out: a `Socket`, or a refusal that the other end understands.
Never: takes up an extension, follows a redirect, or leaves the stream open when it fails.
Source: RFC 6455 §4. The library parses HTTP within limits of its own; limits.MAX_OPENING bounds it as a whole.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from websockets.client import ClientProtocol
from websockets.http11 import Request, Response
from websockets.protocol import Event, Protocol, Side
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from volly_fed import limits
from volly_fed.channel import ChannelProfile
from volly_fed.daemon.message_socket import GOING_AWAY, NORMAL, UNSUPPORTED_DATA, Socket
from volly_fed.daemon.socket_stream import direct
from volly_fed.errors import ChannelError

__all__ = ["GOING_AWAY", "NORMAL", "UNSUPPORTED_DATA", "Socket", "accept_websocket", "connect_websocket"]

_SWITCHING_PROTOCOLS = 101
_NOT_FOUND = 404
_END_OF_HEAD = b"\r\n\r\n"


async def connect_websocket(
    nursery: trio.Nursery, stream: trio.abc.Stream, profile: ChannelProfile, host: str
) -> Socket:
    """Open a WebSocket as the client; `host` stands in the Host header, with its port where it is not the default.

    `nursery` is where the socket answers pings; it must last as long as the socket.
    Raises ChannelError when the server refuses (with its HTTP status), picks another subprotocol, or breaks off.
    No time limit of its own: see limits.WEBSOCKET_UPGRADE.
    """
    protocol = ClientProtocol(
        WebSocketURI(secure=True, host="", port=443, path=profile.path, query=""),  # [channel-12]
        subprotocols=[Subprotocol(profile.subprotocol)],
        max_size=limits.MAX_MESSAGE,
        logger=_SILENT,
    )
    request = protocol.connect()
    del request.headers["Host"]
    request.headers["Host"] = host
    protocol.send_request(request)
    stream = direct(stream)
    async with _closed_unless_opened(stream):
        response, early = await _exchange(stream, protocol)
        assert isinstance(response, Response), "nothing else comes first at a client"
        if response.status_code != _SWITCHING_PROTOCOLS:  # [channel-17]
            raise ChannelError(f"the server answered HTTP {response.status_code} instead of opening a WebSocket")
        if protocol.handshake_exc is not None:
            raise _not_opened(protocol.handshake_exc)
        if protocol.subprotocol != profile.subprotocol:  # [channel-13]
            raise ChannelError(f"the server did not agree on the subprotocol {profile.subprotocol}")
    return _socket(nursery, stream, Side.CLIENT, profile, early)


async def accept_websocket(nursery: trio.Nursery, stream: trio.abc.Stream, profile: ChannelProfile) -> Socket:
    """Answer one WebSocket opening as the server: 404 for another path, 400 for another subprotocol.

    `nursery` is where the socket answers pings; it must last as long as the socket.
    Raises ChannelError when the client was refused or broke off. No time limit of its own: see
    limits.WEBSOCKET_UPGRADE.
    """
    # [channel-16]
    protocol = ServerProtocol(
        subprotocols=[Subprotocol(profile.subprotocol)], max_size=limits.MAX_MESSAGE, logger=_SILENT
    )
    stream = direct(stream)
    async with _closed_unless_opened(stream):
        request, early = await _exchange(stream, protocol)
        assert isinstance(request, Request), "nothing else comes first at a server"
        refusal = _answer(protocol, request, profile)
        await _flush(stream, protocol)
        if refusal is not None:
            raise refusal
    return _socket(nursery, stream, Side.SERVER, profile, early)


def _answer(protocol: ServerProtocol, request: Request, profile: ChannelProfile) -> ChannelError | None:
    """Make the protocol answer `request`; why it is refused, if it is."""
    response = protocol.accept(request)  # [channel-15]
    refusal = None
    if response.status_code != _SWITCHING_PROTOCOLS:
        refusal = ChannelError(f"the client did not ask for a WebSocket with the subprotocol {profile.subprotocol}")
    elif request.path != profile.path:
        response = protocol.reject(_NOT_FOUND, "no such path\n")  # [channel-14]
        refusal = ChannelError("the client asked for another path")
    protocol.send_response(response)
    return refusal


async def _exchange(stream: trio.abc.Stream, protocol: ClientProtocol | ServerProtocol) -> tuple[Event, bytes]:
    """Send what `protocol` has to say, and read the other end's half of the opening; also what came right behind it."""
    await _flush(stream, protocol)
    data = b""
    while (end := data.find(_END_OF_HEAD)) < 0 and len(data) <= limits.MAX_OPENING:
        data += await _read(stream, len(data))
    end += len(_END_OF_HEAD)
    if not len(_END_OF_HEAD) <= end <= limits.MAX_OPENING:
        raise ChannelError(f"the opening of the WebSocket has more than {limits.MAX_OPENING} bytes")
    protocol.receive_data(data[:end])
    while not (events := protocol.events_received()):
        if protocol.handshake_exc is not None:
            raise _not_opened(protocol.handshake_exc)
        rest = data[end:] or await _read(stream, end)  # the text of a refusal
        protocol.receive_data(rest)
        data, end = b"", end + len(rest)
    return events[0], data[end:]


@asynccontextmanager
async def _closed_unless_opened(stream: trio.abc.Stream) -> AsyncIterator[None]:
    """Close `stream` whatever goes wrong; that it breaks or ends is a ChannelError."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await stream.aclose()
        raise ChannelError(f"the connection broke before the WebSocket was open: {error}") from error
    except BaseException:
        await stream.aclose()
        raise


async def _read(stream: trio.abc.Stream, before: int) -> bytes:
    """More of an opening of which there are `before` bytes."""
    data = await stream.receive_some(limits.RECEIVE_BUFFER)
    if not data or before > limits.MAX_OPENING:
        raise ChannelError("the peer ended the connection, or spoke something else, before the WebSocket was open")
    return bytes(data)


async def _flush(stream: trio.abc.Stream, protocol: ClientProtocol | ServerProtocol) -> None:
    data = b"".join(protocol.data_to_send())
    if data:
        await stream.send_all(data)


def _not_opened(failure: Exception) -> ChannelError:
    return ChannelError(f"the WebSocket did not open: {type(failure).__name__}")  # its text may quote the peer's bytes


def _socket(
    nursery: trio.Nursery, stream: trio.abc.Stream, side: Side, profile: ChannelProfile, early: bytes
) -> Socket:
    """An open socket; `early` came right behind the opening. The opening's own protocol would remember its headers."""
    protocol = Protocol(side, max_size=limits.MAX_MESSAGE, logger=_SILENT)  # [wire-4]
    protocol.subprotocol = Subprotocol(profile.subprotocol)
    socket = Socket(nursery, stream, protocol)
    if early:
        socket.take_in(early)
    return socket


class _Silent:
    """In the place of the library's logger: what others send is in none of our logs."""

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - the name is logging's
        return False

    def note(self, *_: object, **__: object) -> None:
        """Nothing."""

    debug = info = warning = error = note


_SILENT: Any = _Silent()
