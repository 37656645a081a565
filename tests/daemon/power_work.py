"""Work for a store whose power fails, and a ledger of what it has promised: for tests/daemon/test_store_power.py.

in: a seed; out: what is wrong after the crashes, as sentences; nothing is what should come.
The order of all that reaches the disk follows from the seed: a round's jobs are queued one after the other while a job
before them holds up the writer, so that they are one group.
"""

import threading
from enum import Enum
from pathlib import Path
from random import Random

import apsw
import attrs
import trio
import trio.testing

from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.store.store import InboundRow, OutboundRow, Position, Store
from volly_fed.errors import StorageError
from volly_fed.names import DomainName, MailboxId, parse_domain
from volly_fed.testing.power_loss import PowerLoss

PEERS = (parse_domain("a.test"), parse_domain("b.test"))
STREAMS = (b"stream-1", b"stream-2")
BOX = MailboxId(bytes(32))
NOW, EXPIRY = 1_800_000_000, 1_800_086_400
EVERYTHING = 1 << 30
ROUNDS, CHECKPOINT_PAGES, CROWD = 8, 24, 40
SPANS = (15, 60, 180)  # points: crashes of opening, of work, and of closing


class State(Enum):
    BEGUN = "begun"  # it may be there
    KEPT = "kept"  # its storing was acknowledged: it must be there
    LEAVING = "leaving"  # its deletion has begun: it may be there
    GONE = "gone"  # its deletion was acknowledged: it must not be there


@attrs.define
class Item:
    """An envelope."""

    id: bytes
    frame: bytes
    state: State = State.BEGUN
    row: int = 0


@attrs.define
class Batch:
    """What was stored in one call; `cursor` is 0 for outbound ones."""

    lane: tuple[DomainName, bytes]
    cursor: int
    items: list[Item]
    first: int = 0
    refused: list[int] = attrs.Factory(list)  # sequence numbers: the last ones, and none of the items


@attrs.define
class Ledger:
    random: Random
    outbound: list[Batch] = attrs.Factory(list)
    inbound: list[Batch] = attrs.Factory(list)
    cursors: dict[tuple[DomainName, bytes], int] = attrs.Factory(dict)  # acknowledged
    claimed: bytes = b""  # the registration acknowledged last; empty: none
    claiming: bytes = b""
    serial: int = 0

    def items(self, count: int) -> list[Item]:
        new = []
        for _ in range(count):
            self.serial += 1
            identity = self.serial.to_bytes(16, "big")
            new.append(Item(identity, identity + self.random.randbytes(self.random.randrange(30, 2500))))
        return new

    def some(self, batches: list[Batch], *, begun: bool) -> list[Item]:
        """Envelopes that can be deleted; `begun`: even before their storing is acknowledged."""
        states = (State.KEPT, State.BEGUN) if begun else (State.KEPT,)
        there = [item for batch in batches for item in batch.items if item.state in states and item.row]
        most = 4 if len(there) < CROWD else CROWD
        return self.random.sample(there, min(len(there), self.random.randint(1, most)))


async def enqueue(store: Store, batch: Batch) -> None:
    enqueued = store.begin_outbound(
        batch.lane[0], [OutboundRow(item.id, EXPIRY, EnvelopeClass.SIGNAL, item.frame) for item in batch.items]
    )
    for item, row in zip(batch.items, enqueued.rows, strict=True):
        item.row = row
    await enqueued.wait()
    _acknowledged(batch)


async def receive(store: Store, ledger: Ledger, batch: Batch) -> None:
    """Store `batch`, for the first time or, as a peer does that has heard nothing of it, once more."""
    rows = [InboundRow(BOX, item.id, EXPIRY, EnvelopeClass.SIGNAL, item.frame) for item in batch.items]
    refusals = [(number, ErrorCode.UNDELIVERABLE, "no") for number in batch.refused]
    stored = await store.begin_inbound(rows, Position(*batch.lane, batch.first, batch.cursor, refusals))
    for item, key in zip(batch.items, await stored.wait(), strict=True):
        item.row = key or item.row
    ledger.cursors[batch.lane] = max(ledger.cursors.get(batch.lane, 0), batch.cursor)
    _acknowledged(batch)


def _acknowledged(batch: Batch) -> None:
    for item in batch.items:
        if item.state is State.BEGUN:
            item.state = State.KEPT


async def settle(store: Store, items: list[Item]) -> None:
    _leave(items)
    await store.settle_outbound([item.row for item in items])
    _left(items)


async def fetched(store: Store, items: list[Item]) -> None:
    _leave(items)
    await store.delete_inbound([item.row for item in items])
    _left(items)


def _leave(items: list[Item]) -> None:
    for item in items:
        item.state = State.LEAVING


def _left(items: list[Item]) -> None:
    for item in items:
        item.state = State.GONE


async def claim(store: Store, ledger: Ledger) -> None:
    ledger.claiming = ledger.random.randbytes(100)
    await store.put_mailbox(BOX, ledger.claiming, NOW)
    ledger.claimed = ledger.claiming


async def act(store: Store, ledger: Ledger) -> None:
    random = ledger.random
    lane = (random.choice(PEERS), random.choice(STREAMS))
    what = random.choice(("out", "out", "in", "in", "again", "settle", "fetched", "claim"))
    if what == "out":
        ledger.outbound.append(Batch(lane, 0, ledger.items(random.randint(1, 4))))
        await enqueue(store, ledger.outbound[-1])
    elif what == "in":
        cursor = max((batch.cursor for batch in ledger.inbound if batch.lane == lane), default=0)
        items = ledger.items(random.randint(1, 4))
        refused = list(range(cursor + len(items) + 1, cursor + len(items) + 1 + random.randint(0, 2)))
        ledger.inbound.append(Batch(lane, cursor + len(items) + len(refused), items, cursor + 1, refused))
        await receive(store, ledger, ledger.inbound[-1])
    elif what == "again" and ledger.inbound:
        await receive(store, ledger, random.choice(ledger.inbound))
    elif what == "settle":
        await settle(store, ledger.some(ledger.outbound, begun=True))
    elif what == "fetched":
        await fetched(store, ledger.some(ledger.inbound, begun=False))
    elif what == "claim":
        await claim(store, ledger)


async def work(store: Store, ledger: Ledger) -> bool:
    """One round: a few things at once, which become one group. False: the store has failed."""
    failed: list[StorageError] = []

    async def attempt() -> None:
        try:
            await act(store, ledger)
        except StorageError as error:
            failed.append(error)

    entered, release, token = trio.Event(), threading.Event(), trio.lowlevel.current_trio_token()

    def gate(_: apsw.Connection) -> None:
        token.run_sync_soon(entered.set)
        release.wait()

    async def hold() -> None:
        try:
            await store._do(gate)
        except StorageError as error:
            failed.append(error)
        entered.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await entered.wait()
        try:
            for _ in range(ledger.random.randint(1, 6)):
                nursery.start_soon(attempt)
                await trio.testing.wait_all_tasks_blocked()  # its job is queued
        finally:
            release.set()
    return not failed


async def live(path: Path, power: PowerLoss, ledger: Ledger, rounds: int) -> list[str]:
    """From opening to a crash, or to closing after so many rounds; what was wrong with the store at its opening."""
    try:
        async with Store.open(path, clock=lambda: NOW, vfs=power.vfs) as store:
            await store._do(lambda database: database.wal_autocheckpoint(CHECKPOINT_PAGES))
            findings = await judge(store, ledger)
            if findings:
                return findings
            if not ledger.claimed:
                await claim(store, ledger)
            for _ in range(rounds):
                if not await work(store, ledger):
                    break
            else:
                return []
    except StorageError as error:
        return [] if power.lost else [f"unusable: {str(error).replace(str(path.parent), '')}"]
    return [] if power.lost else ["unusable: it fails with the power on"]


async def judge(store: Store, ledger: Ledger) -> list[str]:
    """What is wrong with the store; if nothing is, the ledger goes on from what is there."""
    sound = await store._do(lambda database: database.execute("PRAGMA integrity_check").fetchall())
    if sound != [("ok",)]:
        return [f"corrupt: {sound}"]
    record = await store.mailbox(BOX)
    if (record.registration if record else b"") not in (ledger.claimed, ledger.claiming):
        return ["lost: the claim of a mailbox"]
    queued = {peer: await store.read_outbound(peer, EnvelopeClass.SIGNAL, 0, EVERYTHING, EVERYTHING) for peer in PEERS}
    outbound = {stored.id: (stored.row, stored.frame) for rows in queued.values() for stored in rows}
    inbound = {s.id: (s.row, s.frame) for s in await store.read_mailbox(BOX, 0, EVERYTHING)}
    findings = _judge_batches(ledger.outbound, outbound) + _judge_batches(ledger.inbound, inbound)
    standing = {batch.lane: await store.cursor(*batch.lane) for batch in ledger.inbound}
    reached = {lane: cursor for lane, (cursor, _) in standing.items()}
    findings += _judge_cursors(ledger, reached, inbound)
    for batch in ledger.inbound:
        told = [number for number, _, _ in standing[batch.lane][1] if batch.first <= number <= batch.cursor]
        if told != (batch.refused if batch.cursor <= reached[batch.lane] else []):
            findings.append("torn: a cursor without its refusals, or refusals without their cursor")
    if [store.outbound_depth(peer)[0] for peer in PEERS] != [len(queued[peer]) for peer in PEERS]:
        findings.append("miscounted: outbound")
    if record is not None and record.envelopes != len(inbound):
        findings.append("miscounted: inbound")
    if not findings:
        ledger.claimed = ledger.claiming = record.registration if record else b""
        ledger.inbound = [batch for batch in ledger.inbound if batch.cursor <= reached[batch.lane]]
        ledger.cursors.update(reached)
        ledger.outbound = _settled(ledger.outbound, outbound)
        ledger.inbound = _settled(ledger.inbound, inbound)
    return findings


Rows = dict[bytes, tuple[int, bytes]]


def _judge_batches(batches: list[Batch], there: Rows) -> list[str]:
    findings = []
    for batch in batches:
        sure = {item.id in there for item in batch.items if item.state is State.BEGUN}
        if len(sure) > 1:
            findings.append("torn: part of a batch is there")
        for item in batch.items:
            if item.state is State.KEPT and item.id not in there:
                findings.append("lost: an acknowledged envelope")
            elif item.state is State.GONE and item.id in there:
                findings.append("back: an envelope whose deletion was acknowledged")
            elif there.get(item.id, (0, item.frame))[1] != item.frame:
                findings.append("corrupt: another frame")
    if not there.keys() <= {item.id for batch in batches for item in batch.items}:
        findings.append("corrupt: an envelope nobody stored")
    return findings


def _judge_cursors(ledger: Ledger, reached: dict[tuple[DomainName, bytes], int], there: Rows) -> list[str]:
    findings = []
    for batch in ledger.inbound:
        cursor = reached[batch.lane]
        if cursor < ledger.cursors.get(batch.lane, 0):
            findings.append("lost: an acknowledged cursor")
        if cursor < batch.cursor and any(item.id in there for item in batch.items):
            findings.append("behind: the cursor, of an envelope that is there")
        if cursor >= batch.cursor and any(i.state is State.BEGUN and i.id not in there for i in batch.items):
            findings.append("ahead: the cursor, of an envelope that is not there")  # the peer would never send it again
    return findings


def _settled(batches: list[Batch], there: Rows) -> list[Batch]:
    """`batches` after a crash: what is there was kept, what is not has gone."""
    for item in (item for batch in batches for item in batch.items):
        item.row, _ = there.get(item.id, (0, b""))
        item.state = State.KEPT if item.id in there else State.GONE
    return batches


async def crash_often(folder: Path, seed: int, crashes: int) -> list[str]:
    """A store in `folder`, with so many power losses one after the other; what it did not survive."""
    random = Random(seed)
    with PowerLoss(folder, seed) as power:
        ledger, account = Ledger(random), ["new"]
        for number in range(crashes + 1):
            if number < crashes:
                power.crash_at(random.randint(1, random.choice(SPANS)))
            findings = await live(folder / "store", power, ledger, random.randint(0, ROUNDS))
            if findings:
                return [f"{finding} (seed {seed}, after crash {number}; {'; '.join(account)})" for finding in findings]
            account = [*power.trace[-1:], *power.survive()]
    return []
