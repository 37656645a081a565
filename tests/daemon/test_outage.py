"""What the log says of a disk that takes nothing: once when that begins, and once when it is over."""

import itertools
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.read_only import ReadOnly
from tests.daemon.sites import BOX, A, B, sites
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.outage import Outage
from volly_fed.daemon.store.store import OutboundRow, Store
from volly_fed.errors import StorageError

FULL = StorageError("the disk is full")
_numbers = itertools.count()


@attrs.frozen
class Job:
    """One that has ended."""

    failure: StorageError | None = None
    grows: bool = False
    wrote: bool = False


FAILED, GROWTH_FAILED = Job(FULL), Job(FULL, grows=True)
READ, WROTE, GREW = Job(), Job(wrote=True), Job(grows=True, wrote=True)
CALM = limits.STORE_CALM


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        ([(0, READ), (0, WROTE), (0, GREW)], []),
        ([(0, FAILED), (0, FAILED), (0, GROWTH_FAILED)], [FULL]),
        ([(0, FAILED), (CALM, READ)], [FULL]),
        ([(0, FAILED), (CALM, WROTE), (0, WROTE)], [FULL, None]),
        ([(0, FAILED), (CALM, GREW)], [FULL, None]),
        ([(0, GROWTH_FAILED), (CALM, WROTE)], [FULL]),  # deleting needs no room
        ([(0, GROWTH_FAILED), (0, FAILED), (CALM, WROTE)], [FULL]),
        ([(0, GROWTH_FAILED), (CALM, GREW)], [FULL, None]),
        ([(0, FAILED), (CALM / 2, WROTE)], [FULL]),
        ([(0, GROWTH_FAILED), (CALM, FAILED), (0, GREW)], [FULL, None]),
        ([(0, GROWTH_FAILED), (CALM, GREW), (0, FAILED), (CALM, WROTE)], [FULL, None, FULL, None]),
        ([(0, GROWTH_FAILED), (CALM / 2, GREW), (0, GROWTH_FAILED), (CALM / 2, GREW)], [FULL]),  # some still fit
    ],
)
def test_each_outage_is_told_once(jobs: list[tuple[float, Job]], told: list[StorageError | None]) -> None:
    now, heard = 0.0, list[StorageError | None]()
    outage = Outage(heard.append, lambda: now)
    for seconds, job in jobs:
        now += seconds
        outage.note(job)
    assert heard == told


def out() -> OutboundRow:
    return OutboundRow(next(_numbers).to_bytes(16, "big"), 4_000_000_000, EnvelopeClass.SIGNAL, bytes(1000))


async def test_the_store_tells_of_its_disk(tmp_path: Path, disk: ReadOnly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_CALM", 0.0)
    heard = list[StorageError | None]()
    async with Store.open(tmp_path / "s", vfs=disk.name, outage=heard.append) as store:
        await store.enqueue_outbound(A, [out()])
        with disk.taking_nothing():
            for _ in range(3):
                with pytest.raises(StorageError):
                    await store.enqueue_outbound(A, [out()])
                await store.read_outbound(A, EnvelopeClass.SIGNAL)
            assert [type(each) for each in heard] == [StorageError]
        await store.enqueue_outbound(A, [out()])
        await store.enqueue_outbound(A, [out()])
        assert heard[1:] == [None]


async def test_the_store_tells_when_there_is_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_CALM", 0.0)
    heard, room = list[StorageError | None](), 0
    async with Store.open(tmp_path / "s", free=lambda _: room, outage=heard.append) as store:
        with pytest.raises(StorageError, match="nearly full"):
            await store.enqueue_outbound(A, [out()])
        await store.put_mailbox(BOX, b"", 0.0)
        assert [str(each).partition("\n")[0] for each in heard] == ["the disk is nearly full; nothing was written"]
        room = limits.DISK_RESERVE
        await store.enqueue_outbound(A, [out()])
        assert heard[1:] == [None]


async def test_the_end_is_noticed_where_nothing_else_is_written(
    tmp_path: Path, disk: ReadOnly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_RETRY", 0.01)
    heard, told = list[StorageError | None](), trio.Event()

    def hear(failure: StorageError | None) -> None:
        heard.append(failure)
        if failure is None:
            told.set()

    async with Store.open(tmp_path / "s", vfs=disk.name, outage=hear) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.watch)
        with disk.taking_nothing(), pytest.raises(StorageError):
            await store.enqueue_outbound(A, [out()])
        with trio.fail_after(10):
            await told.wait()
        nursery.cancel_scope.cancel()
    assert [type(each) for each in heard] == [StorageError, type(None)]


async def test_a_job_that_fails_by_itself_is_no_outage(tmp_path: Path) -> None:
    heard = list[StorageError | None]()

    def fails(_: object) -> None:
        raise StorageError("a batch before this one was not stored")

    async with Store.open(tmp_path / "s", outage=heard.append) as store:
        with pytest.raises(StorageError, match="before this one"):
            await store._do(fails)
    assert heard == []


async def test_the_operator_reads_of_the_beginning_and_the_end(
    tmp_path: Path, disk: ReadOnly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_CALM", 0.0)
    (a,) = sites(tmp_path, A, vfs=disk.name)
    async with a.running(listening=False):
        with disk.taking_nothing():
            for _ in range(3):
                with pytest.raises(StorageError):
                    await a.store.enqueue_outbound(B, [out()])
        await a.store.enqueue_outbound(B, [out()])
        assert len(a.log.all("storage_failed")) == len(a.log.all("storage_recovered")) == 1
