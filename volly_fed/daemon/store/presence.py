"""What peers are shown, and what they show: records of both, so that after a restart no filter need be sent anew.

in: records (presence.show, presence.view), whole or not at all; out: those of one peer.
Never: keeps a record longer than a filter lives, waits for the disk, or complains when it takes nothing: what is
missing here costs a filter, and nothing else.
"""

from typing import Final, NamedTuple

import apsw

from volly_fed import limits_presence
from volly_fed.daemon.store.base import StoreBase, fetch
from volly_fed.names import DomainName
from volly_fed.presence import bounds

_LIFE: Final = bounds.EPOCH + 2 * bounds.EPOCH_GRACE
_KEEP: Final = (
    "INSERT INTO presence VALUES(?, ?, ?, ?) ON CONFLICT(peer) DO UPDATE SET saved = excluded.saved,"
    " shown = excluded.shown, viewed = excluded.viewed"
)
_FORGET_SOME: Final = (
    "DELETE FROM presence WHERE saved < ?1 OR saved > ?2 OR peer NOT IN"
    " (SELECT peer FROM presence ORDER BY saved DESC LIMIT ?3)"
)


class PresenceRecords(NamedTuple):
    """Of one peer: the filter it is shown, and the one it shows. Secret, as the filters are."""

    shown: bytes | None = None
    viewed: bytes | None = None


class PresenceStore(StoreBase):
    """The part of the store about presence."""

    async def presence(self, peer: DomainName) -> PresenceRecords:
        """What was kept last about `peer`, if it may still be of use. Raises StorageError."""
        oldest = int(self._clock() - _LIFE)

        def run(database: apsw.Connection) -> PresenceRecords:
            rows = fetch(
                database, "SELECT shown, viewed FROM presence WHERE peer = ? AND saved >= ?", (peer, int(oldest))
            )
            return PresenceRecords(*rows[0]) if rows else PresenceRecords()

        return await self._do(run)

    def begin_keep_presence(self, peer: DomainName, records: PresenceRecords) -> None:
        """Have `records` take the place of what is kept about `peer`. Raises StorageError: the store is closed."""
        now, nothing = self._clock(), records == PresenceRecords()

        def run(database: apsw.Connection) -> None:
            if nothing:
                database.execute("DELETE FROM presence WHERE peer = ?", (peer,))
            else:
                database.execute(_KEEP, (peer, now, *records))

        self._begin(run, grows=not nothing)

    def begin_forget_presence(self) -> None:
        """Delete what is of no use any more. Raises StorageError: the store is closed."""
        now = self._clock()
        bindings = (now - _LIFE, now + _LIFE, limits_presence.PRESENCE_RECORDS)
        self._begin(lambda database: _execute(database, _FORGET_SOME, bindings))


def _execute(database: apsw.Connection, statement: str, bindings: tuple[float, ...]) -> None:
    database.execute(statement, bindings)
