"""One direction of one shimmed connection: reads at one socket and writes at the other, as its lane tells it.

in: a lane, two connected sockets; out: the same bytes, some of them, or none; counts.
Never: holds more than link_limits.BUFFER bytes; lets anything pass after bytes were lost, for TCP delivers no holes;
closes a socket. What costs time takes the long way, through a queue; with nothing set a chunk is two system calls.
"""

import enum
import fcntl
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import attrs
import trio

from volly_fed.testing import link_limits
from volly_fed.testing.link_lane import Cut, Lane, Watch

_TURNS: Final = 15
"""Chunks, less one, before the other tasks get a turn; a power of two, less one."""


class Ending(enum.Enum):
    """How what is read has come to its end."""

    FIN = enum.auto()
    RESET = enum.auto()
    UNHEARD = enum.auto()
    """The socket was closed by the shim: nobody is to be told."""


@attrs.frozen
class _Item:
    """What is under way; behind it nothing arrives before it does."""

    due: float
    data: bytes
    ending: Ending | None


@attrs.frozen(kw_only=True)
class Owner:
    """The connection's answers to what a flow comes upon."""

    sink_gone: Callable[[], None]
    """The sink does not take any more."""
    reset: Callable[[], None]
    """The source's reset has arrived."""
    cut: Callable[[], Cut]
    """The byte was passed at which the connection is to be cut: it is dark now. How it is to end."""


class Flow:
    """Runs until the source's end was passed on or is known to be lost."""

    def __init__(
        self,
        lane: Lane,
        source: socket.socket,
        sink: socket.socket | None,
        *,
        scratch: memoryview,
        random: Random,
        watch: Watch,
        owner: Owner,
    ) -> None:
        self.seen = self.passed = self.lost = 0
        self.dark = sink is None
        """Bytes were lost: nothing passes any more, the end included."""
        self.limit = sys.maxsize
        """Of `passed`; the connection is cut there."""
        self.finished = False
        self._lane, self._source, self._sink = lane, source, sink or source
        self._scratch, self._random, self._watch, self._owner = scratch, random, watch, owner
        self._queue: deque[_Item] = deque()
        self._queued = 0
        self._filled, self._room = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._blocked: trio.CancelScope | None = None

    @property
    def held(self) -> int:
        """Bytes that the shim has read and not passed on."""
        return self.seen - self.passed - self.lost

    @property
    def silent(self) -> bool:
        """Whether nothing passes, a reset neither."""
        return self.dark or self._lane.blackholed

    async def run(self) -> None:
        """Carry bytes until the end. Raises nothing."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            try:
                ending = await self._read()
            except trio.ClosedResourceError:
                ending = Ending.UNHEARD
            self.end(ending)

    def end(self, ending: Ending) -> None:
        """After what is under way, `ending` arrives too."""
        self._put(b"", trio.current_time(), ending)

    def darken(self) -> None:
        """From now on everything is lost."""
        self.dark = True
        self.nudge()

    def nudge(self) -> None:
        """Whoever waits for a sink that takes nothing, or for what is late, looks again whether it still has to."""
        self._room.unpark_all()
        if self._blocked is not None:
            self._blocked.cancel()

    # --- reading ---

    async def _read(self) -> Ending:
        lane, source, scratch, turns = self._lane, self._source, self._scratch, 0
        while True:
            if not lane.clear:
                await lane.wait_open()
            short = lane.clear and not self.dark and not self._queue
            room = link_limits.CHUNK if short or self.silent else min(lane.piece, link_limits.BUFFER - self._queued)
            if not room:
                await self._room.park()
                continue
            try:
                count = source.recv_into(scratch, room)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(source)
                continue
            except OSError:
                return Ending.RESET
            if not count:
                return Ending.FIN
            self.seen += count
            if short:
                sent = self._offer(scratch[:count])
                if sent < count or self.passed >= self.limit:
                    await self._send(bytes(scratch[sent:count]))  # a copy: the scratch is everybody's
                elif count < room:
                    await trio.lowlevel.wait_readable(source)  # there was no more, and asking costs more than waiting
            elif self.silent:
                self._lose(count)
            else:
                await trio.sleep_until(self._put(bytes(scratch[:count]), trio.current_time()))
            turns += 1
            if not turns & _TURNS:
                await trio.lowlevel.checkpoint()

    def _put(self, data: bytes, now: float, ending: Ending | None = None) -> float:
        """Send `data` on its way; when the next bytes may leave."""
        departure = self._lane.departure(len(data), now)
        self._queue.append(_Item(departure + self._lane.travel(self._random), data, ending))
        self._queued += len(data)
        self._filled.unpark()
        self._watch.tell()
        return departure

    # --- writing ---

    async def _write(self) -> None:
        while True:
            while not self._queue:
                await self._filled.park()
            item = self._queue[0]  # and stays there, so that nothing takes the short way past it
            await trio.sleep_until(item.due)
            if item.ending is not None:
                await self._finish(item.ending)
                return
            await self._send(item.data)
            self._queue.popleft()
            self._queued -= len(item.data)
            self._room.unpark_all()

    async def _finish(self, ending: Ending) -> None:
        await self._lane.wait_open()
        self.finished = True
        if self.silent or ending is Ending.UNHEARD:
            self.darken()
        elif ending is Ending.RESET:
            self._owner.reset()
        else:
            try:
                self._sink.shutdown(socket.SHUT_WR)
            except OSError:
                self._owner.sink_gone()
        self._watch.tell()

    def _offer(self, data: memoryview) -> int:
        """How many bytes the sink has taken at once."""
        if self.passed + len(data) > self.limit:
            data = data[: self.limit - self.passed]
        try:
            sent = self._sink.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.dark = True
            self._owner.sink_gone()
            return 0
        self.passed += sent
        self._watch.tell()
        return sent

    async def _send(self, data: bytes) -> None:
        """All of `data`, however long the sink takes; or lose the rest, if that is what is set meanwhile."""
        rest = memoryview(data)
        while True:
            if self.passed >= self.limit and not self.dark:
                await self._sever()
            if not rest:
                return
            await self._lane.wait_open()
            if self.silent:
                self._lose(len(rest))
                return
            if sent := self._offer(rest):
                rest = rest[sent:]
            elif not self.dark:
                await self._wait_writable()

    async def _wait_writable(self) -> None:
        self._watch.tell()
        with trio.CancelScope() as self._blocked:
            try:
                await trio.lowlevel.wait_writable(self._sink)
            except trio.ClosedResourceError:
                self.dark = True
        self._blocked = None

    async def _sever(self) -> None:
        """Cut; reset only when the other end's kernel has all that was to pass, for what is still here is destroyed."""
        if self._owner.cut() is not Cut.RESET:
            return
        while _unacknowledged(self._sink):  # noqa: ASYNC110 - the kernel has no event for it
            await trio.sleep(link_limits.DRAIN_POLL)
        self._owner.reset()

    def _lose(self, count: int) -> None:
        self.dark = True
        self.lost += count
        self._watch.tell()


def _unacknowledged(sink: socket.socket) -> int:
    """Bytes sent that the receiving kernel has not taken; none if the connection is gone."""
    try:
        return int.from_bytes(fcntl.ioctl(sink, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0
