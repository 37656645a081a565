"""One process in which everything comes of a seed: time, randomness, the order of tasks, and what threads would do.

in: a seed and what to run; out: its result, the same for the same seed, as fast as the processor goes.
Time is trio's MockClock, which jumps when every task waits; the wall clock goes along with it. `trio.to_thread` runs
what it is given where it stands, for a thread of its own would end whenever the machine likes.
Never: runs beside other trio loops in one process, or leaves anything changed behind.
"""

import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from types import ModuleType
from typing import Final, TypeVar

import trio
import trio.testing

T = TypeVar("T")
EPOCH: Final = 1_800_000_000
"""The wall clock at the beginning."""


def run_from_seed(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """`main` in a loop of its own, as `seed` has it."""
    chance = Random(seed)  # noqa: S311 - to repeat, not to be secret
    with ExitStack() as changes:
        scheduler = trio._core._run  # noqa: SLF001 - no public way to repeat the order of tasks
        state, own = random.getstate(), scheduler._r.getstate()  # noqa: SLF001
        changes.callback(random.setstate, state)
        changes.callback(scheduler._r.setstate, own)  # noqa: SLF001
        random.seed(chance.random())
        scheduler._r.seed(chance.random())  # noqa: SLF001
        changes.enter_context(_replaced(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True))
        changes.enter_context(_replaced(os, "urandom", chance.randbytes))
        changes.enter_context(_replaced(time, "time", _now))
        changes.enter_context(_replaced(trio.to_thread, "run_sync", _run_here))
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    former = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, former)


def _now() -> float:
    return EPOCH + trio.current_time()


async def _run_here(function: Callable[..., T], *args: object) -> T:
    await trio.lowlevel.checkpoint()
    return function(*args)
