"""A copy of a database that is in use, in steps so short that nothing has to wait for one.

in: an open connection, the path of a file that is not there yet; out: one file, as of the moment of the last step.
The steps run on the connection that writes: what it changes meanwhile is changed in the copy too, and no step has to
be taken again. Never: leaves a file behind that is not whole, takes the room that the store itself needs to delete, or
keeps what is of no use to another process: who was shown online, and when to dial again.
Source: sqlite.org/c3ref/backup_finish.html ("Concurrent Usage of Database Handles").
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from volly_fed import limits, limits_backup
from volly_fed.errors import StorageError

_USELESS: Final = {"presence": "DELETE FROM presence", "backoff": "DELETE FROM backoff"}
Free = Callable[[], int]
"""Bytes that may still be written to where the copy is."""


class Copy:
    """One copy. `step` until it says that nothing is left, then `detach`, at any time; then `finish` or `abandon`.

    `copied` of `total` bytes are there.
    Resource handling: `step` and `detach` go with the source, in its thread and outside of its transactions.
    """

    def __init__(self, source: apsw.Connection, path: Path, free: Free) -> None:
        """Raises StorageError: there is something of that name, or it cannot be written."""
        self._path, self._free = path, free
        self.copied = self.total = 0
        with _explained(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            try:
                self._target = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
                self._target.execute("PRAGMA journal_mode = OFF")  # a copy that is not whole is deleted
                self._target.execute("PRAGMA synchronous = OFF")
                self._backup = self._target.backup("main", source, "main")
                self._page = int(source.pragma("page_size"))
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def step(self) -> bool:
        """Copy a little; False once nothing is left. Raises StorageError."""
        with _explained(self._path):
            self._backup.step(1 if self._backup.page_count == 0 else limits_backup.COPY_PAGES)
            left = self._backup.remaining * self._page
            self.total = self._backup.page_count * self._page
            self.copied = self.total - left
            if not self._backup.done and self._free() < left + limits.DISK_RESERVE:
                raise StorageError(
                    f"there is no room for a copy of the store in {self._path.parent}: {left} bytes are missing to it, "
                    f"and {limits.DISK_RESERVE} stay free\nnote: free space there; nothing was changed"
                )
            return not self._backup.done

    def detach(self) -> None:
        """Take nothing more from the source. Called where the steps were; what comes then may be called anywhere."""
        with suppress(apsw.Error):  # an error of the last step, told by it
            self._backup.finish()

    def finish(self) -> None:
        """Close the copy, without what only this process could use. Raises StorageError; the file is gone then."""
        with _explained(self._path):
            try:
                self._target.close()
                _strip(self._path)
            except BaseException:
                self.abandon()
                raise

    def abandon(self) -> None:
        """Close and delete it."""
        self._target.close()
        self._path.unlink(missing_ok=True)


def copy_database(source: apsw.Connection, path: Path, free: Free) -> None:
    """The same in one go, for a store that nobody else uses. Raises StorageError."""
    copy = Copy(source, path, free)
    try:
        while copy.step():
            pass
        copy.detach()
        copy.finish()
    except BaseException:
        copy.detach()
        copy.abandon()
        raise


def _strip(path: Path) -> None:
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = OFF")  # first: to sync all of it now would hold up the store's commits
        database.execute("PRAGMA journal_mode = DELETE")  # one file, without a journal beside it
        database.execute("PRAGMA secure_delete = ON")
        for table, statement in _USELESS.items():
            if database.table_exists("main", table):
                database.execute(statement)
    finally:
        database.close()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise StorageError(
            f"the copy {path} cannot be made: {error}\nnote: look at that disk, and try again"
        ) from error
