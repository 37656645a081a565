"""The store's file: its tables, its version, and opening it so that nobody else can.

in: a path; out: an open connection with the current schema, locked for this process until it is closed.
Never: opens what a newer version wrote, leaves the file readable to others, or changes a table without a migration.
Source: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_locking_mode.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from volly_fed import limits
from volly_fed.daemon.store.heads import Heads, pack_heads
from volly_fed.daemon.store.migrate import Step, migrate, version_of
from volly_fed.errors import StorageError

PAGE: Final = 8192
"""Bytes. Rows of little more than 1 KiB fill it better than 4096; single commits still write little."""

MIGRATIONS: Final[tuple[str, ...]] = (  # [privacy-2]
    """
    CREATE TABLE peer(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE outbound(row INTEGER PRIMARY KEY, peer INTEGER NOT NULL, id BLOB NOT NULL, expiry INTEGER NOT NULL,
        class INTEGER NOT NULL, queued INTEGER NOT NULL, frame BLOB NOT NULL);
    CREATE INDEX outbound_peer ON outbound(peer);
    CREATE UNIQUE INDEX outbound_once ON outbound(expiry, id);

    CREATE TABLE mailbox(number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,
        claimed INTEGER NOT NULL, registration BLOB NOT NULL);
    CREATE TABLE inbound(row INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, id BLOB NOT NULL,
        expiry INTEGER NOT NULL, class INTEGER NOT NULL, frame BLOB NOT NULL);
    CREATE INDEX inbound_mailbox ON inbound(mailbox);
    CREATE TABLE seen(expiry INTEGER NOT NULL, id BLOB NOT NULL, row INTEGER NOT NULL,
        PRIMARY KEY(expiry, id)) WITHOUT ROWID;

    CREATE TABLE stream(peer TEXT NOT NULL, id BLOB NOT NULL, cursor INTEGER NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY(peer, id)) WITHOUT ROWID;
    CREATE TABLE pin(domain TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, first_seen REAL NOT NULL,
        last_seen REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE backoff(peer TEXT PRIMARY KEY, failures INTEGER NOT NULL, next_attempt REAL NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE pin ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pin ADD COLUMN known INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE change(domain TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, since REAL NOT NULL, ready_at REAL NOT NULL,
        sequence INTEGER NOT NULL, not_after REAL NOT NULL, how TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE quarantine(domain TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, since REAL NOT NULL,
        reason TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE evidence(row INTEGER PRIMARY KEY, domain TEXT NOT NULL, obtained REAL NOT NULL,
        identity BLOB NOT NULL, identity_next BLOB, digest BLOB NOT NULL, proof TEXT NOT NULL);
    CREATE INDEX evidence_domain ON evidence(domain, row);
    """,
    """
    CREATE INDEX pin_strangest ON pin(known, last_seen - first_seen, last_seen);
    """,
    """
    CREATE TABLE refused(peer TEXT NOT NULL, stream BLOB NOT NULL, sequence INTEGER NOT NULL, code INTEGER NOT NULL,
        text TEXT NOT NULL, PRIMARY KEY(peer, stream, sequence)) WITHOUT ROWID;
    DROP INDEX outbound_peer;
    CREATE INDEX outbound_peer ON outbound(peer, class);
    """,
    """
    ALTER TABLE outbound RENAME TO old_outbound;
    CREATE TABLE outbound(row INTEGER PRIMARY KEY, last INTEGER NOT NULL, owner INTEGER NOT NULL,
        class INTEGER NOT NULL, queued INTEGER NOT NULL, expiry INTEGER NOT NULL, heads BLOB NOT NULL,
        frames BLOB NOT NULL);
    INSERT INTO outbound SELECT row, row, peer, class, queued, expiry, pack_heads(id, expiry, class, frame), frame
        FROM old_outbound;
    DROP TABLE old_outbound;
    CREATE INDEX outbound_owner ON outbound(owner, class);
    CREATE INDEX outbound_expiry ON outbound(expiry);
    CREATE TABLE outbound_gone(row INTEGER PRIMARY KEY, last INTEGER NOT NULL, bytes INTEGER NOT NULL);

    ALTER TABLE inbound RENAME TO old_inbound;
    CREATE TABLE inbound(row INTEGER PRIMARY KEY, last INTEGER NOT NULL, owner INTEGER NOT NULL,
        class INTEGER NOT NULL, heads BLOB NOT NULL, frames BLOB NOT NULL);
    INSERT INTO inbound SELECT row, row, mailbox, class, pack_heads(id, expiry, class, frame), frame FROM old_inbound;
    DROP TABLE old_inbound;
    CREATE INDEX inbound_owner ON inbound(owner, class);
    CREATE TABLE inbound_gone(row INTEGER PRIMARY KEY, last INTEGER NOT NULL, bytes INTEGER NOT NULL);
    """,
    """
    CREATE TABLE presence(peer TEXT PRIMARY KEY, saved REAL NOT NULL, shown BLOB, viewed BLOB);
    """,
    """
    CREATE TABLE held(peer TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
    """,
)
"""Step n brings a file from version n to n + 1. What has been released is never changed: add a step.

Envelopes are appended, whomever they are for: keeping each peer's or mailbox's rows together would touch, and split, a
page for each of them in every commit (measured: three times the cost). `seen` begins with the expiry, for random ids
alone would do the same; and the sweep reads it. How envelopes lie in a row: `chunks`."""


def open_database(path: Path, vfs: str = "", steps: Sequence[Step] = MIGRATIONS) -> apsw.Connection:
    """The store at `path`, created with mode 0600 if it is not there, brought to the current version, and locked.

    `vfs` names one of SQLite's ways to the disk; "": the usual one. `steps` are those of another version, for tests.

    Raises StorageError: used by another process, written by a newer version, not a store of ours, not writable.
    """
    with _explained(path):
        try:
            _create_private(path)
            database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs or None)
        except (OSError, apsw.Error) as error:
            raise StorageError(f"the store {path} cannot be opened: {error}") from error
        try:
            _configure(database)
            database.create_scalar_function("pack_heads", _pack_heads, 4)
            migrate(database, path, steps)
        except BaseException:
            database.close()
            raise
    return database


def open_unchanged(path: Path) -> tuple[apsw.Connection, int]:
    """The store at `path` as it is, locked, and its version: for a copy of one that no homeserver runs with.

    Raises StorageError like `open_database`, and for a file that is not there.
    """
    with _explained(path):
        try:
            database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        except apsw.Error as error:
            raise StorageError(f"the store {path} cannot be opened: {error}") from error
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            return database, version_of(database, path, len(MIGRATIONS))
        except BaseException:
            database.close()
            raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.BusyError as error:
        raise StorageError(
            f"the store {path} is in use by another process\nnote: one homeserver runs per data folder; stop the other"
        ) from error
    except apsw.Error as error:
        raise StorageError(f"the store {path} is not usable: {error}\nnote: restore it from a backup") from error


def _create_private(path: Path) -> None:
    # SQLite gives its side files the mode of the database file
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def _configure(database: apsw.Connection) -> None:
    # Exclusive before WAL is first touched: no shared memory, and the kernel drops the lock with the process.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute(f"PRAGMA page_size = {PAGE}")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA cache_size = -{limits.STORE_CACHE_KIB}")
    database.execute(f"PRAGMA wal_autocheckpoint = {limits.STORE_CHECKPOINT_PAGES}")
    database.execute("PRAGMA temp_store = MEMORY")


def _pack_heads(*row: Any) -> bytes:
    identity, expiry, urgency, frame = row
    return pack_heads(Heads([identity], [expiry], [len(frame)], [urgency]))
