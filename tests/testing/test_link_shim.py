"""The link shim between real sockets on loopback: what it lets through, and what it breaks.

Nothing sleeps: a byte that must not arrive is proved absent by the shim's own counts and by the kernel's.
"""

import errno
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from volly_fed import limits
from volly_fed.testing.link_lane import PLAIN, Lane, Shape
from volly_fed.testing.link_shim import Connection, Cut, End, LinkShim, Way

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
    send, heard = trio.open_memory_channel[trio.SocketStream](limits.SHIM_CONNECTIONS)
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


# --- nothing set ------------------------------------------------------------------------------------------------------


async def test_bytes_pass_both_ways_unchanged_and_are_counted() -> None:
    there, back = random.Random(1).randbytes(5_000_001), random.Random(2).randbytes(3_000_003)
    async with rigged() as rig:
        pair = await rig.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.near.send_all, there)
            nursery.start_soon(pair.far.send_all, back)
            assert await receive_all(pair.far, len(there)) == there
            assert await receive_all(pair.near, len(back)) == back
        assert pair.link.seen(Way.TO_LISTENER) == pair.link.passed(Way.TO_LISTENER) == len(there)
        assert rig.shim.passed(Way.TO_DIALLER) == len(back)
        assert rig.shim.seen() == len(there) + len(back)
        assert pair.link.held(Way.BOTH) == pair.link.lost(Way.BOTH) == 0


async def test_an_end_passes_as_an_end_each_way_by_itself() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        await pair.near.send_all(b"last words")
        await pair.near.send_eof()
        assert await receive_to_the_end(pair.far) == (b"last words", 0)
        await pair.far.send_all(b"I can still answer")
        assert await receive_all(pair.near, 18) == b"I can still answer"
        await pair.far.aclose()
        assert await receive_to_the_end(pair.near) == (b"", 0)
        await rig.shim.until(lambda: not rig.shim.connections)
        assert (rig.shim.seen(Way.TO_LISTENER), rig.shim.passed(Way.TO_DIALLER)) == (10, 18)


async def test_small_pieces_do_not_wait_for_more() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        for sock in pair.link._sockets.values():
            assert sock is not None
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@WAYS
async def test_a_reset_passes_as_a_reset(way: Way) -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await sender.aclose()
        await assert_reset(receiver)
        await rig.shim.until(lambda: not rig.shim.connections)


async def test_who_sends_to_an_end_that_has_closed_is_reset() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        await pair.far.aclose()
        assert await receive_to_the_end(pair.near) == (b"", 0)
        while not (number := await send_what_goes(pair.near, bytes(1000))):
            pass  # the kernel learns of it after the first
        assert number in (errno.ECONNRESET, errno.EPIPE)
        await rig.shim.until(lambda: not rig.shim.connections)


async def test_connections_do_not_mix_and_a_blocked_one_does_not_hold_up_the_others() -> None:
    async with rigged() as rig:
        pairs = [await rig.connect() for _ in range(20)]
        assert rig.shim.accepted == len(rig.shim.connections) == 20
        held_up = random.Random(6).randbytes(1 << 24)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pairs[0].near.send_all, held_up)
            await rig.shim.until(lambda: pairs[0].link.held(Way.TO_LISTENER) > 0)  # nobody reads at its other end
            async with trio.open_nursery() as others:
                for number, pair in enumerate(pairs[1:]):
                    others.start_soon(pair.near.send_all, bytes([number]) * 1_000_000)
                    others.start_soon(assert_receives, pair.far, bytes([number]) * 1_000_000)
            assert 0 < pairs[0].link.held(Way.TO_LISTENER) <= limits.SHIM_CHUNK
            assert await receive_all(pairs[0].far, len(held_up)) == held_up


async def test_a_listener_that_is_not_there_costs_the_dialler_a_reset() -> None:
    async with rigged() as rig:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            rig.shim.target = gone.getsockname()
        await assert_reset(await rig.dial())
        assert rig.shim.accepted == 1


async def test_too_many_connections_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHIM_CONNECTIONS", 2)
    async with rigged() as rig:
        pairs = [await rig.connect(), await rig.connect()]
        await assert_reset(await rig.dial())
        await assert_passes(pairs[0])
        assert rig.shim.accepted == 2


# --- time -------------------------------------------------------------------------------------------------------------


@WAYS
async def test_latency_is_one_directions_own(way: Way) -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        rig.shim.shape(way, latency=0.05)
        began = trio.current_time()
        await sender.send_all(b"late")
        assert await receive_all(receiver, 4) == b"late"
        assert trio.current_time() - began >= 0.05
        rig.shim.shape(way, latency=FOREVER)
        await sender.send_all(b"never")
        await rig.shim.until(lambda: pair.link.held(way) == 5)
        await receiver.send_all(b"at once")
        assert await receive_all(sender, 7) == b"at once"
        assert_silent(receiver)


async def test_an_end_does_not_overtake_late_bytes_and_is_late_itself() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=0.05)
        await pair.near.send_all(b"late")
        await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) == 4)
        rig.shim.shape()  # what is sent now may not overtake
        await pair.near.send_all(b"and more")
        rig.shim.shape(latency=0.05)
        began = trio.current_time()
        await pair.near.send_eof()
        assert await receive_to_the_end(pair.far) == (b"lateand more", 0)
        assert trio.current_time() - began >= 0.04


async def test_jitter_reorders_nothing() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=0.001, jitter=0.01)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(200):
                    await pair.near.send_all(number.to_bytes(4))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(send)
            assert await receive_all(pair.far, 800) == b"".join(number.to_bytes(4) for number in range(200))


def test_jitter_and_loss_are_the_seeds() -> None:
    lane = Lane()
    lane.set(shape=Shape(latency=1, jitter=0.5))
    times = [[lane.travel(rng) for _ in range(100)] for rng in (random.Random(1), random.Random(1), random.Random(2))]
    assert times[0] == times[1] != times[2]
    assert all(1 <= seconds <= 1.5 for seconds in times[0])
    assert max(times[0]) - min(times[0]) > 0.4
    lane.set(shape=Shape(loss=0.25))
    rng = random.Random(3)
    losses = [lane.travel(rng) for _ in range(4000)]
    once, twice = limits.SHIM_RETRANSMIT, 3 * limits.SHIM_RETRANSMIT  # the second wait is twice as long
    assert 0.70 < losses.count(0) / 4000 < 0.80
    assert 0.15 < sum(abs(seconds - once) < 1e-9 for seconds in losses) / 4000 < 0.22
    assert any(abs(seconds - twice) < 1e-9 for seconds in losses)
    assert not any(abs(seconds - 2 * once) < 1e-9 for seconds in losses)


@WAYS
async def test_lost_packets_come_later_and_in_order(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHIM_RETRANSMIT", 0.01)
    data = random.Random(4).randbytes(limits.SHIM_SEGMENT * 60)
    async with rigged(seed=5) as rig:
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        rig.shim.shape(way, loss=0.3)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, data)
            assert await receive_all(receiver, len(data)) == data
        assert trio.current_time() - began >= 0.01


async def test_a_rate_holds_for_all_connections_together() -> None:
    async with rigged() as rig:
        pairs = [await rig.connect(), await rig.connect()]
        rig.shim.shape(Way.TO_LISTENER, rate=1_000_000)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for pair in pairs:
                nursery.start_soon(pair.near.send_all, bytes(100_000))
                nursery.start_soon(receive_all, pair.far, 100_000)
        assert trio.current_time() - began >= 0.2 - 2 * limits.SHIM_TICK
        await pairs[0].far.send_all(bytes(1_000_000))  # the other direction is free
        rig.shim.shape()
        assert await receive_all(pairs[0].near, 1_000_000) == bytes(1_000_000)


# --- stopping ---------------------------------------------------------------------------------------------------------


@WAYS
async def test_a_paused_link_takes_nothing_and_loses_nothing(way: Way) -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        await sender.send_all(b"before")
        assert await receive_all(receiver, 6) == b"before"
        rig.shim.pause(way)
        count = await fill(sender)
        assert pair.link.seen(way) == 6, "what waits is the kernel's, and the sender feels it"
        assert_silent(receiver)
        await receiver.send_all(b"open")
        assert await receive_all(sender, 4) == b"open"
        rig.shim.resume(way)
        assert await receive_all(receiver, count) == bytes(count)
        await assert_passes(pair)


async def test_what_is_under_way_stops_too_and_so_do_ends_and_new_connections() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=0.02)
        await pair.near.send_all(b"under way")
        await pair.near.send_eof()
        await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) == 9)
        rig.shim.pause()
        other = await rig.dial()
        await trio.testing.wait_all_tasks_blocked(0.04)  # longer than the latency: it is not time that they wait for
        assert_silent(pair.far)
        with pytest.raises(trio.WouldBlock):
            rig.heard.receive_nowait()
        rig.shim.resume()
        assert await receive_to_the_end(pair.far) == (b"under way", 0)
        rig.shim.shape()
        far = await rig.heard.receive()
        await other.send_all(b"x")
        assert await receive_all(far, 1) == b"x"


async def test_an_end_that_is_under_way_stops_too() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=0.03)
        await pair.near.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        rig.shim.pause()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert_silent(pair.far)
        rig.shim.resume()
        assert await receive_to_the_end(pair.far) == (b"", 0)


async def test_a_slow_link_holds_a_bounded_number_of_bytes() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=FOREVER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill, pair.near)
            await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) >= limits.SHIM_BUFFER)
        assert pair.link.seen(Way.TO_LISTENER) == pair.link.held(Way.TO_LISTENER) == limits.SHIM_BUFFER


async def test_more_than_is_held_goes_through_a_slow_link_in_the_end() -> None:
    data = random.Random(7).randbytes(3 * limits.SHIM_BUFFER + 1)
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=0.02)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.near.send_all, data)
            assert await receive_all(pair.far, len(data)) == data


async def test_what_the_rate_does_not_let_through_stays_with_the_sender() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(rate=10_000)
        await pair.near.send_all(bytes(10_000))
        await rig.shim.until(lambda: pair.link.passed(Way.TO_LISTENER) >= 300)
        assert pair.link.held(Way.TO_LISTENER) <= 10_000 * limits.SHIM_TICK
        rig.shim.shape()
        assert await receive_all(pair.far, 10_000) == bytes(10_000)


async def test_a_receiver_that_does_not_read_is_felt_by_the_sender() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        count = await fill(pair.near)
        assert pair.link.held(Way.TO_LISTENER) <= limits.SHIM_CHUNK
        assert await receive_all(pair.far, count) == bytes(count)


# --- losing -----------------------------------------------------------------------------------------------------------


@WAYS
async def test_a_one_way_blackhole_swallows_one_way_ends_included(way: Way) -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        await assert_passes(pair)
        rig.shim.blackhole(way)
        await sender.send_all(bytes(3_000_000))  # much more than all buffers: it is taken, not kept
        await receiver.send_all(b"heard")
        assert await receive_all(sender, 5) == b"heard"
        await sender.send_eof()
        await rig.shim.until(lambda: pair.link.lost(way) == 3_000_000)
        rig.shim.heal()
        assert_silent(receiver)
        await receiver.send_all(b"still heard")
        assert await receive_all(sender, 11) == b"still heard"
        assert pair.link.passed(way) == 12


async def test_after_a_hole_nothing_passes_and_new_connections_do() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.blackhole()
        await pair.near.send_all(b"lost")
        await pair.far.send_all(b"lost")
        await rig.shim.until(lambda: pair.link.lost(Way.BOTH) == 8)
        rig.shim.heal()
        await pair.near.send_all(b"after the hole")
        await pair.near.aclose()
        await rig.shim.until(lambda: pair.link.lost(Way.TO_LISTENER) == 18)
        await assert_passes(await rig.connect())
        assert_silent(pair.far)


async def test_a_blackhole_accepts_and_the_listener_hears_of_nobody() -> None:
    async with rigged() as rig:
        rig.shim.blackhole()
        near = await rig.dial()
        await near.send_all(bytes(1000))
        await rig.shim.until(lambda: rig.shim.seen() == 1000)
        rig.shim.heal()
        await near.send_all(bytes(1000))
        await rig.shim.until(lambda: rig.shim.seen() == 2000)
        assert_silent(near)
        assert rig.shim.passed() == 0
        with pytest.raises(trio.WouldBlock):
            rig.heard.receive_nowait()
        await near.aclose()
        await rig.shim.until(lambda: not rig.shim.connections)


async def test_a_blackhole_frees_a_sender_that_is_held_up() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        await fill(pair.near)
        rig.shim.blackhole(Way.TO_LISTENER)
        await pair.near.send_all(bytes(3_000_000))


@pytest.mark.parametrize("fault", ["blackhole", "half open"])
async def test_nor_does_a_sender_wait_for_what_is_late_when_all_is_lost(fault: str) -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=FOREVER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.near.send_all, bytes(10_000_000))
            await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) == limits.SHIM_BUFFER)
            await trio.testing.wait_all_tasks_blocked()
            if fault == "blackhole":
                rig.shim.blackhole(Way.TO_LISTENER)
            else:
                pair.link.half_open(End.LISTENER)
        assert_silent(pair.near)


async def test_what_is_under_way_is_lost_in_a_blackhole() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=0.02)
        await pair.near.send_all(b"under way")
        await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) == 9)
        rig.shim.blackhole(Way.TO_LISTENER)
        await rig.shim.until(lambda: pair.link.lost(Way.TO_LISTENER) == 9)
        assert_silent(pair.far)


# --- breaking ---------------------------------------------------------------------------------------------------------


async def test_a_reset_is_a_real_one_at_both_ends() -> None:
    async with rigged() as rig:
        pairs = [await rig.connect(), await rig.connect()]
        rig.shim.reset()
        for pair in pairs:
            await assert_reset(pair.near)
            await assert_reset(pair.far)
        await rig.shim.until(lambda: not rig.shim.connections)
        await assert_passes(await rig.connect())


async def test_a_reset_does_not_wait_for_what_is_late() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.shape(latency=FOREVER)
        await pair.near.send_all(b"late")
        await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) == 4)
        pair.link.reset()
        await assert_reset(pair.far)
        await rig.shim.until(lambda: not rig.shim.connections)


async def test_a_reset_that_only_a_sender_has_met_comes_back_as_a_reset() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        rig.shim.pause(Way.TO_DIALLER)  # so that nobody reads what the kernel has to say
        pair.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await pair.far.aclose()
        await pair.near.send_all(b"into the void")
        await rig.shim.until(lambda: pair.link.lost(Way.TO_LISTENER) == 13)
        assert_silent(pair.near)
        rig.shim.resume()
        await assert_reset(pair.near)


async def test_a_reset_does_not_come_back_through_a_blackhole() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        await pair.far.aclose()
        assert await receive_to_the_end(pair.near) == (b"", 0)
        rig.shim.blackhole(Way.TO_DIALLER)
        while not pair.link.lost(Way.TO_LISTENER):
            await pair.near.send_all(b"into the void")
        await pair.near.send_all(b"and on")
        assert pair.near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("closed", list(End))
async def test_half_open_tells_one_end_and_never_the_other(closed: End, reset: bool) -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        await assert_passes(pair)
        told, other = (pair.near, pair.far) if closed is End.DIALLER else (pair.far, pair.near)
        rig.shim.half_open(closed, reset=reset)
        assert await receive_to_the_end(told) == (b"", errno.ECONNRESET if reset else 0)
        lost = rig.shim.seen()
        await other.send_all(bytes(3_000_000))  # to a socket that is closed: anybody else would reset it
        await rig.shim.until(lambda: rig.shim.seen() == lost + 3_000_000)
        await told.aclose()
        assert_silent(other)
        await other.aclose()
        await rig.shim.until(lambda: not rig.shim.connections)


@WAYS
@pytest.mark.parametrize("at", [1, 2, 999, 1448, 65535, 65536, 65537, 262144, 262145, 1_000_003])
async def test_exactly_n_bytes_pass_before_a_reset(at: int, way: Way) -> None:
    data = random.Random(at).randbytes(at + OVER)
    async with rigged() as rig:
        rig.shim.cut(way, at)
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        numbers: list[int] = []

        async def send() -> None:
            numbers.append(await send_what_goes(sender, data))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await receive_to_the_end(receiver) == (data[:at], errno.ECONNRESET)
        assert errno.ECONNRESET in (numbers[0], (await receive_to_the_end(sender))[1])
        assert rig.shim.passed(way) == at
        assert rig.shim.cuts == 1
        await assert_passes(await rig.connect())


@WAYS
@pytest.mark.parametrize("at", [0, 1, 65536, 300_001])
async def test_exactly_n_bytes_pass_before_an_orderly_end(at: int, way: Way) -> None:
    data = random.Random(at).randbytes(at + OVER)
    async with rigged() as rig:
        rig.shim.cut(way, at, Cut.CLOSE)
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, data)
            assert await receive_to_the_end(receiver) == (data[:at], 0)
            assert await receive_to_the_end(sender) == (b"", 0)
        assert (rig.shim.passed(way), rig.shim.cuts) == (at, 1)


@WAYS
@pytest.mark.parametrize("at", [0, 1, 65536, 300_001])
async def test_exactly_n_bytes_pass_before_silence(at: int, way: Way) -> None:
    data = random.Random(at).randbytes(at + OVER)
    async with rigged() as rig:
        rig.shim.cut(way, at, Cut.SILENT)
        pair = await rig.connect()
        sender, receiver = pair.of(way)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, data)
            assert await receive_all(receiver, at) == data[:at]
        await rig.shim.until(lambda: rig.shim.seen(way) == len(data))
        assert_silent(sender)
        await receiver.send_all(b"anybody?")
        await sender.send_eof()
        await rig.shim.until(lambda: pair.link.lost(Way.BOTH) == OVER + 8)
        assert_silent(receiver)
        assert (rig.shim.passed(way), rig.shim.cuts) == (at, 1)


async def test_a_connection_cut_at_nothing_is_reset_before_any_byte() -> None:
    async with rigged() as rig:
        rig.shim.cut(Way.TO_DIALLER, 0)
        await assert_reset(await rig.dial())
        await assert_reset(await rig.heard.receive())
        assert (rig.shim.seen(), rig.shim.cuts) == (0, 1)


@pytest.mark.parametrize("at", [1, 1447, 1449, 60_000])
async def test_a_cut_is_exact_on_a_slow_link_and_with_a_receiver_that_is_slow(at: int) -> None:
    data = random.Random(at).randbytes(at + OVER)
    async with rigged() as rig:
        rig.shim.shape(latency=0.005, jitter=0.005, rate=50_000_000)
        rig.shim.cut(Way.TO_LISTENER, at)
        pair = await rig.connect()
        pair.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await send_what_goes(pair.near, data)
        await rig.shim.until(lambda: pair.link.passed(Way.TO_LISTENER) > at // 4)
        assert await receive_to_the_end(pair.far) == (data[:at], errno.ECONNRESET)


async def test_a_cut_of_a_connection_under_way_counts_from_now() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        await assert_passes(pair)
        pair.link.cut(Way.TO_LISTENER, after=5)
        await pair.near.send_all(b"five more")
        assert await receive_to_the_end(pair.far) == (b"five ", errno.ECONNRESET)


async def test_as_many_connections_are_cut_as_were_planned() -> None:
    async with rigged() as rig:
        rig.shim.cut(Way.TO_LISTENER, 3, times=2)
        for _ in range(2):
            pair = await rig.connect()
            await pair.near.send_all(b"abcdef")
            assert await receive_to_the_end(pair.far) == (b"abc", errno.ECONNRESET)
        await assert_passes(await rig.connect())
        rig.shim.cut(Way.TO_LISTENER, 3)
        rig.shim.heal()
        await assert_passes(await rig.connect())
        assert rig.shim.cuts == 2


async def test_refused_connections_are_refused_and_open_ones_go_on() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        for _ in range(2):
            rig.shim.refuse()
            rig.shim.refuse()
            with pytest.raises(OSError, match="connect") as caught:
                await trio.open_tcp_stream(*rig.address)
            assert "Connection refused" in repr(caught.value.__cause__)
            await assert_passes(pair)
            rig.shim.admit()
            rig.shim.admit()
            await assert_passes(await rig.connect())
        assert rig.shim.accepted == 3


# --- the shim itself --------------------------------------------------------------------------------------------------


async def test_cancelled_in_any_state_it_leaves_no_socket_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with rigged() as rig:
        pairs = [await rig.connect() for _ in range(5)]
        await fill(pairs[0].near)
        pairs[1].link.half_open(End.LISTENER)
        pairs[2].link.sever(Cut.SILENT)
        rig.shim.shape(latency=FOREVER)
        await pairs[3].near.send_all(b"under way")
        await rig.shim.until(lambda: pairs[3].link.held(Way.BOTH) == 9)
        rig.shim.pause()
        await rig.dial()
        await rig.shim.until(lambda: rig.shim.accepted == 6)
    assert rig.shim.connections == ()
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await pairs[4].near.receive_some()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_with_nothing_set_bytes_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are what benchmarks see: no queue, no timer, no copy."""
    queued: list[float] = []
    departure = Lane.departure

    def noting(lane: Lane, size: int, now: float) -> float:
        queued.append(size)
        return departure(lane, size, now)

    monkeypatch.setattr(Lane, "departure", noting)
    async with rigged() as rig:
        pair = await rig.connect()
        for _ in range(50):
            await assert_passes(pair)
        assert queued == []
        rig.shim.shape(latency=0.001)
        await assert_passes(pair)
        assert queued == [12, 12]
        rig.shim.heal()
        await assert_passes(pair)
        assert queued == [12, 12]


def test_settings_that_make_no_sense_are_refused() -> None:
    shim = LinkShim(("127.0.0.1", 1))
    for wrong in (
        partial(shim.shape, latency=-1.0),
        partial(shim.shape, jitter=-1.0),
        partial(shim.shape, rate=0.5),
        partial(shim.shape, loss=1.0),
        partial(shim.shape, loss=-0.1),
    ):
        with pytest.raises(ValueError, match=r"not negative|note: "):
            wrong()
    for way, at in ((Way.BOTH, 1), (Way.TO_LISTENER, -1)):
        with pytest.raises(ValueError, match="one direction"):
            shim.cut(way, at)
    assert all(lane.shape == PLAIN and lane.clear for lane in shim._lanes.values())
