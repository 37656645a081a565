"""The store when things go wrong: a full disk, and kill -9 in the middle of work."""

import itertools
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import apsw
import pytest

from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.store import InboundRow, OutboundRow, Position, Store, StoredEnvelope
from volly_fed.errors import StorageError
from volly_fed.names import MailboxId, parse_domain

A = parse_domain("a.test")
BOX = MailboxId(bytes(32))
STREAM = b"stream-1"
EXPIRY = 4_000_000_000
_numbers = itertools.count()


def out(size: int = 1000) -> OutboundRow:
    return OutboundRow(next(_numbers).to_bytes(16, "big"), EXPIRY, 1, bytes(size))


def inb() -> InboundRow:
    return InboundRow(BOX, *out())


async def read_all(read: Callable[[int], Awaitable[list[StoredEnvelope]]]) -> list[StoredEnvelope]:
    found: list[StoredEnvelope] = []
    while more := await read(found[-1].row if found else 0):
        found += more
    return found


async def set_limit(store: Store, spare: int | None) -> None:
    """Let the database grow by `spare` pages and no further: SQLite then says SQLITE_FULL, as on a full disk."""

    def run(database: apsw.Connection) -> None:
        pages = 1 << 30 if spare is None else database.pragma("page_count") + spare
        database.pragma("max_page_count", pages)

    await store._do(run)


async def test_a_full_disk_acknowledges_nothing_and_recovers(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        await store.put_mailbox(BOX, b"", 0.0)
        keys = await store.enqueue_outbound(A, [out() for _ in range(40)])
        await store.store_inbound([inb()], Position(A, STREAM, 1, 1))
        await set_limit(store, 3)
        depth = store.outbound_depth(A)
        for _ in range(3):
            with pytest.raises(StorageError, match="disk is full"):
                await store.enqueue_outbound(A, [out() for _ in range(40)])
            with pytest.raises(StorageError, match="disk is full"):
                await store.store_inbound([inb() for _ in range(40)], Position(A, STREAM, 2, 41))
        assert store.outbound_depth(A) == depth
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL)) == 40  # reading goes on
        assert await store.cursor(A, STREAM) == (1, ())
        record = await store.mailbox(BOX)
        assert record is not None
        assert record.envelopes == 1
        await store.settle_outbound(keys)  # and so does making room
        assert await store.enqueue_outbound(A, [out()]) != []
        await set_limit(store, None)
        await store.store_inbound([inb() for _ in range(40)], Position(A, STREAM, 2, 41))
        assert len(await store.read_mailbox(BOX)) == 41


async def test_a_job_that_does_not_fit_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s") as store:
        await store.enqueue_outbound(A, [out()])
        await set_limit(store, 3)
        jobs = [store.begin_outbound(A, [out(100 if n != 2 else 60_000)]) for n in range(5)]
        stored = []
        for job in jobs:
            try:
                await job.wait()
            except StorageError:
                stored.append(False)
            else:
                stored.append(True)
        assert stored == [True, True, False, True, True]
        assert store.outbound_depth(A)[0] == 5


_HAMMER = """
import os, struct, sys, trio
from pathlib import Path
from volly_fed.daemon.store.store import InboundRow, OutboundRow, Position, Store
from volly_fed.names import MailboxId, parse_domain
A, BOX = parse_domain("a.test"), MailboxId(bytes(32))
async def hammer(store, lane):
    serial = int(sys.argv[2]) * 1_000_000
    while True:
        ids = [struct.pack("!QQ", lane, serial + n) for n in range(16)]
        if lane:
            begun, first = divmod(serial, 1_000_000)
            at = Position(A, b"%d lane %d" % (lane, begun), first + 1, first + 16)
            await store.store_inbound([InboundRow(BOX, i, 4_000_000_000, 1, bytes(1000)) for i in ids], at)
        else:
            rows = await store.enqueue_outbound(A, [OutboundRow(i, 4_000_000_000, 1, bytes(1000)) for i in ids])
            await store.settle_outbound(rows[:8])
        serial += 16
        os.write(1, struct.pack("!QQ", lane, serial))
async def main():
    async with Store.open(Path(sys.argv[1])) as store:
        await store.put_mailbox(BOX, b"", 0.0)
        async with trio.open_nursery() as nursery:
            for lane in range(4):
                nursery.start_soon(hammer, store, lane)
trio.run(main)
"""


def _hammer_and_kill(path: Path, generation: int, acknowledgements: int) -> dict[int, int]:
    """Kill -9 after so many acknowledgements; the last serial number acknowledged, by lane."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HAMMER, str(path), str(generation)], stdout=subprocess.PIPE, bufsize=0
    )
    with process:
        assert process.stdout is not None
        data = b""
        while len(data) < 16 * acknowledgements:
            more = process.stdout.read(65536)
            assert more, "it has ended by itself"
            data += more
        process.send_signal(signal.SIGKILL)
        data += process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    return dict(struct.iter_unpack("!QQ", data[: len(data) // 16 * 16]))


@pytest.mark.real
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for generation in range(1, 6):
        last = _hammer_and_kill(path, generation, random.Random(generation).randrange(100, 400))
        start = generation * 1_000_000
        async with Store.open(path) as store:
            database_check = await store._do(lambda database: database.pragma("integrity_check"))
            assert database_check == "ok"
            received = await read_all(partial(store.read_mailbox, BOX))
            queued = await read_all(partial(store.read_outbound, A, EnvelopeClass.SIGNAL))
            ids = {stored.id for stored in [*received, *queued]}
            for lane, serial in last.items():
                wanted = range(start, serial)
                if lane:
                    assert (await store.cursor(A, b"%d lane %d" % (lane, generation)))[0] >= serial % 1_000_000
                else:  # half of each batch was settled after it was stored
                    wanted = range(start + 8, serial, 16)
                assert not {struct.pack("!QQ", lane, n) for n in wanted} - ids
            record = await store.mailbox(BOX)
            assert record is not None
            assert (record.envelopes, store.outbound_depth(A)[0]) == (len(received), len(queued))
