"""How much a process holds: memory, open files and sockets, as the kernel tells it.

in: process ids; out: samples; and the slope of a series of them. Linux only (/proc).
Never: raises because a process has ended meanwhile: there is no sample then.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Sample:
    """One process at one moment; memory in KiB."""

    rss: int
    private_dirty: int
    files: int
    """Open file descriptors, sockets included."""
    sockets: int


def sample(pid: int) -> Sample | None:
    """What `pid` holds now; None when it is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        memory = _kib((folder / "smaps_rollup").read_text())
        links = [_link(path) for path in (folder / "fd").iterdir()]
    except (OSError, KeyError):
        return None
    return Sample(
        rss=memory["Rss"],
        private_dirty=memory["Private_Dirty"],
        files=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By least squares, in the unit of the values for each unit of time; 0 of fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def _kib(rollup: str) -> dict[str, int]:
    fields = (line.split() for line in rollup.splitlines() if line.endswith(" kB"))
    return {field[0].rstrip(":"): int(field[1]) for field in fields}


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed between the two looks
        return ""
