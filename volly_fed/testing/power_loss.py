"""Power losses within one process: an SQLite VFS under which the machine goes off at a chosen point, by seed.

in: a folder, a seed and the point; out: the folder as the disk has it after the loss, for the same program to open.
Points are SQLite's writes, truncations, syncs, creations and deletions (it never renames). A crash comes before its
point is done, which then counts as not synced. Folders are synced when, and only when, SQLite's unix VFS does so.
Never: really syncs, for it needs no disk; offers shared memory, so WAL works only with locking_mode = EXCLUSIVE; sees
what others do in the folder, except that a file new to it, once SQLite opens it, counts as written and not synced.
Source: sqlite.org/c3ref/vfs.html, sqlite.org/testing.html §3.3 (crash testing); `power_disk` has what may be lost.
"""

# ruff: noqa: N802 - the methods have SQLite's names
import itertools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import apsw

from volly_fed.testing.power_disk import Change, Disk, Inode

_BASE: Final = "unix"
_SYNCING_FOLDER: Final = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
"""The unix VFS syncs the folder with the first sync of these, and with no other file (UNIXFILE_DIRSYNC)."""
_numbers = itertools.count(1)
H = TypeVar("H", bound=Any)


class PowerLost(apsw.IOError):
    """The machine is off. An error of apsw's, so that code under test takes the way it takes for a broken disk."""


class PowerLoss:
    """A machine whose disk has `folder`, and whose power fails. Open databases with `vfs=power.vfs`, while entered.

    What is in the folder at the beginning counts as synced.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.points = 0
        """Passed since the beginning, or since the last `survive`."""
        self.lost = False
        """Whether the power is off: all of SQLite's calls raise PowerLost."""
        self.trace: list[str] = []
        """The points passed, to be printed."""
        self.folder = folder.resolve()
        self.disk = Disk({path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()})
        self.open: set[apsw.VFSFile] = set()
        self.vfs = f"power-loss-{next(_numbers)}"
        self._random = Random(seed)  # noqa: S311 - to repeat, not to be secret
        self._crash_at = 0
        self._registered: _Vfs | None = None
        self._hooks: tuple[Any, Any] = (None, None)

    def __enter__(self) -> Self:
        """Register the VFS."""
        self._registered = _Vfs(self)
        # apsw reports what SQLite itself makes nothing of, as errors of closing: of a machine without power, nothing
        self._hooks = sys.unraisablehook, threading.excepthook
        sys.unraisablehook = _without_power_lost(sys.unraisablehook)
        threading.excepthook = _without_power_lost(threading.excepthook)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the VFS away again; what is open stays so, and the files stay as they are."""
        sys.unraisablehook, threading.excepthook = self._hooks
        if self._registered is not None:
            self._registered.unregister()
            self._registered = None

    def crash_at(self, point: int) -> None:
        """Let the power fail at the point of this number: the first one after `survive` has number 1."""
        self._crash_at = point

    def survive(self) -> list[str]:
        """Power is back: make the folder what the disk has kept; what became of what was not synced, to be printed.

        With or without a crash before: then the power fails now. Raises RuntimeError if SQLite has a file open.
        """
        if self.open:
            raise RuntimeError("close all databases before the power comes back")
        files, account = self.disk.lose_power(self._random)
        for path in [path for path in self.folder.iterdir() if path.is_file()]:
            path.unlink()
        for name, contents in files.items():
            (self.folder / name).write_bytes(contents)
        self.points, self._crash_at, self.lost = 0, 0, False
        self.trace.clear()
        return account

    def check(self) -> None:
        """Raises PowerLost: the power is off."""
        if self.lost:
            raise PowerLost("the power is off")

    def reach(self, what: str, name: str) -> None:
        """Pass a point. Raises PowerLost: it was the one, or the power was off already."""
        self.check()
        self.points += 1
        self.trace.append(f"{what} {name}")
        if self.points == self._crash_at:
            self.lost = True
            raise PowerLost(f"the power failed at point {self.points}: {what} {name}")


class _Vfs(apsw.VFS):
    def __init__(self, power: PowerLoss) -> None:
        self._power = power
        super().__init__(power.vfs, _BASE)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        power = self._power
        power.check()
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or Path(path).parent != power.folder:
            return super().xOpen(name, flags)  # what is temporary is nobody's loss
        return _File(power, name, flags, self._inode(Path(path), creating=bool(flags[0] & apsw.SQLITE_OPEN_CREATE)))

    def _inode(self, path: Path, *, creating: bool) -> Inode:
        disk = self._power.disk
        if not path.exists():
            if path.name in disk.names:
                disk.delete(path.name)  # by others than SQLite
            inode = disk.create(path.name) if creating else Inode()
            if creating:
                self._power.reach("create", path.name)
        elif path.name in disk.names:
            inode = disk.names[path.name]
        else:
            inode = disk.create(path.name)
            inode.waiting.append(Change(0, path.read_bytes()))
        return inode

    def xDelete(self, filename: str, syncdir: bool) -> None:
        path = Path(filename)
        known = path.parent == self._power.folder and path.name in self._power.disk.names
        if known:
            self._power.check()
            self._power.disk.delete(path.name)
            self._power.reach("delete", path.name)
        super().xDelete(filename, False)
        if known and syncdir:
            self._power.disk.sync_folder()

    def xAccess(self, pathname: str, flags: int) -> bool:
        self._power.check()
        return super().xAccess(pathname, flags)


class _File(apsw.VFSFile):
    def __init__(self, power: PowerLoss, name: str | apsw.URIFilename | None, flags: list[int], inode: Inode) -> None:
        super().__init__(_BASE, name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._power, self._inode, self._name = power, inode, Path(path or "").name
        self._syncs_folder = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _SYNCING_FOLDER)
        power.open.add(self)

    def xClose(self) -> None:
        self._power.open.discard(self)
        super().xClose()

    def xWrite(self, data: Any, offset: int) -> None:
        self._change("write", Change(offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._change("truncate", Change(newsize, None))
        super().xTruncate(newsize)

    def _change(self, what: str, change: Change) -> None:
        self._power.check()
        self._inode.waiting.append(change)  # before the crash: it may have come after all
        self._power.reach(what, self._name)

    def xSync(self, flags: int) -> None:  # noqa: ARG002 - of whichever kind
        self._power.reach("sync", self._name)
        self._inode.sync()
        if self._syncs_folder:
            self._syncs_folder = False
            self._power.disk.sync_folder()

    def xDeviceCharacteristics(self) -> int:
        # whatever the machine's own file system promises beyond that, this disk does not
        return super().xDeviceCharacteristics() & apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xRead(self, amount: int, offset: int) -> bytes:
        self._power.check()
        return super().xRead(amount, offset)

    def xFileSize(self) -> int:
        self._power.check()
        return super().xFileSize()

    def xLock(self, level: int) -> None:
        self._power.check()
        super().xLock(level)


def _without_power_lost(hook: Callable[[H], object]) -> Callable[[H], object]:
    """`hook` for everything but PowerLost; `hook` is sys.unraisablehook or threading.excepthook."""

    def filtered(report: H) -> object:
        return None if isinstance(report.exc_value, PowerLost) else hook(report)

    return filtered
