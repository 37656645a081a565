"""Chunks: whatever is stored and deleted, in whatever portions: what is left comes back in order, and is counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed.daemon.store import chunks, outbound
from volly_fed.daemon.store.base import fetch
from volly_fed.daemon.store.chunks import INBOUND, OUTBOUND, delete_envelopes, identities, insert_runs, next_key, sums
from volly_fed.daemon.store.heads import Heads, pack_heads, unpack_heads
from volly_fed.daemon.store.inbound import _READ_CLASS
from volly_fed.daemon.store.rows import OutboundRow
from volly_fed.daemon.store.schema import open_database

OWNER, CLASS = 7, 1
EVERYTHING = 1 << 40


@contextmanager
def opened() -> Iterator[apsw.Connection]:
    with TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "s")
        try:
            yield database
        finally:
            database.close()


def rows(sizes: list[int], first: int = 1) -> list[OutboundRow]:
    return [
        OutboundRow(key.to_bytes(16, "big"), 1000 + key, key % 3, bytes(size)) for key, size in enumerate(sizes, first)
    ]


def read(database: apsw.Connection, after: int = 0, limit: int = EVERYTHING, most: int = EVERYTHING) -> list[int]:
    return [one.row for one in chunks.read(database, INBOUND, _READ_CLASS, (OWNER, CLASS, after), limit, most)]


def in_file(database: apsw.Connection, table: str = "inbound") -> list[tuple[int, int]]:
    return [(row, last) for row, last in fetch(database, f"SELECT row, last FROM {table} ORDER BY row")]  # ours


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.sampled_from([0, 10, 300, 5000, 40_000]), min_size=1, max_size=20),
            st.sets(st.integers(1, 60), min_size=1, max_size=30),
        ),
        max_size=20,
    ),
    page=st.integers(1, 7),
)
def test_what_is_left_comes_back_and_is_counted(steps: list[list[int] | set[int]], page: int) -> None:
    there: dict[int, OutboundRow] = {}
    with opened() as database:
        for step in steps:
            if isinstance(step, set):
                gone = {key: there.pop(key) for key in step if key in there}
                told = delete_envelopes(database, INBOUND, step)
                assert {owner for owner, _, _ in told} <= {OWNER}
                assert sum(count for _, count, _ in told) == len(gone)
                assert sum(size for _, _, size in told) == sum(len(row.frame) for row in gone.values())
            else:
                first = next_key(database, INBOUND)
                new = rows(step, first)
                there.update(enumerate(new, first))
                insert_runs(database, INBOUND, [(first, (OWNER, CLASS), new)])
            assert read(database) == sorted(there)
            expected = [(OWNER, len(there), sum(len(row.frame) for row in there.values()))] if there else []
            assert sums(database, INBOUND, "GROUP BY owner") == expected
        for key, row in there.items():
            (one,) = chunks.read(database, INBOUND, _READ_CLASS, (OWNER, CLASS, key - 1), 1, EVERYTHING)
            assert (one.row, one.id, one.expiry, one.urgency, one.frame) == (key, *row)
        found, after = list[int](), 0
        while more := read(database, after, page):
            found += more
            after = more[-1]
        assert found == sorted(there)
        assert identities(database, INBOUND, range(500)) == {key: (row.id, row.expiry) for key, row in there.items()}
        left = fetch(
            database,
            "SELECT 1 FROM inbound_gone AS g WHERE NOT EXISTS (SELECT 1 FROM inbound AS i"
            " WHERE g.row BETWEEN i.row AND i.last)",
        )
        assert left == []  # what is noted of a chunk goes with it: its keys may be given out again


def test_what_comes_together_is_one_chunk_of_bounded_size() -> None:
    with opened() as database:
        insert_runs(
            database, INBOUND, [(1, (OWNER, CLASS), rows([1000] * 100)), (200, (8, CLASS), rows([100_000, 10], 200))]
        )
        assert in_file(database) == [(1, 65), (66, 100), (200, 200), (201, 201)]


def test_only_what_is_alike_is_one_chunk() -> None:
    alike = [
        OutboundRow(bytes(16), expiry, urgency, b"") for expiry, urgency in ((60, 1), (119, 1), (120, 1), (121, 2))
    ]
    runs = [(first, common, len(run)) for first, common, run in outbound._runs(5, OWNER, 9, alike)]
    assert runs == [(5, (OWNER, 1, 9, 119), 2), (7, (OWNER, 1, 9, 120), 1), (8, (OWNER, 2, 9, 121), 1)]


def test_a_few_that_stay_do_not_keep_the_room_of_all() -> None:
    with opened() as database:
        insert_runs(database, INBOUND, [(1, (OWNER, CLASS), rows([1000] * 64))])
        delete_envelopes(database, INBOUND, set(range(1, 65)) - {3, 4, 40, *range(50, 64)})
        assert in_file(database) == [(1, 64)]
        delete_envelopes(database, INBOUND, [63, 63])
        assert in_file(database) == [(1, 64)]
        delete_envelopes(database, INBOUND, [62])
        assert in_file(database) == [(3, 4), (40, 40), (50, 61)]
        assert fetch(database, "SELECT * FROM inbound_gone") == []


def test_the_next_key_follows_all_chunks() -> None:
    with opened() as database:
        insert_runs(database, OUTBOUND, [(1, (OWNER, 1, 0, 0), rows([10] * 4))])
        delete_envelopes(database, OUTBOUND, [4])
        assert next_key(database, OUTBOUND) == 5
        delete_envelopes(database, OUTBOUND, [1, 2, 3])
        assert (in_file(database, "outbound"), next_key(database, OUTBOUND)) == ([], 1)


def test_reading_takes_as_many_as_fit() -> None:
    with opened() as database:
        insert_runs(database, INBOUND, [(1, (OWNER, CLASS), rows([100] * 5)), (6, (OWNER, CLASS), rows([300, 100], 6))])
        insert_runs(database, INBOUND, [(8, (8, CLASS), rows([100], 8))])
        assert read(database, 0, 6) == [1, 2, 3, 4, 5, 6]
        assert read(database, 2, most=500) == [3, 4, 5]
        assert read(database, 2, most=600) == [3, 4, 5, 6]
        assert read(database, 5, most=1) == [6]
        assert read(database, 7) == []


@pytest.mark.parametrize("count", [1, 2, 100])
def test_heads(count: int) -> None:
    heads = Heads(
        [bytes([n]) * 16 for n in range(count)],
        tuple(range(1 << 40, (1 << 40) + count)),
        tuple(range(1 << 20, (1 << 20) + count)),
        tuple(n % 3 for n in range(count)),
    )
    assert unpack_heads(pack_heads(heads), count) == heads
