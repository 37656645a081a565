"""A link shim between real sockets on loopback, and what can be said of them.

Nothing sleeps: a byte that must not arrive is proved absent by the shim's own counts and by the kernel's.
"""

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
import trio.testing

from volly_fed.testing import link_limits
from volly_fed.testing.link_shim import Connection, LinkShim, Way

FOREVER = 3600.0
ESTABLISHED = 1  # the kernel's number of the state, first byte of TCP_INFO
OVER = 100
"""Bytes sent beyond those that may pass."""


@attrs.frozen
class Pair:
    """Both ends of one connection through the shim, and the shim's view of it."""

    near: trio.SocketStream
    far: trio.SocketStream
    link: Connection

    def of(self, way: Way) -> tuple[trio.SocketStream, trio.SocketStream]:
        """Who sends and who receives in this direction."""
        return (self.near, self.far) if way is Way.TO_LISTENER else (self.far, self.near)


@attrs.frozen
class Rig:
    shim: LinkShim
    address: tuple[str, int]
    heard: trio.MemoryReceiveChannel[trio.SocketStream]
    opened: list[trio.SocketStream]

    async def dial(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream(*self.address)
        self.opened.append(stream)
        return stream

    async def connect(self) -> Pair:
        count = self.shim.accepted
        near = await self.dial()
        far = await self.heard.receive()
        await self.shim.until(lambda: any(link.number > count for link in self.shim.connections))
        return Pair(near, far, self.shim.connections[-1])


@asynccontextmanager
async def rigged(seed: int = 0) -> AsyncIterator[Rig]:
    """A real listener behind a shim; everything is over within a bound."""
    send, heard = trio.open_memory_channel[trio.SocketStream](link_limits.CONNECTIONS)
    opened: list[trio.SocketStream] = []

    async def keep(stream: trio.SocketStream) -> None:
        opened.append(stream)
        await send.send(stream)
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            target = listeners[0].socket.getsockname()
            nursery.start_soon(trio.serve_listeners, keep, listeners)
            shim = LinkShim((target[0], target[1]), seed=seed)
            address = await nursery.start(shim.serve)
            yield Rig(shim, address, heard, opened)
            nursery.cancel_scope.cancel()
    for stream in opened:
        await trio.aclose_forcefully(stream)


async def receive_all(stream: trio.SocketStream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = await stream.receive_some(count - len(received))
        assert chunk, f"the end came after {len(received)} of {count} bytes"
        received += chunk
    return bytes(received)


async def assert_receives(stream: trio.SocketStream, data: bytes) -> None:
    assert await receive_all(stream, len(data)) == data


def number_of(error: trio.BrokenResourceError) -> int:
    assert isinstance(error.__cause__, OSError)
    return error.__cause__.errno or 0


async def receive_to_the_end(stream: trio.SocketStream) -> tuple[bytes, int]:
    """What came, and the errno that it ended with; 0 for a FIN."""
    received = bytearray()
    while True:
        try:
            chunk = await stream.receive_some()
        except trio.BrokenResourceError as error:
            return bytes(received), number_of(error)
        if not chunk:
            return bytes(received), 0
        received += chunk


async def assert_reset(stream: trio.SocketStream) -> None:
    assert await receive_to_the_end(stream) == (b"", errno.ECONNRESET)


async def send_what_goes(stream: trio.SocketStream, data: bytes) -> int:
    """The errno that it ended with; 0 if all was sent."""
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError as error:
        return number_of(error)
    return 0


async def fill(stream: trio.SocketStream) -> int:
    """Send until nobody takes any more; how much that was."""
    total, block = 0, bytes(1 << 16)
    with socket.socket(fileno=os.dup(stream.socket.fileno())) as sock:
        sock.setblocking(False)
        while True:
            before = total
            with suppress(BlockingIOError):
                while True:
                    total += sock.send(block)
            await trio.testing.wait_all_tasks_blocked(0.01)
            if total == before:
                return total


def assert_silent(stream: trio.SocketStream) -> None:
    """Neither byte nor end has come, and the kernel believes in the connection."""
    with socket.socket(fileno=os.dup(stream.socket.fileno())) as sock:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def assert_passes(pair: Pair) -> None:
    for way in (Way.TO_LISTENER, Way.TO_DIALLER):
        sender, receiver = pair.of(way)
        await sender.send_all(b"still there?")
        assert await receive_all(receiver, 12) == b"still there?"


WAYS = pytest.mark.parametrize("way", [Way.TO_LISTENER, Way.TO_DIALLER])
