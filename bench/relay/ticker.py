"""A clock that ticks on time: epoll's timeout, and so trio's sleep, is up to a millisecond late; a timerfd is not.

in: an interval; out: how many ticks have come. Source: timerfd_create(2). Python has it from 3.13 on.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

_MONOTONIC = 1
_ABSOLUTE = 1
_NS = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class Ticker:
    """Ticks are due at `start + n * interval`, in nanoseconds of time.monotonic_ns; n begins at 0."""

    def __init__(self, fd: int, start: int, interval: int) -> None:
        self._fd = fd
        self.start = start
        self.interval = interval

    async def ticks(self) -> int:
        """Wait for the next tick; how many there were since the last call."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return int.from_bytes(os.read(self._fd, 8), "little")
            except BlockingIOError:
                continue


@contextmanager
def ticking(interval: int) -> Iterator[Ticker]:
    """A Ticker with `interval` nanoseconds."""
    fd = _checked(_libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        start = time.monotonic_ns() + interval
        spec = (ctypes.c_long * 4)(*divmod(interval, _NS), *divmod(start, _NS))
        _checked(_libc.timerfd_settime(fd, _ABSOLUTE, spec, None))
        yield Ticker(fd, start, interval)
    finally:
        os.close(fd)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "timerfd")
    return result
