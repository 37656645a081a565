"""What the parts of the store share: the writer thread, the clock, and a few statements.

in: jobs; out: their results.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import apsw

from volly_fed.daemon.store.writer import Job, Writer

T = TypeVar("T")
Clock = Callable[[], float]
"""Unix seconds."""


class StoreBase:
    """The writer thread and the clock."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    def _begin(
        self,
        run: Callable[[apsw.Connection], T],
        after: Callable[[T], None] | None = None,
        failed: Callable[[], None] | None = None,
        *,
        grows: bool = False,
    ) -> Job[T]:
        job = Job(run, after, failed, grows=grows)
        self._writer.put(job)
        return job

    async def _do(self, run: Callable[[apsw.Connection], T], after: Callable[[T], None] | None = None) -> T:
        return await self._begin(run, after).wait()


def fetch(database: apsw.Connection, query: str, bindings: tuple[int | str | bytes, ...] = ()) -> list[Any]:
    """All rows of `query` as tuples; Any, since their types are the schema's and not the type checker's."""
    return database.execute(query, bindings).fetchall()


def insert_rows(database: apsw.Connection, into: str, rows: Sequence[tuple[int | str | bytes, ...]]) -> None:
    """`into` ("INSERT ... INTO table") all `rows`, _ROWS at a time.

    A statement for each row would hand the interpreter's lock over twice for each, and cost a quarter more.
    """
    for at in range(0, len(rows), _ROWS):
        some = rows[at : at + _ROWS]
        places = f"({','.join('?' * len(some[0]))})"
        database.execute(f"{into} VALUES{','.join([places] * len(some))}", tuple(chain.from_iterable(some)))


def delete_rows(database: apsw.Connection, table: str, rows: Iterable[int]) -> list[tuple[int, int, int]]:
    """Delete `rows` of "outbound" or "inbound"; what was there, as (number of the owner, rows, bytes)."""
    select, delete = _DELETE[table]
    keys = [(row,) for row in rows]
    found: list[Any] = list(database.executemany(select, keys))
    database.executemany(delete, keys)
    counts: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for number, size in found:
        counts[number] += 1
        sizes[number] += size
    return [(number, count, sizes[number]) for number, count in counts.items()]


_ROWS: Final = 32
_DELETE: Final = {
    "outbound": ("SELECT peer, length(frame) FROM outbound WHERE row = ?", "DELETE FROM outbound WHERE row = ?"),
    "inbound": ("SELECT mailbox, length(frame) FROM inbound WHERE row = ?", "DELETE FROM inbound WHERE row = ?"),
}
