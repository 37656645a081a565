"""What the parts of the store share: the writer thread, the clock, and a few statements.

in: jobs; out: their results.
"""

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
        patient: bool = False,
        outside: bool = False,
    ) -> Job[T]:
        job = Job(run, after, failed, grows=grows, patient=patient, outside=outside)
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


def spans(rows: Iterable[int]) -> list[tuple[int, int]]:
    """`rows`, in any order, as (first, last) of those that follow each other."""
    found: list[tuple[int, int]] = []
    ordered = sorted(rows)
    first = last = ordered[0] if ordered else 0
    for row in ordered[1:]:
        if row > last + 1:
            found.append((first, last))
            first = row
        last = row
    return [*found, (first, last)] if ordered else []


_ROWS: Final = 32
