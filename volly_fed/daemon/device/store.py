"""What a device keeps of its messages: those not taken yet, and the keys of all it has had lately.

in: opened messages; out: the same, once each. One SQLite file; every call is one transaction, durable when it returns.
Never: hands out a message whose key was known before, or stores half a batch. Contents lie here in the clear until they
are taken (mode 0600): the disk is the device's own business.
Source: sqlite.org/wal.html.
"""

import os
from pathlib import Path
from typing import Any, Final

import apsw

from volly_fed import limits
from volly_fed.client.card import card_bytes, card_from_bytes
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.seal import content_from_payload, content_payload
from volly_fed.errors import StorageError
from volly_fed.names import Fingerprint

_VERSION: Final = 1
# `is_text` is the kind of content (client.seal); it was only that once, and its name is in files that exist
_SCHEMA: Final = """
CREATE TABLE known(key BLOB PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX known_since ON known(since);
CREATE TABLE inbox(number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, id BLOB NOT NULL, sender BLOB NOT NULL,
    sent_at INTEGER NOT NULL, is_text INTEGER NOT NULL, payload BLOB NOT NULL, reply BLOB NOT NULL);
"""
_BUSY: Final = 5000  # milliseconds: another command may be using the same device


class DeviceStore:
    """The InboxStore on disk. Calls block for an fsync: make them in a thread, one at a time."""

    def __init__(self, path: Path, vfs: str = "") -> None:
        """Open or create `path` by the way to the disk that `vfs` names ("": the usual one). Raises StorageError."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs or None)
            try:
                self._prepare(path)
            except BaseException:
                self._database.close()
                raise
        except (OSError, apsw.Error) as error:
            raise StorageError(f"the device's messages {path} cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file; closing again does nothing."""
        self._database.close()

    def take_in(self, messages: list[InboxMessage], now: float) -> int:
        """Store those whose key is not known yet; how many were new. `now` is the wall clock.

        Raises StorageError, then nothing was stored: the disk is full, or the application takes nothing.
        """
        try:
            with self._database:
                self._forget(now)
                new = sum(self._add(message, int(now)) for message in messages)
        except apsw.Error as error:
            raise StorageError(f"messages cannot be stored ({error}); nothing was acknowledged") from error
        return new

    def waiting(self, limit: int = limits.SUBMIT_ENVELOPES) -> list[tuple[int, InboxMessage]]:
        """The oldest messages that were not taken, each with its number."""
        query = "SELECT number, key, id, sender, sent_at, is_text, payload, reply FROM inbox ORDER BY number LIMIT ?"
        return [_message(row) for row in self._database.execute(query, (limit,))]

    def took(self, number: int) -> None:
        """Forget the content of this message; its key stays known. Raises StorageError: it will come again."""
        try:
            self._database.execute("DELETE FROM inbox WHERE number = ?", (number,))
        except apsw.Error as error:
            raise StorageError(f"cannot note that a message was taken ({error}); it will come again") from error

    def _prepare(self, path: Path) -> None:
        database = self._database
        database.set_busy_timeout(_BUSY)
        for pragma, value in (("journal_mode", "wal"), ("synchronous", "full"), ("secure_delete", "on")):
            database.pragma(pragma, value)  # each by itself: of several in one string, those after the first row wait
        with database:
            version = self._number("PRAGMA user_version")
            if version > _VERSION:
                raise StorageError(f"{path} was written by a newer volly-fed; note: use that one")
            if version < _VERSION:
                database.execute(_SCHEMA)
                database.pragma("user_version", _VERSION)

    def _number(self, query: str) -> int:
        row: Any = next(iter(self._database.execute(query)))
        return int(row[0])

    def _forget(self, now: float) -> None:
        # [client-17]
        self._database.execute("DELETE FROM known WHERE since < ?", (int(now) - limits.DUPLICATE_MEMORY,))

    def _add(self, message: InboxMessage, now: int) -> bool:
        database = self._database
        database.execute("INSERT OR IGNORE INTO known VALUES(?, ?)", (message.key, now))  # [client-14]
        if not database.changes():  # [client-15]
            return False
        if self._number("SELECT count(*) FROM inbox") >= limits.INBOX_MESSAGES:
            raise StorageError("too many messages wait to be taken; note: run `volly-fed device listen`")
        content = message.content
        kind, payload = content_payload(content)
        reply = card_bytes(content.reply) if content.reply is not None else b""
        database.execute(
            "INSERT INTO inbox(key, id, sender, sent_at, is_text, payload, reply) VALUES(?, ?, ?, ?, ?, ?, ?)",
            (message.key, message.id, message.sender, content.sent_at, kind, payload, reply),
        )
        return True


def _message(row: tuple[Any, ...]) -> tuple[int, InboxMessage]:
    number, key, envelope_id, sender, sent_at, kind, payload, reply = row
    card = card_from_bytes(reply) if reply else None
    content = content_from_payload(kind, payload, sent_at=sent_at, reply=card)
    return number, InboxMessage(key=key, id=envelope_id, sender=Fingerprint(sender), content=content)
