"""Two ends of a WebSocket, or one end and the raw bytes of the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from tests.daemon.channel_helpers import (
    Transports,
    connected,
    memory_pair,
    tcp_pair,
)
from volly_fed.channel import FEDERATION, ChannelProfile
from volly_fed.daemon.websocket import Socket, accept_websocket, connect_websocket


async def tls_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return await connected(tcp_pair)


@asynccontextmanager
async def sockets(
    transports: Transports = memory_pair, profile: ChannelProfile = FEDERATION
) -> AsyncIterator[tuple[Socket, Socket]]:
    near, far = await transports()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as both:
            ends: list[Socket] = []

            async def accept() -> None:
                ends.append(await accept_websocket(nursery, far, profile))

            both.start_soon(accept)
            client = await connect_websocket(nursery, near, profile, "server.test:5223")
        yield client, ends[0]
        nursery.start_soon(client.aclose)
        await ends[0].aclose()


@asynccontextmanager
async def raw_client(transports: Transports = memory_pair) -> AsyncIterator[tuple[trio.abc.Stream, Socket]]:
    """A server's Socket, and the raw stream of a client that has finished its opening."""
    near, far = await transports()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as both:
            both.start_soon(near.send_all, opening())
            server = await accept_websocket(nursery, far, FEDERATION)
            await near.receive_some()
        yield near, server
        await server.aclose()
        await trio.aclose_forcefully(near)


def opening(path: str = "/federation/v1", subprotocol: str = "volly-fed.v1", extra: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: server.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """RFC 6455 §5.2, for lawful frames and others; the masking key is zero."""
    size = len(payload)
    short, long = (size, b"") if size < 126 else (126, size.to_bytes(2, "big")) if size < 1 << 16 else (127, b"")
    long = long or (size.to_bytes(8, "big") if short == 127 else b"")
    head = bytes((fin << 7 | opcode, masked << 7 | short))
    return head + long + (bytes(4) if masked else b"") + payload
