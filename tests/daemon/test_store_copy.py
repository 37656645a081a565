"""Copies of a store: while traffic goes on, and before an upgrade changes it."""

import itertools
import os
import stat
from pathlib import Path

import apsw
import pytest
import trio
import trio.lowlevel

from volly_fed import limits, limits_backup
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.migrate import APPLICATION, Step, kept_path
from volly_fed.daemon.store.outage import Outage
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.daemon.store.rows import Backoff
from volly_fed.daemon.store.schema import MIGRATIONS, open_database, open_unchanged
from volly_fed.daemon.store.store import OutboundRow, Store
from volly_fed.daemon.store.writer import Job, Writer
from volly_fed.errors import StorageError
from volly_fed.names import parse_domain

A = parse_domain("a.test")
NOW = 1_800_000_000.0
_numbers = itertools.count()


def out(size: int = 1000) -> OutboundRow:
    identity = next(_numbers).to_bytes(16, "big")
    return OutboundRow(identity, int(NOW) + 3600, EnvelopeClass.SIGNAL, identity + os.urandom(size))


async def ids(path: Path) -> set[bytes]:
    async with Store.open(path, clock=lambda: NOW) as store:
        return {row.id for row in await store.read_outbound(A, EnvelopeClass.SIGNAL, limit=10_000, max_bytes=1 << 30)}


async def test_a_copy_has_all_that_was_stored_when_it_ended(tmp_path: Path) -> None:
    """What is stored meanwhile too: in pages that were copied before, and in new ones."""
    stored: list[bytes] = []
    told: list[tuple[int, int]] = []
    marks: list[int] = []

    def tell(copied: int, total: int) -> None:
        told.append((copied, total))
        marks.append(len(stored))

    async with Store.open(tmp_path / "s", clock=lambda: NOW) as store:

        async def enqueue(count: int, size: int = 1000) -> None:
            rows = [out(size) for _ in range(count)]
            await store.enqueue_outbound(A, rows)
            stored.extend(row.id for row in rows)

        async def go_on() -> None:
            while True:
                await enqueue(3)
                await trio.lowlevel.checkpoint()

        for _ in range(8):
            await enqueue(60, 10_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            before = len(stored)
            await store.copy(tmp_path / "copy", tell)
            assert len(stored) > before + 10, "traffic has waited for the copy"
            nursery.cancel_scope.cancel()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    copied = await ids(tmp_path / "copy")
    assert set(stored[: marks[-2]]) <= copied, "what was stored before the last step"


async def test_a_copy_has_nothing_that_only_this_process_could_use(tmp_path: Path) -> None:
    secret = os.urandom(64)
    async with Store.open(tmp_path / "s", clock=lambda: NOW) as store:
        store.begin_keep_presence(A, PresenceRecords(shown=secret, viewed=secret))
        await store.put_backoff(A, Backoff(failures=3, next_attempt=NOW + 1))
        await store.copy(tmp_path / "copy")
        assert await store.presence(A) == PresenceRecords(shown=secret, viewed=secret)
    assert secret not in (tmp_path / "copy").read_bytes()
    assert set(os.listdir(tmp_path)) == {"s", "copy"}, "a journal is left"
    async with Store.open(tmp_path / "copy", clock=lambda: NOW) as copy:
        assert await copy.backoff(A) is None


async def test_a_copy_that_is_cancelled_leaves_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=lambda: NOW) as store:
        await store.enqueue_outbound(A, [out(50_000) for _ in range(60)])
        with trio.CancelScope() as scope:
            await store.copy(tmp_path / "copy", lambda *_: scope.cancel())
        assert scope.cancelled_caught
        assert not (tmp_path / "copy").exists()
        await store.copy(tmp_path / "copy")
        with pytest.raises(StorageError, match=r"copy cannot be made(?s:.*)exists"):
            await store.copy(tmp_path / "copy")
    assert len(await ids(tmp_path / "copy")) == 60


async def test_a_copy_without_room_is_refused_and_is_no_outage(tmp_path: Path) -> None:
    told = []
    free = [limits.DISK_RESERVE + (8 << 20)]
    async with Store.open(
        tmp_path / "s", clock=lambda: NOW, free=lambda _: free[0], outage=lambda why: told.append(why)
    ) as store:
        await store.enqueue_outbound(A, [out(50_000) for _ in range(60)])
        free[0] = limits.DISK_RESERVE + (1 << 20)
        with pytest.raises(StorageError, match="no room for a copy"):
            await store.copy(tmp_path / "copy")
        await store.enqueue_outbound(A, [out()])
    assert not (tmp_path / "copy").exists()
    assert told == []


async def test_who_waits_for_a_commit_does_not_wait_for_what_runs_outside(tmp_path: Path) -> None:
    """They come in one group; the commit is told before the other has even begun."""
    writer = Writer(tmp_path / "s", "", lambda _: limits.DISK_RESERVE, Outage(lambda _: None))
    await writer.start()
    order: list[str] = []
    told = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def commit(_: None) -> None:
        order.append("told")
        told.set()

    def outside(database: apsw.Connection) -> None:
        assert not database.in_transaction
        trio.from_thread.run(told.wait, trio_token=token)
        order.append("outside")

    first = Job[None](outside, outside=True)
    second = Job[None](lambda _: None, commit)
    writer.put(first)
    writer.put(second)
    with trio.fail_after(10):
        await first.wait()
        await second.wait()
    await writer.stop()
    assert order == ["told", "outside"]


# --- upgrades ------------------------------------------------------------------------------------------------------

ONE = "CREATE TABLE note(text TEXT)"


def more(database: apsw.Connection) -> None:
    database.execute("ALTER TABLE note ADD COLUMN size INTEGER NOT NULL DEFAULT 0")
    database.execute("UPDATE note SET size = length(text)")


def broken(database: apsw.Connection) -> None:
    database.execute("DELETE FROM note")
    raise apsw.ConstraintError("something else than expected")


def notes(path: Path, steps: tuple[Step, ...]) -> list[tuple[object, ...]]:
    database = open_database(path, steps=steps)
    try:
        return database.execute("SELECT * FROM note").fetchall()
    finally:
        database.close()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A store of version 1."""
    path = tmp_path / "store.db"
    database = open_database(path, steps=(ONE,))
    database.execute("INSERT INTO note VALUES('four')")
    database.close()
    return path


def test_an_older_store_is_brought_forward_and_kept_as_it_was(older: Path) -> None:
    assert notes(older, (ONE, more)) == [("four", 4)]
    kept = kept_path(older, 1)
    assert kept.name == "store-schema-1.db"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert notes(kept, (ONE,)) == [("four",)]
    with pytest.raises(StorageError, match=r"schema 2(?s:.*)newer volly-fed"):
        notes(older, (ONE,))
    with pytest.raises(StorageError, match=r"schema 2(?s:.*)newer volly-fed"):
        open_database(older, steps=())


def test_a_step_that_fails_leaves_the_store_as_it_was(older: Path) -> None:
    with pytest.raises(StorageError, match="not usable"):
        notes(older, (ONE, more, broken))
    assert notes(older, (ONE,)) == [("four",)]
    assert notes(older, (ONE, more)) == [("four", 4)], "the next attempt takes the place of the copy"


def test_without_a_copy_nothing_is_changed(older: Path) -> None:
    kept_path(older, 1).mkdir()
    with pytest.raises(StorageError, match="cannot be kept"):
        notes(older, (ONE, more))
    kept_path(older, 1).rmdir()
    assert notes(older, (ONE,)) == [("four",)]
    assert [path.name for path in older.parent.iterdir() if path.name.endswith(".new")] == [], "left over"


def test_what_was_kept_is_forgotten_after_a_while(older: Path) -> None:
    assert notes(older, (ONE, more)) == [("four", 4)]
    kept, other = kept_path(older, 1), older.with_name("store-schema-notes.db")
    other.touch()
    notes(older, (ONE, more))
    assert kept.exists()
    since = kept.stat().st_mtime - limits_backup.OLD_SCHEMA_KEPT - 1
    for path in (kept, other):
        os.utime(path, (since, since))
    notes(older, (ONE, more))
    assert not kept.exists()
    assert other.exists()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_every_version_there_was_can_be_brought_forward(tmp_path: Path, version: int) -> None:
    path = tmp_path / "store.db"
    open_database(path, steps=MIGRATIONS[:version]).close()
    database = open_database(path)
    columns = {row[0]: row[1] for row in database.execute("SELECT name, sql FROM sqlite_schema")}
    database.close()
    fresh = open_database(tmp_path / "fresh")
    assert columns == {row[0]: row[1] for row in fresh.execute("SELECT name, sql FROM sqlite_schema")}
    fresh.close()


def test_a_store_is_opened_unchanged_for_a_copy_of_it(older: Path) -> None:
    before = older.read_bytes()
    database, version = open_unchanged(older)
    assert version == 1
    with pytest.raises(StorageError, match="in use"):
        open_database(older)
    database.close()
    assert older.read_bytes() == before
    with pytest.raises(StorageError, match="cannot be opened"):
        open_unchanged(older.with_name("none"))
    other = apsw.Connection(str(older.with_name("other")))
    other.execute("CREATE TABLE theirs(x)")
    other.pragma("user_version", 1)
    other.pragma("application_id", APPLICATION + 1)
    other.close()
    with pytest.raises(StorageError, match="another program"):
        open_unchanged(older.with_name("other"))
