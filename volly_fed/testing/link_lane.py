"""One direction of a shimmed link: what is set on it, for all connections at once, and when bytes may arrive.

in: settings; out: times, and waits for what changes.
Never: touches a socket or reads a clock; draws from any random source but the one it is given.
Source: RFC 6298 §2 (a lost segment comes after a timeout, twice as long each time).
"""

import enum
from collections.abc import Callable
from random import Random
from typing import Final

import attrs
import trio

from volly_fed.testing import link_limits


class Way(enum.Flag):
    """Where bytes go."""

    TO_LISTENER = 1
    TO_DIALLER = 2
    BOTH = 3


class End(enum.Enum):
    """Who is at the other end of one of the shim's sockets."""

    DIALLER = enum.auto()
    LISTENER = enum.auto()


class Cut(enum.Enum):
    """How a link ends."""

    RESET = enum.auto()
    """Both ends get a TCP reset."""
    CLOSE = enum.auto()
    """Both ends get a FIN, as from a process that has ended in order."""
    SILENT = enum.auto()
    """Neither end hears anything, ever: as a cable that was pulled out."""


@attrs.frozen(kw_only=True)
class Shape:
    """What a direction does to bytes without losing any."""

    latency: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    loss: float = 0.0

    def __attrs_post_init__(self) -> None:
        if self.latency < 0 or self.jitter < 0:
            raise ValueError("latency and jitter are seconds, and not negative")
        if self.rate is not None and self.rate < 1:
            raise ValueError("a rate is at least one byte per second\nnote: pause() stops a link")
        if not 0 <= self.loss < 1:
            raise ValueError("loss is a probability below one\nnote: blackhole() loses everything")


PLAIN: Final = Shape()
"""Nothing is done to the bytes."""


class Lane:
    """One direction of the whole link."""

    def __init__(self) -> None:
        self.shape = PLAIN
        self.paused = False
        self.blackholed = False
        self.clear = True
        """Nothing is set: bytes may take the short way."""
        self.piece = link_limits.CHUNK
        """Bytes that are read at once."""
        self._free_at = 0.0
        self._resumed = trio.Event()

    def set(self, *, shape: Shape | None = None, paused: bool | None = None, blackholed: bool | None = None) -> None:
        """Change what is given. Bytes under way keep the time they have got."""
        if shape is not None:
            self.shape, self._free_at, self.piece = shape, 0.0, _piece(shape)
        if blackholed is not None:
            self.blackholed = blackholed
        if paused is not None and paused is not self.paused:
            self.paused = paused
            if paused:
                self._resumed = trio.Event()
            else:
                self._resumed.set()
        self.clear = self.shape == PLAIN and not self.paused and not self.blackholed

    async def wait_open(self) -> None:
        """Until the direction is not paused."""
        while self.paused:
            await self._resumed.wait()

    def departure(self, size: int, now: float) -> float:
        """When the last of `size` bytes has left, by the rate, which all connections share; never before `now`."""
        if self.shape.rate is None:
            return now
        self._free_at = max(now - link_limits.TICK, self._free_at) + size / self.shape.rate
        return max(now, self._free_at)

    def travel(self, random: Random) -> float:
        """Seconds from departure to arrival of one piece."""
        shape = self.shape
        seconds = shape.latency
        if shape.jitter:
            seconds += shape.jitter * random.random()
        timeout = link_limits.RETRANSMIT
        while shape.loss and random.random() < shape.loss:
            seconds += timeout
            timeout = min(2 * timeout, link_limits.RETRANSMIT_CAP)
        return seconds


def _piece(shape: Shape) -> int:
    size = link_limits.SEGMENT if shape.loss else link_limits.CHUNK
    return size if shape.rate is None else max(1, min(size, int(shape.rate * link_limits.TICK)))


class Watch:
    """Wakes those who wait for a condition; costs nothing while nobody does."""

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()

    def tell(self) -> None:
        """Something has changed."""
        if self._waiting:
            self._waiting.unpark_all()

    async def until(self, check: Callable[[], bool]) -> None:
        """Until `check()`, which is looked at after every change."""
        while not check():
            await self._waiting.park()
