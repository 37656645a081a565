"""Load on a Setting, and what came of it.

in: a rate, or none; for how long; out: a Load: what arrived when, what it cost, whether anything is missing.
"""

import time
from collections.abc import Sequence

import attrs
import trio

from bench.relay.arrivals import Run
from bench.relay.figure import percentile
from bench.relay.processor import Spent
from bench.relay.setting import Setting
from bench.relay.submitter import Handed

SETTLE = 60.0
"""Seconds that what is under way may take to arrive, once no more is submitted."""
BUSY_TICK = 1_000_000
REST_TICK = 10_000_000
"""Nanoseconds between the groups in which an open loop submits."""


@attrs.frozen(kw_only=True)
class Load:
    """One run. `delivered`, `seconds` and `spent` are of the time that was measured, the rest of all."""

    handed: Handed
    run: Run
    delivered: int
    seconds: float
    spent: Spent

    @property
    def lost(self) -> int:
        """Envelopes that were taken from the edge, not refused, and never came."""
        return self.handed.settled - self.handed.refused - len(self.run.seen)

    @property
    def per_second(self) -> float:
        """Delivered envelopes each second."""
        return self.delivered / self.seconds

    @property
    def took_ms(self) -> list[float]:
        """Of each envelope, from when it was due to its delivery."""
        return [nanoseconds / 1e6 for nanoseconds in self.run.took]

    def cpu_us(self, name: str) -> float:
        """Microseconds of processor time that `name` spent for an envelope."""
        return self.spent.by[name] / max(1, self.delivered) * 1e6

    @property
    def others(self) -> float:
        """Processors that were busy with something else, on average."""
        return self.spent.others / self.seconds


async def saturated(setting: Setting, seconds: float) -> Load:
    """Hand over whatever A takes; measure from a fifth of `seconds` on."""
    warm = seconds / 5
    run = setting.next_run()
    await setting.submitter.call("begin", run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setting.submitter.call, "saturate", warm + seconds)
        await trio.sleep(warm)
        count, look, began = await setting.receiver.call("count", run), setting.look(), time.monotonic()
        await trio.sleep(seconds)
        delivered = await setting.receiver.call("count", run) - count
        spent, took = setting.look().since(look), time.monotonic() - began
    return await _finished(setting, run, delivered=delivered, seconds=took, spent=spent)


async def paced(setting: Setting, rate: int, seconds: float, *, tick: int, settle: float = SETTLE) -> Load:
    """Hand over `rate` a second, whatever happens; as much again as a fifth of `seconds` goes before, unmeasured."""
    warm = seconds / 5
    await setting.submitter.call("begin", ignored := setting.next_run())
    await setting.submitter.call("pace", rate, warm, tick)
    await setting.submitter.call("begin", run := setting.next_run())
    look, began = setting.look(), time.monotonic()
    handed: Handed = await setting.submitter.call("pace", rate, seconds, tick)
    spent, took = setting.look().since(look), time.monotonic() - began
    load = await _finished(setting, run, delivered=handed.sent, seconds=took, spent=spent, settle=settle)
    await setting.receiver.call("take", ignored)
    return load


async def _finished(
    setting: Setting, run: int, *, delivered: int, seconds: float, spent: Spent, settle: float = SETTLE
) -> Load:
    handed = await setting.submitter.call("settle", settle)
    await setting.receiver.call("wait", run, handed.settled - handed.refused, settle)
    arrived = await setting.receiver.call("take", run)
    return Load(handed=handed, run=arrived, delivered=delivered, seconds=seconds, spent=spent)


def between(run: Run, begin: int, end: int) -> Sequence[float]:
    """Milliseconds that those took which arrived from `begin` to `end` (time.monotonic_ns)."""
    return [took / 1e6 for at, took in zip(run.arrived, run.took, strict=True) if begin <= at < end]


def p(samples: Sequence[float], percent: float) -> float:
    """A percentile."""
    return percentile(samples, percent / 100)
