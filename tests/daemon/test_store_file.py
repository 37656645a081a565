"""The store as a file: private, locked, of our making and of this version; and its writer at the end."""

import itertools
import random
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
import trio

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.store.migrate import APPLICATION
from volly_fed.daemon.store.schema import MIGRATIONS
from volly_fed.daemon.store.store import InboundRow, OutboundRow, Position, Store, StoredEnvelope
from volly_fed.errors import StorageError
from volly_fed.names import MailboxId, parse_domain

A = parse_domain("a.test")
BOX = MailboxId(bytes(32))
NOW = 1_800_000_000.0
_numbers = itertools.count()


def clock() -> float:
    return NOW


def out() -> OutboundRow:
    identity = next(_numbers).to_bytes(16, "big")
    return OutboundRow(identity, int(NOW) + 3600, EnvelopeClass.SIGNAL, identity)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.touch(0o644)
    async with Store.open(path) as store:
        await store.enqueue_outbound(A, [out()])
        assert modes(tmp_path) == {0o600}
    assert modes(tmp_path) == {0o600}


_HOLD = """
import sys, trio
from pathlib import Path
from volly_fed.daemon.store.store import Store
async def main():
    async with Store.open(Path(sys.argv[1])):
        print("open", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


def hold(path: Path) -> subprocess.Popen[bytes]:
    """A process that has the store open until its standard input ends."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    return holder


@pytest.mark.real
async def test_two_processes_on_one_store_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with hold(path) as holder:
        assert holder.stdin is not None
        with pytest.raises(StorageError, match="in use by another process"):
            async with Store.open(path):
                pass
        holder.stdin.close()
    async with Store.open(path):
        pass


async def test_two_stores_in_one_process_are_refused(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s"):
        with pytest.raises(StorageError, match="in use"):
            async with Store.open(tmp_path / "s"):
                pass


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with Store.open(path) as store:
        await store.enqueue_outbound(A, [out()])
    with apsw.Connection(str(path)) as database:
        database.pragma("user_version", 99)
    database.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"schema 99(?s:.*)newer volly-fed"):
        async with Store.open(path):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1])
async def test_other_peoples_databases_are_refused(tmp_path: Path, version: int) -> None:
    database = apsw.Connection(str(tmp_path / "s"))
    database.execute("CREATE TABLE theirs(x)")
    database.pragma("user_version", version)
    database.close()
    with pytest.raises(StorageError, match="another program"):
        async with Store.open(tmp_path / "s"):
            pass


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(random.Random(1).randbytes(8192))
    with pytest.raises(StorageError, match="not usable"):
        async with Store.open(tmp_path / "s"):
            pass
    with pytest.raises(StorageError, match="cannot be opened"):
        async with Store.open(tmp_path / "no" / "folder"):
            pass


async def test_a_closed_store_says_so_and_has_finished_its_work(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        enqueued = store.begin_outbound(A, [out()])
    await enqueued.wait()
    with pytest.raises(StorageError, match="closed"):
        await store.read_outbound(A, EnvelopeClass.SIGNAL)


async def test_cancelling_a_wait_does_not_cancel_the_work(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.enqueue_outbound(A, [out()])
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL)) == 1


async def test_a_bug_in_a_job_reaches_who_asked_for_it_and_no_one_else(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:

        def faulty(database: apsw.Connection) -> None:
            database.execute("INSERT INTO stream VALUES('a.test', x'00', 9, 0)")
            raise ZeroDivisionError

        good = store.begin_outbound(A, [out()])
        with pytest.raises(ZeroDivisionError):
            await store._do(faulty)
        await good.wait()
        assert await store.cursor(A, b"\0") == (0, ())  # nothing of the faulty job was written


@pytest.mark.parametrize("version", [3, 4])
async def test_a_store_of_an_older_version_is_brought_forward(tmp_path: Path, version: int) -> None:
    """With what it holds: envelopes of every class, for peers and mailboxes; cursors; ids that were seen."""
    database = apsw.Connection(str(tmp_path / "s"))
    for script in MIGRATIONS[:version]:
        database.execute(script)
    database.pragma("user_version", version)
    database.pragma("application_id", APPLICATION)
    database.execute("INSERT INTO peer VALUES(7, 'a.test')")
    database.execute("INSERT INTO mailbox VALUES(3, ?, ?, x'01')", (BOX, int(NOW)))
    expiry = int(NOW) + 60
    for row, urgency in enumerate((2, 0, 1, 2), 1):
        identity, frame = bytes([row]) * 16, b"frame" + bytes(row)
        values = (row, 7, identity, expiry + row, urgency, int(NOW), frame)
        database.execute("INSERT INTO outbound VALUES(?, ?, ?, ?, ?, ?, ?)", values)
        database.execute("INSERT INTO inbound VALUES(?, 3, ?, ?, ?, ?)", (row, identity, expiry + row, urgency, frame))
        database.execute("INSERT INTO seen VALUES(?, ?, ?)", (expiry + row, identity, row))
    database.execute("INSERT INTO stream VALUES('a.test', ?, 9, 0)", (b"stream-1",))
    database.close()
    one, two, three, four = (
        StoredEnvelope(row, bytes([row]) * 16, expiry + row, EnvelopeClass(urgency), b"frame" + bytes(row))
        for row, urgency in enumerate((2, 0, 1, 2), 1)
    )
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert store.outbound_depth(A) == (4, 30)
        queued = [await store.read_outbound(A, urgency) for urgency in EnvelopeClass]
        assert queued == [[two], [three], [one, four]]
        assert (await store.outbound_peers())[0].oldest == NOW
        assert await store.read_mailbox(BOX) == [one, two, three, four]
        record = await store.mailbox(BOX)
        assert record is not None
        assert (record.registration, record.envelopes, record.bytes) == (b"\1", 4, 30)
        assert await store.cursor(A, b"stream-1") == (9, ())
        at = Position(A, b"stream-1", 10, 11, ((11, ErrorCode.POLICY, "no"),))
        again = InboundRow(BOX, one.id, one.expiry, one.urgency, one.frame)
        assert await store.store_inbound([again], at) == [None]
        assert await store.cursor(A, b"stream-1") == (11, ((11, ErrorCode.POLICY, "no"),))
        assert await store._do(lambda d: d.pragma("user_version")) == len(MIGRATIONS)
        assert await store.read_mailbox(BOX, urgency=EnvelopeClass.RING) == [two]
        assert (await store.expire(expiry + 3)).outbound_rows == [1, 2]
        assert (await store.expire(expiry + 3 + limits.CLOCK_SKEW)).inbound == 2
        assert await store.read_mailbox(BOX) == [three, four]
