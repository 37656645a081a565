"""TCP without detours: which system calls are made, who gets a turn meanwhile, and how it ends."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.daemon.channel_helpers import tcp_pair
from volly_fed import limits
from volly_fed.daemon.socket_stream import DirectStream


@asynccontextmanager
async def direct_pair() -> AsyncIterator[tuple[trio.SocketStream, DirectStream]]:
    near, far = await tcp_pair()
    async with near:
        stream = DirectStream(far)
        async with stream:
            yield near, stream


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each read() brought; -1: nothing was there."""
    seen: list[int] = []
    read = os.read

    def counted(descriptor: int, size: int) -> bytes:
        seen.append(-1)
        seen[-1] = len(data := read(descriptor, size))
        return data

    monkeypatch.setattr("volly_fed.daemon.socket_stream.os.read", counted)
    return seen


async def test_an_empty_socket_is_not_read(reads: list[int]) -> None:
    async with direct_pair() as (near, stream):
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(near.send_all, b"%d" % number)
                assert await stream.receive_some() == b"%d" % number
        assert [size for size in reads if size >= 0] == [1, 1, 1]
        assert reads.count(-1) <= 1  # the first: nobody knew


async def test_what_fills_the_buffer_is_read_on_at_once(reads: list[int]) -> None:
    async with direct_pair() as (near, stream):
        await near.send_all(b"abcdef")
        await trio.lowlevel.wait_readable(stream._socket)
        assert [await stream.receive_some(2) for _ in range(3)] == [b"ab", b"cd", b"ef"]
        assert reads == [2, 2, 2]


async def test_what_came_after_a_short_read_is_not_waited_for() -> None:
    async with direct_pair() as (near, stream):
        await near.send_all(b"one")
        assert await stream.receive_some() == b"one"
        await near.send_all(b"two")
        with trio.fail_after(5):
            assert await stream.receive_some() == b"two"


async def test_the_end_after_a_short_read_is_noticed_and_stays() -> None:
    async with direct_pair() as (near, stream):
        await near.send_all(b"last")
        await near.send_eof()
        with trio.fail_after(5):
            assert await stream.receive_some() == b"last"
            assert [await stream.receive_some() for _ in range(2)] == [b"", b""]


async def test_a_reset_after_a_short_read_is_noticed() -> None:
    near, far = await tcp_pair()
    async with DirectStream(far) as stream:
        await near.send_all(b"last")
        assert await stream.receive_some() == b"last"
        near.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        await near.aclose()
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


@pytest.mark.parametrize("before", [b"", b"some"])
async def test_a_reader_is_told_when_the_stream_is_closed_here(before: bytes) -> None:
    async with direct_pair() as (near, stream):
        if before:
            await near.send_all(before)
            await stream.receive_some()

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        await read()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"late")


async def test_a_cancelled_read_loses_nothing() -> None:
    async with direct_pair() as (near, stream):
        await near.send_all(b"one")
        assert await stream.receive_some() == b"one"
        await near.send_all(b"two")
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_some()
        assert scope.cancelled_caught
        assert await stream.receive_some() == b"two"


async def test_a_stream_that_never_waits_gives_others_a_turn_now_and_then() -> None:
    async with direct_pair() as (near, stream):
        size = 20 * limits.CALLS_WITHOUT_CHECKPOINT
        await near.send_all(bytes(size))
        await trio.lowlevel.wait_readable(stream._socket)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            for _ in range(size):
                assert len(await stream.receive_some(1)) == 1
            assert 15 <= turns <= 20
            nursery.cancel_scope.cancel()
