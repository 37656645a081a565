"""Load on a Setting, and what came of it.

in: a rate, or none; for how long; out: a Load: what arrived when, what it cost, whether anything is missing.
"""

import time
from collections.abc import Sequence

import attrs
import trio

from bench.relay.arrivals import Run
from bench.relay.figure import percentile
from bench.relay.processor import Look, Spent
from bench.relay.setting import Setting
from bench.relay.submitter import Handed

SETTLE = 60.0
"""Seconds that what is under way may take to arrive, once no more is submitted."""
BUSY_TICK = 1_000_000
REST_TICK = 10_000_000
"""Nanoseconds between the groups in which an open loop submits."""


@attrs.frozen(kw_only=True)
class Load:
    """One run. `spent` in `seconds` is for all of it, until the last envelope has come."""

    handed: Handed
    run: Run
    per_second: float
    """Delivered while it was measured."""
    spent: Spent
    seconds: float

    @property
    def lost(self) -> int:
        """Envelopes that were taken from the edge, not refused, and never came."""
        return self.handed.settled - self.handed.refused - len(self.run.seen)

    @property
    def took_ms(self) -> list[float]:
        """Of each envelope, from when it was due to its delivery."""
        return [nanoseconds / 1e6 for nanoseconds in self.run.took]

    def cpu_us(self, name: str) -> float:
        """Microseconds of processor time that `name` spent for an envelope."""
        return self.spent.by[name] / max(1, len(self.run.seen)) * 1e6

    @property
    def others(self) -> float:
        """Processors that were busy with something else, on average."""
        return self.spent.others / self.seconds


async def saturated(setting: Setting, seconds: float, *, under_way: int = 1 << 40) -> Load:
    """Hand over whatever A takes while fewer than `under_way` have not arrived.

    The rate is counted from a fifth of `seconds` on.
    """
    run = await _begin(setting)
    look, began = setting.look(), time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setting.submitter.call, "saturate", seconds * 6 / 5, 1 << 40, under_way)
        await trio.sleep(seconds / 5)
        count, since = await setting.receiver.call("count", run), time.monotonic()
        await trio.sleep(seconds)
        delivered = await setting.receiver.call("count", run) - count
        per_second = delivered / (time.monotonic() - since)
    return await _finished(setting, run, look, began, per_second=per_second)


async def paced(setting: Setting, rate: int, seconds: float, *, tick: int, settle: float = SETTLE) -> Load:
    """Hand over `rate` a second, whatever happens; as much again as a fifth of `seconds` goes before, unmeasured."""
    before = await _begin(setting)
    await setting.submitter.call("pace", rate, seconds / 5, tick)
    run = await _begin(setting)
    look, began = setting.look(), time.monotonic()
    handed: Handed = await setting.submitter.call("pace", rate, seconds, tick)
    load = await _finished(setting, run, look, began, per_second=handed.sent / seconds, settle=settle)
    await setting.receiver.call("take", before)
    return load


async def _begin(setting: Setting) -> int:
    run = setting.next_run()
    await setting.submitter.call("begin", run)
    return run


async def _finished(
    setting: Setting, run: int, look: Look, began: float, *, per_second: float, settle: float = SETTLE
) -> Load:
    handed: Handed = await setting.submitter.call("settle", settle)
    await setting.receiver.call("wait", run, handed.settled - handed.refused, settle)
    spent, seconds = setting.look().since(look), time.monotonic() - began
    arrived: Run = await setting.receiver.call("take", run)
    return Load(handed=handed, run=arrived, per_second=per_second, spent=spent, seconds=seconds)


def made_between(run: Run, begin: int, end: int) -> Sequence[float]:
    """Milliseconds that those took which were due from `begin` to `end` (time.monotonic_ns)."""
    return [took / 1e6 for at, took in zip(run.arrived, run.took, strict=True) if begin <= at - took < end]


def p(samples: Sequence[float], percent: float) -> float:
    """A percentile."""
    return percentile(samples, percent / 100)
