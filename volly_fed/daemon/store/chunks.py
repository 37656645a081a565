"""How envelopes lie in the file: those that came together and belong together are one row, a chunk.

in: envelopes with their keys; out: the same in their order; what a deletion took away.
Never: gives out an envelope that was deleted, or keeps a chunk that nothing is left of.

A row for each envelope costs more, in time and bytes (measured: twice as much): every row is an entry of every index,
and pages that begin or end in the middle of a batch are written once more. The keys of a chunk follow each other, so
that its first and last tell which they are. What is deleted of a chunk that something is left of is noted in the table
`_gone`, for changing a chunk means writing it anew; that is done when little is left, so that a few envelopes that
nobody fetches do not keep the room of many.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple, TypeAlias

import apsw

from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import fetch, insert_rows, spans
from volly_fed.daemon.store.heads import Heads, pack_heads, unpack_heads
from volly_fed.daemon.store.rows import InboundRow, OutboundRow, StoredEnvelope

Sums: TypeAlias = list[tuple[int, int, int]]
"""(number of the owner, envelopes, bytes)."""
Common: TypeAlias = tuple[int, ...]
"""What the envelopes of a chunk have in common: the columns between `last` and `heads`, the owner first."""
Row: TypeAlias = OutboundRow | InboundRow
Run: TypeAlias = tuple[int, Common, Sequence[Row]]
"""The key of the first; the others follow it."""

_BYTES: Final = 64 << 10
"""In one chunk, or one envelope: who reads a single envelope reads its chunk."""
_KEEP: Final = 4
"""A chunk of which less than one in so many bytes is left is written anew."""
_CLASSES: Final = tuple(EnvelopeClass)


class Table(NamedTuple):
    """The statements for one of the two tables."""

    insert: str
    overlapping: str
    drop: str
    heads: str
    whole: str
    gone: str
    go: str
    forget: str
    last: str
    sums: str
    """To be completed: of whom."""


_STATEMENTS: Final = Table(
    insert="INSERT INTO TABLE",
    overlapping="""
        SELECT row, last, owner, length(frames) FROM TABLE WHERE last >= ?1
            AND row BETWEEN coalesce((SELECT max(row) FROM TABLE WHERE row <= ?1), ?1) AND ?2 ORDER BY row
    """,
    drop="DELETE FROM TABLE WHERE row BETWEEN ? AND ?",
    heads="SELECT heads FROM TABLE WHERE row = ?",
    whole="SELECT COMMON, heads, frames FROM TABLE WHERE row = ?",
    gone="SELECT row, last FROM TABLE_gone WHERE row BETWEEN ? AND ?",
    go="INSERT INTO TABLE_gone",
    forget="DELETE FROM TABLE_gone WHERE row BETWEEN ? AND ?",
    last="SELECT coalesce((SELECT last FROM TABLE ORDER BY row DESC LIMIT 1), 0)",
    sums="""
        SELECT owner,
            sum(last - row + 1 - (SELECT coalesce(sum(gone.last - gone.row + 1), 0) FROM TABLE_gone AS gone
                WHERE gone.row BETWEEN chunk.row AND chunk.last)),
            sum(length(frames) - (SELECT coalesce(sum(gone.bytes), 0) FROM TABLE_gone AS gone
                WHERE gone.row BETWEEN chunk.row AND chunk.last))
            FROM TABLE AS chunk
    """,
)


def _table(name: str, common: str) -> Table:
    return Table(*[statement.replace("TABLE", name).replace("COMMON", common) for statement in _STATEMENTS])


OUTBOUND: Final = _table("outbound", "owner, class, queued, expiry")
INBOUND: Final = _table("inbound", "owner, class")


def insert_runs(database: apsw.Connection, table: Table, runs: Iterable[Run]) -> None:
    """Insert envelopes, as few chunks as their bytes allow."""
    chunks: list[tuple[int | bytes, ...]] = []
    for first, common, rows in runs:
        sizes = [len(row[-1]) for row in rows]
        if sum(sizes) <= _BYTES:
            chunks.append(_chunk(first, common, rows, sizes))
            continue
        start, total = 0, 0
        for at, size in enumerate(sizes):
            total += size
            if total > _BYTES and at > start:
                chunks.append(_chunk(first + start, common, rows[start:at], sizes[start:at]))
                start, total = at, size
        chunks.append(_chunk(first + start, common, rows[start:], sizes[start:]))
    insert_rows(database, table.insert, chunks)


def _chunk(first: int, common: Common, rows: Sequence[Row], sizes: list[int]) -> tuple[int | bytes, ...]:
    *_, ids, expiries, classes, frames = zip(*rows, strict=True)
    heads = pack_heads(Heads(ids, expiries, sizes, classes))
    return first, first + len(rows) - 1, *common, heads, b"".join(frames)


def unpack(row: int, last: int, heads: bytes, frames: bytes) -> Iterator[StoredEnvelope]:
    """All envelopes of a chunk, those that are gone included."""
    at = 0
    for key, identity, expiry, size, urgency in zip(
        range(row, last + 1), *unpack_heads(heads, last - row + 1), strict=True
    ):
        yield StoredEnvelope(key, identity, expiry, _CLASSES[urgency], frames[at : at + size])
        at += size


def read(
    database: apsw.Connection, table: Table, chunks: str, bindings: tuple[int, ...], limit: int, max_bytes: int
) -> list[StoredEnvelope]:
    """Up to `limit` envelopes and `max_bytes` (at least one) of those that the query `chunks` selects.

    It has (row, last, heads, frames), in order, and the key to read after is its last binding.
    """
    found: list[StoredEnvelope] = []
    total, after = 0, bindings[-1]
    with closing(database.execute(chunks, bindings)) as cursor:
        for row, last, heads, frames in cursor:
            gone = gone_between(database, table, row, last)
            for stored in unpack(row, last, heads, frames):
                if stored.row <= after or stored.row in gone:
                    continue
                total += len(stored.frame)
                if len(found) == limit or (found and total > max_bytes):
                    return found
                found.append(stored)
    return found


def next_key(database: apsw.Connection, table: Table) -> int:
    """The first key after all that are in the table."""
    ((last,),) = fetch(database, table.last)
    return int(last) + 1


def sums(database: apsw.Connection, table: Table, of: str, bindings: tuple[int, ...] = ()) -> Sums:
    """What there is; `of` is the end of the statement."""
    return fetch(database, f"{table.sums} {of}", bindings)


def gone_between(database: apsw.Connection, table: Table, first: int, last: int) -> set[int]:
    """The keys from `first` to `last` that are deleted from chunks still there."""
    return {key for row, end in fetch(database, table.gone, (first, last)) for key in range(row, end + 1)}


def identities(database: apsw.Connection, table: Table, keys: Iterable[int]) -> dict[int, tuple[bytes, int]]:
    """Of those of `keys` that are there (id, expiry)."""
    found: dict[int, tuple[bytes, int]] = {}
    for first, last in spans(keys):
        for row, end, _, _ in fetch(database, table.overlapping, (first, last)):
            ((packed,),) = fetch(database, table.heads, (row,))
            heads = unpack_heads(packed, end - row + 1)
            gone = gone_between(database, table, row, end)
            for key in range(max(row, first), min(end, last) + 1):
                if key not in gone:
                    found[key] = heads.ids[key - row], heads.expiries[key - row]
    return found


def delete_envelopes(database: apsw.Connection, table: Table, keys: Iterable[int]) -> Sums:
    """Delete what of `keys` is there; how much that was. A chunk that is asked for as a whole is not read."""
    found: Sums = []
    for first, last in spans(keys):
        chunks = fetch(database, table.overlapping, (first, last))
        if not chunks:
            continue
        lowest, highest = chunks[0][0], chunks[-1][1]
        gone = gone_between(database, table, lowest, highest) if lowest < highest else set()
        if first <= lowest and highest <= last and not gone:
            found += [(owner, end - row + 1, size) for row, end, owner, size in chunks]
            database.execute(table.drop, (lowest, highest))
            continue
        for chunk in chunks:
            found.append((chunk[2], *_cut(database, table, chunk, (first, last), gone)))
    return found


def _cut(
    database: apsw.Connection,
    table: Table,
    chunk: tuple[int, int, int, int],
    wanted: tuple[int, int],
    gone: set[int],
) -> tuple[int, int]:
    """Delete what is `wanted` and not `gone` from `chunk`: (envelopes, bytes)."""
    row, last, _, size = chunk
    ((packed,),) = fetch(database, table.heads, (row,))
    sizes = unpack_heads(packed, last - row + 1).sizes
    there = [key for key in range(row, last + 1) if key not in gone]
    cut = [key for key in there if wanted[0] <= key <= wanted[1]]
    left = [key for key in there if not wanted[0] <= key <= wanted[1]]
    if sum([sizes[key - row] for key in left]) * _KEEP < size:
        rest = _take_out(database, table, row, last, left) if left else []
        database.execute(table.drop, (row, row))
        if gone:
            database.execute(table.forget, (row, last))
        insert_runs(database, table, rest)
    else:
        insert_rows(database, table.go, [(a, b, sum(sizes[a - row : b - row + 1])) for a, b in spans(cut)])
    return len(cut), sum([sizes[key - row] for key in cut])


def _take_out(database: apsw.Connection, table: Table, row: int, last: int, keys: list[int]) -> list[Run]:
    """Those of `keys` in the chunk `row`, as they were inserted."""
    ((*common, heads, frames),) = fetch(database, table.whole, (row,))
    stored = list(unpack(row, last, heads, frames))
    return [
        (start, tuple(common), [OutboundRow(*one[1:]) for one in stored[start - row : end - row + 1]])
        for start, end in spans(keys)
    ]
