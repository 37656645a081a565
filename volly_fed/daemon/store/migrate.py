"""Bringing a store of an older version forward: all steps in one transaction, after a copy of the file was kept.

in: a locked database and the steps, of which number n brings a file from version n to n + 1; out: the newest version.
A crash at any moment leaves the old version or the new one, and the copy. Never: touches a file of a newer version or
of another program, goes back, or keeps the copy for longer than limits_backup.OLD_SCHEMA_KEPT.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import apsw

from volly_fed import limits_backup
from volly_fed.daemon.store.copy import copy_database
from volly_fed.errors import StorageError

APPLICATION: Final = 0x566F6C46
"""SQLite's application id: tells our file from any other database ("VolF")."""

Step: TypeAlias = str | Callable[[apsw.Connection], None]
"""SQL, or a function that changes the database; either runs inside the transaction of all steps."""


def migrate(database: apsw.Connection, path: Path, steps: Sequence[Step]) -> None:
    """Apply the steps that the file has not seen. Raises StorageError and apsw.Error; the file is unchanged then."""
    version = version_of(database, path, len(steps))
    if version == len(steps):
        _forget_kept(path)
        return
    if version:
        _keep(database, path, version)
    database.execute("BEGIN EXCLUSIVE")
    try:
        for step in steps[version:]:
            if callable(step):
                step(database)
            else:
                database.execute(step)
        database.pragma("user_version", len(steps))
        database.pragma("application_id", APPLICATION)
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def version_of(database: apsw.Connection, path: Path, newest: int) -> int:
    """The version of a file of ours; 0: it is empty. Raises StorageError for a newer one, and for others' files."""
    version, application = int(database.pragma("user_version")), database.pragma("application_id")
    foreign = application != APPLICATION if version else database.execute("SELECT 1 FROM sqlite_schema").fetchone()
    if version > newest and application in {APPLICATION, 0}:
        raise StorageError(
            f"the store {path} has schema {version}, and this version of volly-fed knows up to {newest}\n"
            "note: run the newer volly-fed, or restore a backup made by this one"
        )
    if foreign:
        raise StorageError(f"{path} is a database of another program\nnote: name another data_dir")
    return version


def kept_path(path: Path, version: int) -> Path:
    """Where the store at `path` lies as it was at `version`."""
    return path.with_name(f"{path.stem}-schema-{version}{path.suffix}")


def _keep(database: apsw.Connection, path: Path, version: int) -> None:
    kept = kept_path(path, version)
    fresh = kept.with_name(f".{kept.name}.new")
    try:
        fresh.unlink(missing_ok=True)  # of an attempt that was cut short
        copy_database(database, fresh, lambda: shutil.disk_usage(path.parent).free)
        _sync(fresh)
        fresh.replace(kept)
        _sync(kept.parent)
    except (StorageError, OSError) as error:
        fresh.unlink(missing_ok=True)
        raise StorageError(
            f"the store {path} is of an older version, and a copy of it as it is cannot be kept: {error}"
            + ("" if "note:" in str(error) else "\nnote: nothing was changed; repair that and start again")
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget_kept(path: Path) -> None:
    """What was written before an upgrade long ago is nobody's business any more."""
    oldest = time.time() - limits_backup.OLD_SCHEMA_KEPT
    for kept in path.parent.glob(kept_path(path, 0).name.replace("-0", "-[0-9]*")):
        with suppress(OSError):
            if kept.stat().st_mtime < oldest:
                kept.unlink()
