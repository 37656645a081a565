"""A fake edge that hands envelopes over: as fast as they are taken, or at a rate that waits for nobody.

in: an edge's keys, mailboxes, a rate; out: batches as an edge that coalesces sends them, and how many were settled.
Never: has more in flight than the homeserver's window; what is due meanwhile keeps the time at which it was due, so
that a homeserver that stalls is charged with everything it kept waiting (no coordinated omission).
"""

import os
import time
from pathlib import Path

import attrs
import trio

from bench.relay.envelopes import RUN_SHIFT, Press, Target, Tickets
from bench.relay.gauge import Gauge
from bench.relay.link import EdgeKeys, Line
from bench.relay.ticker import ticking
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.wire.messages import STREAM_BYTES, Ack, Open

_NS = 1_000_000_000
_SHARES = 8
"""Of what may be under way, so much at least is handed over at once: devices submit many at a time, too."""
_GLANCE = 0.0005
"""Seconds between two looks at what has arrived."""


@attrs.frozen(kw_only=True)
class Handed:
    """What became of one run's envelopes so far."""

    sent: int
    settled: int
    refused: int
    first_refusal: str


class Submitter:
    """See worker.Generator."""

    def __init__(
        self, config: str, targets: list[Target], body_bytes: int, ticket_key: bytes, gauge: Gauge | None = None
    ) -> None:
        self._keys = EdgeKeys.load(Path(config))
        self._press = Press(targets, body_bytes, Tickets(ticket_key))
        self._gauge = gauge or Gauge()
        self._stream = os.urandom(STREAM_BYTES)
        self._line: Line | None = None
        self._sent = self._settled = 0  # of the stream
        self._window = limits.WINDOW_ENVELOPES
        self._window_bytes = limits.WINDOW_BYTES
        self._room = trio.Event()
        self._number = 0  # of the run's next envelope
        self._before = 0  # settled when the run began
        self._refused = 0
        self._first_refusal = ""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the link; it is not expected to end."""

        async def use(line: Line) -> None:
            self._line = line
            await line.say(Open(stream=self._stream))
            async for message in line.messages():
                assert isinstance(message, Ack), message
                self._take(message)
                if not self._sent:
                    task_status.started()
            raise RuntimeError(f"the submitter's link ended: {line.ended}")

        await self._keys.call(use)

    def _take(self, ack: Ack) -> None:
        self._settled = ack.cursor
        self._window = getattr(ack, "window", self._window)
        self._window_bytes = getattr(ack, "window_bytes", self._window_bytes)
        self._refused += len(ack.refusals)
        if ack.refusals and not self._first_refusal:
            self._first_refusal = f"{ack.refusals[0][1].name} {ack.refusals[0][2]}"
        self._room.set()

    async def begin(self, run: int, urgency: EnvelopeClass = EnvelopeClass.SIGNAL) -> None:
        """What is sent from now on belongs to this run, and is of this class."""
        self._press.change(urgency)
        self._number = run << RUN_SHIFT
        self._before, self._refused, self._first_refusal = self._sent, 0, ""

    async def saturate(self, seconds: float, most: int = 1 << 40, under_way: int = 1 << 40) -> Handed:
        """Hand over as much as is taken, `most` in all, while fewer than `under_way` have not arrived; due at once."""
        until = trio.current_time() + seconds
        group = min(self._batch, most, under_way // _SHARES)
        while trio.current_time() < until and most > 0:
            room = min(await self._wait_room(), most, under_way - self._sent + self._gauge.arrived)
            if room < min(group, most):
                await trio.sleep(_GLANCE)
                continue
            await self._send([time.monotonic_ns()] * room)
            most -= room
        return await self.handed()

    async def pace(self, rate: int, seconds: float, tick: int) -> Handed:
        """Hand over `rate` a second, in groups every `tick` nanoseconds, whatever the homeserver does."""
        share = rate * tick / _NS  # of one tick
        with ticking(tick) as ticker:
            ticks = made = 0
            while ticks * tick < seconds * _NS:
                due: list[int] = []
                for _ in range(await ticker.ticks()):
                    count = int((ticks + 1) * share) - made
                    due += [ticker.start + ticks * tick] * count
                    ticks, made = ticks + 1, made + count
                while due:
                    room = await self._wait_room()
                    await self._send(due[:room])
                    del due[:room]
        return await self.handed()

    async def handed(self) -> Handed:
        """Of the run so far."""
        return Handed(
            sent=self._sent - self._before,
            settled=self._settled - self._before,
            refused=self._refused,
            first_refusal=self._first_refusal,
        )

    async def settle(self, seconds: float) -> Handed:
        """Wait until everything is settled, so long at most."""
        with trio.move_on_after(seconds):
            while self._settled < self._sent:
                await self._wait_change()
        return await self.handed()

    @property
    def _batch(self) -> int:
        """The most that one batch holds."""
        return min(limits.BATCH_ENVELOPES, limits.BATCH_BYTES // self._press.frame_bytes)

    async def _wait_room(self) -> int:
        """How many envelopes may be sent in the next batch, at least one."""
        while True:
            window = min(self._window, self._window_bytes // self._press.frame_bytes)
            room = min(self._batch, window - (self._sent - self._settled))
            if room > 0:
                return room
            await self._wait_change()

    async def _wait_change(self) -> None:
        self._room = trio.Event()
        await self._room.wait()

    async def _send(self, due: list[int]) -> None:
        assert self._line is not None
        data = self._press.batch(self._stream, self._sent + 1, self._number, due)
        self._sent += len(due)
        self._number += len(due)
        await self._line.send(data)
