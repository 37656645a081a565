"""The link shim between real sockets on loopback: what it lets through, and that it leaves nothing behind."""

import errno
import os
import random
import socket
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing

from tests.testing.link_rig import (
    FOREVER,
    WAYS,
    assert_passes,
    assert_receives,
    assert_reset,
    fill,
    receive_all,
    receive_to_the_end,
    rigged,
    send_what_goes,
)
from volly_fed.testing import link_limits
from volly_fed.testing.link_lane import PLAIN, Lane
from volly_fed.testing.link_shim import Cut, End, LinkShim, Way

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
            assert 0 < pairs[0].link.held(Way.TO_LISTENER) <= link_limits.CHUNK
            assert await receive_all(pairs[0].far, len(held_up)) == held_up


async def test_a_listener_that_is_not_there_costs_the_dialler_a_reset() -> None:
    async with rigged() as rig:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            rig.shim.target = gone.getsockname()
        await assert_reset(await rig.dial())
        assert rig.shim.accepted == 1


async def test_too_many_connections_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_limits, "CONNECTIONS", 2)
    async with rigged() as rig:
        pairs = [await rig.connect(), await rig.connect()]
        await assert_reset(await rig.dial())
        await assert_passes(pairs[0])
        assert rig.shim.accepted == 2


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
