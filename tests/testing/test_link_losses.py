"""The link shim: what it swallows, and how it breaks a connection."""

import errno
import random
import socket

import pytest
import trio
import trio.testing

from tests.testing.link_rig import (
    FOREVER,
    OVER,
    WAYS,
    assert_passes,
    assert_reset,
    assert_silent,
    fill,
    receive_all,
    receive_to_the_end,
    rigged,
    send_what_goes,
)
from volly_fed.testing import link_limits
from volly_fed.testing.link_shim import Cut, End, Way

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
            await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) == link_limits.BUFFER)
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
