"""The link shim: latency, loss, rates, and what happens while nothing passes."""

import random

import pytest
import trio
import trio.testing

from tests.testing.link_rig import (
    FOREVER,
    WAYS,
    assert_passes,
    assert_silent,
    fill,
    receive_all,
    receive_to_the_end,
    rigged,
)
from volly_fed.testing import link_limits
from volly_fed.testing.link_lane import Lane, Shape
from volly_fed.testing.link_shim import Way

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
    once, twice = link_limits.RETRANSMIT, 3 * link_limits.RETRANSMIT  # the second wait is twice as long
    assert 0.70 < losses.count(0) / 4000 < 0.80
    assert 0.15 < sum(abs(seconds - once) < 1e-9 for seconds in losses) / 4000 < 0.22
    assert any(abs(seconds - twice) < 1e-9 for seconds in losses)
    assert not any(abs(seconds - 2 * once) < 1e-9 for seconds in losses)


@WAYS
async def test_lost_packets_come_later_and_in_order(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_limits, "RETRANSMIT", 0.01)
    data = random.Random(4).randbytes(link_limits.SEGMENT * 60)
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
        assert trio.current_time() - began >= 0.2 - 2 * link_limits.TICK
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
            await rig.shim.until(lambda: pair.link.held(Way.TO_LISTENER) >= link_limits.BUFFER)
        assert pair.link.seen(Way.TO_LISTENER) == pair.link.held(Way.TO_LISTENER) == link_limits.BUFFER


async def test_more_than_is_held_goes_through_a_slow_link_in_the_end() -> None:
    data = random.Random(7).randbytes(3 * link_limits.BUFFER + 1)
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
        assert pair.link.held(Way.TO_LISTENER) <= 10_000 * link_limits.TICK
        rig.shim.shape()
        assert await receive_all(pair.far, 10_000) == bytes(10_000)


async def test_a_receiver_that_does_not_read_is_felt_by_the_sender() -> None:
    async with rigged() as rig:
        pair = await rig.connect()
        count = await fill(pair.near)
        assert pair.link.held(Way.TO_LISTENER) <= link_limits.CHUNK
        assert await receive_all(pair.far, count) == bytes(count)
