"""The power-loss simulator: plain SQLite keeps under it what its documentation promises, and loses what it does not."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from volly_fed.testing.power_disk import SECTOR, Change, Disk, Fate, Inode
from volly_fed.testing.power_loss import PowerLoss, PowerLost

ROWS_PER_COMMIT, COMMITS = 3, 6
pytestmark = pytest.mark.slow
KEPT = [("wal", "full"), ("truncate", "full"), ("persist", "full"), ("delete", "extra")]


def connect(power: PowerLoss, journal: str, synchronous: str) -> apsw.Connection:
    database = apsw.Connection(str(power.folder / "table"), vfs=power.vfs)
    try:
        if journal == "wal":
            database.execute("PRAGMA locking_mode = exclusive")
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("PRAGMA wal_autocheckpoint = 6")
        database.execute("CREATE TABLE IF NOT EXISTS number(n INTEGER PRIMARY KEY, filler BLOB)")
    except apsw.Error:
        close(database)
        raise
    return database


def close(database: apsw.Connection) -> None:
    with suppress(PowerLost):
        database.close()


def count_up(power: PowerLoss, journal: str, synchronous: str) -> int:
    """Commit numbers, from the last one on, until the power fails or there are enough; the last one committed."""
    committed = 0
    with suppress(apsw.Error):
        database = connect(power, journal, synchronous)
        try:
            committed = len(database.execute("SELECT n FROM number").fetchall())
            for start in range(committed, ROWS_PER_COMMIT * COMMITS, ROWS_PER_COMMIT):
                with database:
                    numbers = range(start + 1, start + 1 + ROWS_PER_COMMIT)
                    database.executemany("INSERT INTO number VALUES(?, randomblob(1500))", [(n,) for n in numbers])
                committed = start + ROWS_PER_COMMIT
        finally:
            close(database)
    return committed


def judge(power: PowerLoss, committed: int) -> str:
    """What is wrong with the table after the power loss: "" is nothing."""
    database = apsw.Connection(str(power.folder / "table"), vfs=power.vfs)
    try:
        database.execute("PRAGMA locking_mode = exclusive")
        if database.pragma("integrity_check") != "ok":
            return "corrupt"
        if not database.execute("SELECT 1 FROM sqlite_schema").fetchall():
            return "lost" if committed else ""
        numbers = [n for (n,) in database.execute("SELECT n FROM number ORDER BY n")]
        if numbers != list(range(1, len(numbers) + 1)) or len(numbers) % ROWS_PER_COMMIT:
            return "corrupt"
        return "lost" if len(numbers) < committed else ""
    except apsw.Error:
        return "corrupt"
    finally:
        database.close()


def crashes(folder: Path, journal: str, synchronous: str, seeds: int) -> Iterator[str]:
    """The verdict on a crash at each point of the work, `seeds` times."""
    for seed in range(seeds):
        point, last = 0, False
        while not last:
            point += 1
            home = folder / f"{seed}-{point}"
            home.mkdir()
            with PowerLoss(home, seed * 1000 + point) as power:
                power.crash_at(point)
                committed = count_up(power, journal, synchronous)
                last = not power.lost
                power.survive()
                yield judge(power, committed)


@pytest.mark.parametrize(("journal", "synchronous"), KEPT)
def test_no_committed_row_is_lost_where_sqlite_promises_it(tmp_path: Path, journal: str, synchronous: str) -> None:
    verdicts = Counter(crashes(tmp_path, journal, synchronous, 3))
    assert set(verdicts) == {""}
    assert verdicts[""] > 100


@pytest.mark.parametrize("journal", ["wal", "truncate", "delete"])
def test_without_syncs_rows_are_lost_and_tables_broken(tmp_path: Path, journal: str) -> None:
    assert set(crashes(tmp_path, journal, "off", 3)) == {"", "lost", "corrupt"}


@pytest.mark.parametrize(("journal", "synchronous"), [("wal", "normal"), ("delete", "full")])
def test_what_sqlite_documents_as_lost_is_lost_and_nothing_is_broken(
    tmp_path: Path, journal: str, synchronous: str
) -> None:
    # sqlite.org/pragma.html#pragma_synchronous: NORMAL is not durable in WAL mode; and a journal whose deletion was not
    # synced comes back and undoes its transaction, which is what EXTRA is for
    assert set(crashes(tmp_path, journal, synchronous, 3)) == {"", "lost"}


@pytest.mark.parametrize("seed", range(5))
def test_crash_after_crash_on_one_file(tmp_path: Path, seed: int) -> None:
    """Recovery may be cut off as well, and the next one goes on from there."""
    with PowerLoss(tmp_path, seed) as power:
        random, committed = Random(seed), 0
        for _ in range(200):
            power.crash_at(random.randint(1, 20))
            committed = max(committed, count_up(power, "wal", "full"))
            power.survive()
        assert committed == ROWS_PER_COMMIT * COMMITS
        assert judge(power, committed) == ""


def test_everything_fails_until_the_power_is_back(tmp_path: Path) -> None:
    with PowerLoss(tmp_path, 1) as power:
        database = connect(power, "wal", "full")
        points = power.points
        power.crash_at(points + 1)
        for _ in range(3):
            with pytest.raises(PowerLost):
                database.execute("INSERT INTO number VALUES(1, x'00')")
        with pytest.raises(PowerLost):
            apsw.Connection(str(tmp_path / "other"), vfs=power.vfs)
        assert power.lost
        assert power.points == points + 1
        with pytest.raises(RuntimeError, match="close all databases"):
            power.survive()
        close(database)
        power.survive()
        assert not power.lost
        assert power.points == 0
        assert count_up(power, "wal", "full") == ROWS_PER_COMMIT * COMMITS
    with pytest.raises(apsw.SQLError, match="no such vfs"):
        apsw.Connection(str(tmp_path / "table"), vfs=power.vfs)


def test_a_seed_repeats_itself(tmp_path: Path) -> None:
    outcomes: list[tuple[list[str], int]] = []
    for home in (tmp_path / "one", tmp_path / "two"):
        home.mkdir()
        with PowerLoss(home, 7) as power:
            power.crash_at(30)
            committed = count_up(power, "wal", "off")
            assert power.trace[-1].split()[0] in ("write", "sync", "truncate", "create", "delete")
            outcomes.append((power.survive(), committed))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0]


def test_files_of_others_are_written_but_not_synced(tmp_path: Path) -> None:
    """The store creates its file before SQLite sees it."""
    seen = set()
    (tmp_path / "old").write_bytes(b"old")
    for seed in range(40):
        with PowerLoss(tmp_path, seed) as power:
            path = tmp_path / "table"
            path.touch()
            apsw.Connection(str(path), vfs=power.vfs).close()
            power.survive()
            seen.add(path.exists())
            path.unlink(missing_ok=True)
    assert seen == {True, False}
    assert (tmp_path / "old").read_bytes() == b"old"


def test_the_hooks_are_given_back(tmp_path: Path) -> None:
    hooks = sys.unraisablehook, threading.excepthook
    with PowerLoss(tmp_path, 1):
        assert (sys.unraisablehook, threading.excepthook) != hooks
    assert (sys.unraisablehook, threading.excepthook) == hooks


def lose(synced: bytes, waiting: list[Change], seed: int) -> tuple[Fate, bytes]:
    inode = Inode()
    inode.waiting.append(Change(0, synced))
    inode.sync()
    inode.waiting.extend(waiting)
    return inode.lose_power(Random(seed)), bytes(inode.synced)


def test_every_fate_and_what_it_leaves() -> None:
    old, new = b"o" * 4 * SECTOR, b"n" * 4 * SECTOR
    left: dict[Fate, set[bytes]] = {fate: set() for fate in Fate}
    for seed in range(400):
        fate, contents = lose(old, [Change(0, new)], seed)
        left[fate].add(contents)
        sectors = [contents[start : start + SECTOR] for start in range(0, len(contents), SECTOR)]
        assert set(sectors) <= {b"o" * SECTOR, b"n" * SECTOR}  # a sector is never torn
        assert len(contents) == len(old)
    assert left[Fate.DROPPED] == {old}
    assert left[Fate.KEPT] == {new}
    assert left[Fate.REORDERED] == {old, new}
    assert len(left[Fate.TORN]) > 10
    assert len(left[Fate.CUT_OFF]) > 10


def test_reordering_keeps_the_later_write_without_the_earlier_one() -> None:
    waiting = [Change(0, b"a" * SECTOR), Change(SECTOR, b"b" * SECTOR), Change(100, None)]
    left = {lose(b"", waiting, seed) for seed in range(400)}
    assert (Fate.REORDERED, bytes(SECTOR) + b"b" * SECTOR) in left
    assert (Fate.REORDERED, b"a" * 100) in left
    assert (Fate.REORDERED, bytes(100)) in left
    assert (Fate.CUT_OFF, b"a" * SECTOR) in left
    assert (Fate.KEPT, b"a" * 100) in left


def test_a_file_may_grow_without_its_contents() -> None:
    left = {contents for fate, contents in (lose(b"", [Change(0, b"a" * 2 * SECTOR)], seed) for seed in range(400))}
    assert bytes(2 * SECTOR) in left
    assert any(not set(contents) <= set(b"a\0") for contents in left)  # what lay there before


def test_writes_are_torn_where_sectors_of_the_file_begin() -> None:
    left = {
        lose(bytes(2 * SECTOR), [Change(SECTOR - 2, b"abcd")], seed)[1][SECTOR - 2 : SECTOR + 2] for seed in range(400)
    }
    assert left == {b"abcd", b"ab\0\0", b"\0\0cd", bytes(4)}


def test_names_are_kept_once_the_folder_is_synced() -> None:
    def outcomes(*, synced: bool) -> set[tuple[str, ...]]:
        found = set()
        for seed in range(200):
            disk = Disk({"old": b"x"})
            disk.create("new").waiting.append(Change(0, b"y"))
            disk.names["new"].sync()
            disk.delete("old")
            if synced:
                disk.sync_folder()
            files, _ = disk.lose_power(Random(seed))
            assert files.get("new", b"y") == b"y"
            found.add(tuple(sorted(files)))
        return found

    assert outcomes(synced=True) == {("new",)}
    assert outcomes(synced=False) == {("old",), ("new", "old"), ("new",), ()}
