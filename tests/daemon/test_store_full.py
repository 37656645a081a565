"""The store on a disk that is nearly full or read-only: nothing new, what is there stays, and it goes on by itself."""

import itertools
from pathlib import Path

import pytest

from tests.daemon.read_only import ReadOnly
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.store import InboundRow, OutboundRow, Position, Store
from volly_fed.errors import StorageError
from volly_fed.names import MailboxId, parse_domain

A = parse_domain("a.test")
BOX = MailboxId(bytes(32))
_numbers = itertools.count()


def out() -> OutboundRow:
    return OutboundRow(next(_numbers).to_bytes(16, "big"), 4_000_000_000, EnvelopeClass.SIGNAL, bytes(1000))


async def test_a_disk_that_is_nearly_full_takes_nothing_new_and_still_deletes(tmp_path: Path) -> None:
    room = 1 << 40
    async with Store.open(tmp_path / "s", free=lambda _: room) as store:
        await store.put_mailbox(BOX, b"", 0.0)
        rows = await store.enqueue_outbound(A, [out() for _ in range(9)])
        room = limits.DISK_RESERVE - 1
        with pytest.raises(StorageError, match="nearly full"):
            await store.enqueue_outbound(A, [out()])
        with pytest.raises(StorageError, match="nearly full"):
            await store.store_inbound([InboundRow(BOX, *out())], Position(A, b"stream-1", 1, 1))
        assert store.outbound_depth(A) == store.outbound_total() == (9, 9000)
        await store.settle_outbound(rows[:4])
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL)) == 5
        room = limits.DISK_RESERVE
        await store.enqueue_outbound(A, [out()])
        assert store.outbound_depth(A) == (6, 6000)


async def test_a_disk_that_becomes_read_only_loses_nothing_and_goes_on(tmp_path: Path, disk: ReadOnly) -> None:
    async with Store.open(tmp_path / "s", vfs=disk.name) as store:
        rows = await store.enqueue_outbound(A, [out() for _ in range(5)])
        disk.stuck = True
        for _ in range(3):
            with pytest.raises(StorageError):
                await store.enqueue_outbound(A, [out()])
            with pytest.raises(StorageError):
                await store.settle_outbound(rows)
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL)) == 5
        assert store.outbound_depth(A) == (5, 5000)
        disk.stuck = False
        await store.settle_outbound(rows[:2])
        await store.enqueue_outbound(A, [out()])
    async with Store.open(tmp_path / "s") as store:
        assert store.outbound_depth(A) == (4, 4000)
