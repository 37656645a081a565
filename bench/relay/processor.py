"""What processes have spent, from /proc: user and system time of all their threads, in seconds. Source: proc(5)."""

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

_TICKS = os.sysconf("SC_CLK_TCK")


def spent(pid: int) -> float:
    """By one process so far; 0 for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0.0
    fields = text.rpartition(")")[2].split()  # a name may hold spaces
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_spent() -> float:
    """By everything on this machine, the host's share (steal) included."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / _TICKS


@attrs.frozen(kw_only=True)
class Spent:
    """At one moment, or between two."""

    by: dict[str, float]
    machine: float

    def since(self, earlier: "Spent") -> "Spent":
        """What was spent between `earlier` and this."""
        by = {name: seconds - earlier.by.get(name, 0.0) for name, seconds in self.by.items()}
        return Spent(by=by, machine=self.machine - earlier.machine)

    @property
    def others(self) -> float:
        """By processes that have nothing to do with the benchmark."""
        return max(0.0, self.machine - sum(self.by.values()))


def look(processes: Iterable[tuple[str, int]]) -> Spent:
    """What these (name, pid) have spent so far."""
    return Spent(by={name: spent(pid) for name, pid in processes}, machine=machine_spent())
