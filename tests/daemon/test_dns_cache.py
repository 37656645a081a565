from contextlib import nullcontext

import pytest
import trio
import trio.testing

from volly_fed import limits
from volly_fed.daemon.dns.cache import Backoff, Cache, SingleFlight


def test_a_value_lasts_until_its_time() -> None:
    cache: Cache[str, int] = Cache()
    cache.put("a", 1, now=100, expires=110)
    assert cache.get("a", 109.9) == 1
    assert cache.get("a", 110) is None
    assert cache.get("b", 100) is None
    assert list(cache.current(105)) == [("a", 1, 110)]
    assert list(cache.current(110)) == []


def test_a_clock_that_is_turned_back_does_not_make_values_last_longer() -> None:
    cache: Cache[str, int] = Cache()
    cache.put("a", 1, now=1_000_000, expires=1_000_100)
    assert cache.get("a", 1_000_000 - limits.DNS_CLOCK_SKEW) == 1
    assert cache.get("a", 1_000_000 - limits.DNS_CLOCK_SKEW - 1) is None


def test_the_oldest_makes_room() -> None:
    cache: Cache[int, int] = Cache()
    for key in range(limits.DNS_CACHE_ENTRIES + 1):
        cache.put(key, key, now=0, expires=10)
    assert cache.get(0, 1) is None
    assert cache.get(1, 1) == 1
    assert cache.drop(lambda key: key < 11) == 10
    assert cache.get(10, 1) is None


def test_failures_are_remembered_twice_as_long_each_time_up_to_a_cap() -> None:
    backoff: Backoff[str] = Backoff()
    now, waits = 0.0, []
    for _ in range(7):
        until = backoff.failed("a", now)
        waits.append(until - now)
        now = until
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.failed("b", now) == now + 1
    backoff.succeeded("a")
    assert backoff.failed("a", now) == now + 1


def test_a_failure_long_after_the_last_begins_anew() -> None:
    backoff: Backoff[str] = Backoff()
    backoff.failed("a", 0)
    assert backoff.failed("a", 1) == 3
    assert backoff.failed("a", 3 + limits.DNS_FAILURE_CAP) == 4 + limits.DNS_FAILURE_CAP
    backoff.drop(lambda key: key == "a")
    assert backoff.failed("a", 40) == 41


async def test_work_is_done_once_for_all_at_the_same_time() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    gate, started, results = trio.Event(), 0, []

    async def work() -> int:
        nonlocal started
        started += 1
        await gate.wait()
        return started

    async def want() -> None:
        results.append(await flights.do("a", work))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(want)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert results == [1, 1, 1]
    assert await flights.do("a", work) == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_or_fails_hands_over(fails: bool) -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    scope, gate, results = trio.CancelScope(), trio.Event(), []

    async def doomed() -> str:
        await gate.wait()
        raise ZeroDivisionError

    async def good() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    async def first() -> None:
        with scope, pytest.raises(ZeroDivisionError) if fails else nullcontext():
            await flights.do("a", doomed)

    async def second() -> None:
        results.append(await flights.do("a", good))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(second)
        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked()
        (gate.set if fails else scope.cancel)()
    assert results == ["done", "done"]
