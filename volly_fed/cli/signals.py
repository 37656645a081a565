"""Ctrl-C and SIGTERM for commands that have something to undo.

in: a block, or an async function; out: the block raises Terminated on SIGTERM, as it raises KeyboardInterrupt on
Ctrl-C; the async function is cancelled on either.
Never: used by `serve` and `edge`, which drain instead.
"""

import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import FrameType
from typing import TypeVar

import trio

T = TypeVar("T")


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated, so that what was half done is undone. In a thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


async def until_interrupted(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns. On SIGINT, SIGTERM or SIGHUP it is cancelled; KeyboardInterrupt comes once it has ended.

    An exception from a signal handler could come between a process's start and the line that remembers it, or in the
    middle of the event loop; a cancellation comes only where `work` waits.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, received, nursery.cancel_scope)
            result = await work()
            nursery.cancel_scope.cancel()
            return result
    raise Terminated


async def _cancel_when(received: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _number in received:
        scope.cancel()
