"""What processes have spent: the scheduler's own account of each of their threads, and the machine's of everything.

in: pids; out: seconds, by name. Source: proc(5), schedstat.
Not /proc/PID/stat, whose times are sampled at the timer's ticks: load that comes with a clock falls between them, or on
them. A thread that has ended meanwhile takes its part along; those of a homeserver that work, stay.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

_SPAN = 2.0
_MUCH = 0.1
"""Processors that are busy."""
_TICKS = os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> dict[int, int]:
    """Nanoseconds on a processor, by thread; nothing for a process that is gone."""
    found: dict[int, int] = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _machine() -> float:
    """Seconds of all processors together that were not idle, what the host took (steal) included; sampled."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq + steal) / _TICKS


@attrs.frozen(kw_only=True)
class Spent:
    """Between two looks: seconds by process, and by what has nothing to do with the benchmark."""

    by: dict[str, float]
    others: float


@attrs.frozen(kw_only=True)
class Look:
    """At one moment."""

    threads: dict[str, dict[int, int]]
    machine: float

    def since(self, earlier: "Look") -> Spent:
        """What was spent between `earlier` and this."""
        by = {name: _grown(earlier.threads.get(name, {}), now) / 1e9 for name, now in self.threads.items()}
        return Spent(by=by, others=max(0.0, self.machine - earlier.machine - sum(by.values())))


def _grown(before: dict[int, int], now: dict[int, int]) -> int:
    return sum(spent - before.get(thread, 0) for thread, spent in now.items())


def look(processes: Iterable[tuple[str, int]]) -> Look:
    """What these (name, pid) have spent so far."""
    return Look(threads={name: threads(pid) for name, pid in processes}, machine=_machine())


async def wait_idle(seconds: float) -> None:
    """Wait until the machine does nothing much, so long at most."""
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        before = look([])
        await trio.sleep(_SPAN)
        if look([]).since(before).others < _MUCH * _SPAN:
            return
