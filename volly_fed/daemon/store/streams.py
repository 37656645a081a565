"""How far the streams of peers have come here: one cursor each, and what of the last window was refused.

in: the position of a batch, inside the transaction that stores its envelopes; out: where a new link goes on.
Never: moves a cursor over a batch that was not stored: the peer would take it for delivered.
"""

from typing import Final

import apsw

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.store.base import StoreBase, fetch
from volly_fed.daemon.store.rows import Position
from volly_fed.errors import StorageError
from volly_fed.names import DomainName
from volly_fed.wire.messages import Refusal

_CURSOR: Final = "SELECT cursor FROM stream WHERE peer = ? AND id = ?"
_REFUSED: Final = """
    SELECT sequence, code, text FROM refused WHERE peer = ? AND stream = ? AND sequence > ? ORDER BY sequence
"""
_FORGET: Final = "DELETE FROM refused WHERE peer = ? AND stream = ? AND sequence BETWEEN ? AND ?"


class StreamStore(StoreBase):
    """The part of the store that links resume from."""

    async def cursor(self, peer: DomainName, stream: bytes) -> tuple[int, tuple[Refusal, ...]]:
        """The sequence number of `stream` up to which all is settled here, and what of the last window was refused.

        (0, ()) for a stream unknown.
        """

        def run(database: apsw.Connection) -> tuple[int, tuple[Refusal, ...]]:
            rows = fetch(database, _CURSOR, (peer, stream))
            cursor = rows[0][0] if rows else 0
            refused = fetch(database, _REFUSED, (peer, stream, cursor - limits.WINDOW_ENVELOPES))  # [session-6]
            return cursor, tuple((number, ErrorCode(code), text) for number, code, text in refused)

        return await self._do(run)


def next_turn(database: apsw.Connection) -> int:
    """A number higher than any stream's turn so far, for `put_position`."""
    ((last,),) = fetch(database, "SELECT coalesce(max(updated), 0) FROM stream")
    return int(last) + 1


def put_position(database: apsw.Connection, at: Position, turn: int) -> None:
    """Move the cursor to the end of the batch `at`, and keep its refusals until the peer must have heard of them.

    `turn` grows with every batch: what has not been used for longest is forgotten first. No time, since a clock that
    ticks in seconds, or is set back, makes a stream in use look older than one long done with.

    Never backwards: a batch of a link that broke may be committed after the same batch of the link that replaced it.
    What is decided last about an envelope counts, since whoever is told of it is told that.
    Raises StorageError: the batch before it was not stored.
    """
    rows = fetch(database, _CURSOR, (at.peer, at.stream))
    cursor = rows[0][0] if rows else 0
    if cursor < at.first - 1:  # [session-19]
        raise StorageError("a batch before this one was not stored")
    reached = max(cursor, at.last)
    if rows:
        query = "UPDATE stream SET cursor = ?, updated = ? WHERE peer = ? AND id = ?"
        database.execute(query, (reached, turn, at.peer, at.stream))
    else:
        _new_stream(database, at, turn)
    if cursor >= at.first:
        database.execute(_FORGET, (at.peer, at.stream, at.first, at.last))
    if cursor // limits.WINDOW_ENVELOPES != reached // limits.WINDOW_ENVELOPES:  # seldom: each statement has its price
        # the sender has no more in flight than the largest window: it has heard of everything before
        database.execute(_FORGET, (at.peer, at.stream, 0, reached - limits.WINDOW_ENVELOPES))
    if at.refusals:
        refused = [(at.peer, at.stream, number, int(code), text) for number, code, text in at.refusals]
        database.executemany("INSERT INTO refused VALUES(?, ?, ?, ?, ?)", refused)


def _new_stream(database: apsw.Connection, at: Position, turn: int) -> None:
    database.execute("INSERT INTO stream VALUES(?, ?, ?, ?)", (at.peer, at.stream, at.last, turn))
    database.execute(
        "DELETE FROM stream WHERE peer = ?1 AND id NOT IN"
        " (SELECT id FROM stream WHERE peer = ?1 ORDER BY updated DESC LIMIT ?2)",
        (at.peer, limits.STREAMS_PER_PEER),
    )
    gone = "DELETE FROM refused WHERE peer = ?1 AND stream NOT IN (SELECT id FROM stream WHERE peer = ?1)"
    database.execute(gone, (at.peer,))
