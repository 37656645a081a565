"""Runs volly-fed as it is, with a wall clock and a disk that the test can make wrong while it runs.

Usage: python -m volly_fed.testing.chaos_process FILE ARGUMENTS… (`Wrongs` has what is in the file)
in: a file of the test's, mapped into memory; out: the very process, and in the file how many tasks it has.
Never: is part of the product: the clock, the default VFS of SQLite and the event loop's counters are changed before
any other module of it is loaded.
Weakness: the log keeps the right time (datetime), and reads and writes of the disk are not slower, only syncs.
"""

import mmap
import runpy
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import apsw
import trio

_LAYOUT: Final = struct.Struct("=dddd")
_VFS: Final = "chaos"
_BASE: Final = "unix"
"""By name: the default is ours by then."""


class Wrongs:
    """What is wrong with one process, in a file that it and its test share."""

    def __init__(self, path: Path) -> None:
        """Map `path`, which `create` has made."""
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    @classmethod
    def create(cls, path: Path) -> Self:
        """A file in which nothing is wrong."""
        path.write_bytes(bytes(_LAYOUT.size))
        return cls(path)

    def _get(self, number: int) -> float:
        return float(_LAYOUT.unpack_from(self._map)[number])

    def _set(self, number: int, value: float) -> None:
        struct.pack_into("=d", self._map, number * 8, value)

    @property
    def clock(self) -> float:
        """Seconds by which the wall clock is ahead."""
        return self._get(0)

    @clock.setter
    def clock(self, seconds: float) -> None:
        self._set(0, seconds)

    @property
    def sync(self) -> float:
        """Seconds that every sync of the database takes longer."""
        return self._get(1)

    @sync.setter
    def sync(self, seconds: float) -> None:
        self._set(1, seconds)

    @property
    def tasks(self) -> int:
        """Tasks of the event loop, told by the process."""
        return int(self._get(2))

    @tasks.setter
    def tasks(self, count: int) -> None:
        self._set(2, float(count))

    @property
    def read_only(self) -> bool:
        """Whether the disk takes no write to a database, as after an error of its file system."""
        return bool(self._get(3))

    @read_only.setter
    def read_only(self, whether: bool) -> None:
        self._set(3, float(whether))


class _Vfs(apsw.VFS):
    def __init__(self, wrongs: Wrongs) -> None:
        self._wrongs = wrongs
        super().__init__(_VFS, _BASE, makedefault=True)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self._wrongs, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, wrongs: Wrongs, name: Any, flags: Any) -> None:
        self._wrongs = wrongs
        super().__init__(_BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._wrongs.read_only:
            raise apsw.ReadOnlyError("the file system is read-only")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        seconds = self._wrongs.sync
        if seconds:
            time.sleep(seconds)
        super().xSync(flags)


class _Counter(trio.abc.Instrument):
    def __init__(self, wrongs: Wrongs) -> None:
        self._wrongs = wrongs
        self._tasks = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - only that there is one more
        self._tasks += 1
        self._wrongs.tasks = self._tasks

    def task_exited(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the same
        self._tasks -= 1
        self._wrongs.tasks = self._tasks


def install(wrongs: Wrongs) -> apsw.VFS:
    """From now on this process has the clock and the disk of `wrongs`, and counts its tasks; keep what is returned."""
    right = time.time
    time.time = lambda: right() + wrongs.clock
    trio.run = partial(trio.run, instruments=[_Counter(wrongs)])  # type: ignore[assignment]
    return _Vfs(wrongs)


if __name__ == "__main__":
    vfs = install(Wrongs(Path(sys.argv[1])))
    sys.argv[1:] = sys.argv[2:]
    runpy.run_module("volly_fed", run_name="__main__")  # only now: its default arguments hold time.time
