"""When a peer may be dialled again: failures, busy peers, hostile hints, and a process that begins anew."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from volly_fed import limits
from volly_fed.daemon.backoff import Attempts, Standing, pause
from volly_fed.daemon.store.store import Backoff, Store
from volly_fed.names import parse_domain

A = parse_domain("a.test")
LEAST, MOST = limits.BACKOFF_JITTER


@asynccontextmanager
async def attempts(path: Path, cap: float = 300.0) -> AsyncIterator[Attempts]:
    async with Store.open(path / "s") as store:
        yield Attempts(store=store, cap=cap)


def due_in(standing: Standing) -> float:
    return standing.next_attempt - time.time()


def test_a_peer_that_is_dead_for_days_does_not_end_the_process() -> None:
    assert pause(1, 300.0) == limits.BACKOFF_FIRST
    assert pause(2, 300.0) == limits.BACKOFF_FIRST * limits.BACKOFF_GROWTH
    assert pause(1_000_000, 300.0) == 300.0


@pytest.mark.spec("handshake-27")
async def test_failures_are_counted_before_they_are_known_and_remembered(tmp_path: Path) -> None:
    async with attempts(tmp_path) as book:
        standing = Standing(A)
        assert await book.wait(standing) == 0
        for _ in range(3):
            await book.begin(standing)
        assert standing.failures == 3
    async with attempts(tmp_path) as book:
        again = Standing(A)
        assert 0 < await book.wait(again) <= 2.0 * MOST
        assert again.failures == 3
        await book.forget(again)
        assert await book.wait(again) == 0
        assert await book.store.backoff(A) is None


@pytest.mark.spec("handshake-26")
@pytest.mark.parametrize(("retry_after", "wanted"), [(0, limits.BACKOFF_FIRST), (40, 40.0)])
@pytest.mark.spec("session-35")
async def test_busy_is_no_failure(tmp_path: Path, retry_after: int, wanted: float) -> None:
    async with attempts(tmp_path) as book:
        standing = Standing(A)
        for _ in range(5):
            await book.begin(standing)
            await book.busy(standing, retry_after, ours=True)
            assert standing.failures == 0
            assert wanted * LEAST - 1 < due_in(standing) <= wanted * MOST
        stored = await book.store.backoff(A)
        assert stored == Backoff(failures=0, next_attempt=standing.next_attempt)


async def test_what_a_busy_peer_asks_for_is_capped(tmp_path: Path) -> None:
    async with attempts(tmp_path, cap=10.0) as book:
        standing = Standing(A)
        await book.begin(standing)
        await book.busy(standing, (1 << 64) - 1, ours=True)
        assert due_in(standing) <= 10.0
        assert await book.wait(standing) <= 10.0


async def test_a_link_of_the_peers_that_ends_busy_counts_against_none_of_our_attempts(tmp_path: Path) -> None:
    async with attempts(tmp_path) as book:
        standing = Standing(A)
        await book.begin(standing)
        await book.begin(standing)
        await book.busy(standing, 40, ours=False)
        assert standing.failures == 2
        await book.forget(standing)  # what it had taken before it said so
        assert await book.wait(standing) > 40 * LEAST - 1
