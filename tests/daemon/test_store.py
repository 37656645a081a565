"""The store: what is in it, in which order, once; and what is refused."""

import itertools
from functools import partial
from pathlib import Path

import pytest

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import spans
from volly_fed.daemon.store.store import Backoff, InboundRow, OutboundRow, Position, Store
from volly_fed.names import Fingerprint, MailboxId, parse_domain
from volly_fed.trust.pins import IdentityVerdict, Judgement, Pin, Standing

A, B = parse_domain("a.test"), parse_domain("b.test")
NOW = 1_800_000_000.0
LATER = int(NOW) + 3600
BOX, BOX_2 = MailboxId(bytes([1]) * 32), MailboxId(bytes([2]) * 32)
STREAM = b"stream-1"
_numbers = itertools.count()


def clock() -> float:
    return NOW


def out(expiry: int = LATER, size: int = 100) -> OutboundRow:
    identity = next(_numbers).to_bytes(16, "big")
    return OutboundRow(identity, expiry, EnvelopeClass.SIGNAL, identity + bytes(size - 16))


def inb(mailbox: MailboxId = BOX, expiry: int = LATER, size: int = 100) -> InboundRow:
    return InboundRow(mailbox, *out(expiry, size))


def at(last: int, first: int = 1, stream: bytes = STREAM) -> Position:
    return Position(A, stream, first, last)


async def delete(store: Store, identity: bytes) -> int:
    """What the acknowledgement of this envelope in BOX leads to."""
    return await store.delete_inbound([stored.row for stored in await store.read_mailbox(BOX) if stored.id == identity])


async def test_outbound_comes_back_in_order_across_restarts(tmp_path: Path) -> None:
    rows = [out() for _ in range(5)]
    async with Store.open(tmp_path / "s", clock=clock) as store:
        keys = await store.enqueue_outbound(A, rows[:3])
        await store.enqueue_outbound(B, [out()])
        await store.enqueue_outbound(A, rows[3:])
        assert store.outbound_depth(A) == (5, 500)
    async with Store.open(tmp_path / "s", clock=clock) as store:
        stored = await store.read_outbound(A, EnvelopeClass.SIGNAL)
        assert [(s.id, s.frame, s.urgency) for s in stored] == [(r.id, r.frame, EnvelopeClass.SIGNAL) for r in rows]
        assert [s.row for s in stored][:3] == keys
        assert store.outbound_depth(A) == (5, 500)
        assert [s.id for s in await store.read_outbound(A, EnvelopeClass.SIGNAL, stored[1].row, limit=2)] == [
            rows[2].id,
            rows[3].id,
        ]
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL, max_bytes=250)) == 2
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL, max_bytes=1)) == 1
        assert await store.read_outbound(parse_domain("nobody.test"), EnvelopeClass.SIGNAL) == []


async def test_rows_are_known_before_they_are_durable(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        enqueued = store.begin_outbound(A, [out(), out()])
        assert len(enqueued.rows) == 2
        assert store.outbound_depth(A) == store.outbound_total() == (2, 200)  # it has its place in the queue already
        await store.settle_outbound(enqueued.rows)  # the peer was faster than the disk
        await enqueued.wait()
        assert store.outbound_depth(A) == (0, 0)
        assert await store.read_outbound(A, EnvelopeClass.SIGNAL) == []


async def test_the_total_is_that_of_all_peers_and_survives_a_restart(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.enqueue_outbound(A, [out(), out()])
        (row,) = await store.enqueue_outbound(B, [out()])
        assert (store.outbound_total(), store.outbound_depth(B)) == ((3, 300), (1, 100))
        await store.settle_outbound([row])
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert store.outbound_total() == (2, 200)


async def test_peers_with_nothing_queued_are_forgotten_and_come_back(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        (row,) = await store.enqueue_outbound(A, [out()])
        await store.enqueue_outbound(B, [out()])
        await store.settle_outbound([row])
        await store.expire(NOW)
        assert set(store._peers) == {B}
        await store.enqueue_outbound(A, [out()])
        names = await store._do(lambda database: database.execute("SELECT name FROM peer ORDER BY name").fetchall())
        assert names == [(A,), (B,)]
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert (store.outbound_depth(A), store.outbound_depth(B)) == ((1, 100), (1, 100))


async def test_a_name_that_could_not_be_forgotten_costs_no_envelope(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store._do(lambda database: database.execute("INSERT INTO peer VALUES(77, ?)", (A,)))
        await store.enqueue_outbound(A, [out()])
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL)) == 1


async def test_settling(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        keys = await store.enqueue_outbound(A, [out() for _ in range(6)])
        other = await store.enqueue_outbound(B, [out()])
        await store.settle_outbound([keys[0], keys[1], keys[4], 999])
        await store.settle_outbound([])
        assert [s.row for s in await store.read_outbound(A, EnvelopeClass.SIGNAL)] == [keys[2], keys[3], keys[5]]
        assert [s.row for s in await store.read_outbound(B, EnvelopeClass.SIGNAL)] == other
        assert store.outbound_depth(A) == (3, 300)


async def test_new_rows_never_lie_before_a_readers_position(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        (first,) = await store.enqueue_outbound(A, [out()])
        await store.settle_outbound([first])
        await store.enqueue_outbound(A, [out()])
        assert len(await store.read_outbound(A, EnvelopeClass.SIGNAL, first)) == 1
        await store.put_mailbox(BOX, b"", NOW)
        row = inb()
        (key,) = await store.store_inbound([row], at(1))
        assert key is not None
        await delete(store, row.id)
        store._forget(store._mailboxes[BOX])  # as if others had crowded it out of memory
        await store.store_inbound([inb()], at(2))
        assert len(await store.read_mailbox(BOX, key)) == 1


async def test_outbound_peers(tmp_path: Path) -> None:
    now = NOW
    async with Store.open(tmp_path / "s", clock=lambda: now) as store:
        (first,) = await store.enqueue_outbound(B, [out()])
        now += 5
        await store.enqueue_outbound(B, [out(size=50)])
        done = await store.enqueue_outbound(A, [out()])
        peers = await store.outbound_peers()
        assert [(p.peer, p.envelopes, p.bytes, p.oldest) for p in peers] == [
            (A, 1, 100, NOW + 5),
            (B, 2, 150, NOW),
        ]
        await store.settle_outbound([*done, first])
        assert [(p.peer, p.oldest) for p in await store.outbound_peers()] == [(B, NOW + 5)]


async def test_inbound_rows_and_cursor_come_together(tmp_path: Path) -> None:
    rows = [inb(), inb(BOX_2), inb()]
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.cursor(A, STREAM) == (0, ())
        await store.put_mailbox(BOX, b"registration", NOW)
        keys = await store.store_inbound(rows, at(3))
        assert [key is not None for key in keys] == [True, False, True]  # nobody has claimed BOX_2
        assert await store.cursor(A, STREAM) == (3, ())
        assert await store.cursor(B, STREAM) == (0, ())
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.cursor(A, STREAM) == (3, ())
        stored = await store.read_mailbox(BOX)
        assert [(s.id, s.frame) for s in stored] == [(r.id, r.frame) for r in (rows[0], rows[2])]
        assert await store.read_mailbox(BOX_2) == []
        record = await store.mailbox(BOX)
        assert record is not None
        assert (record.registration, record.envelopes, record.bytes) == (b"registration", 2, 200)


async def test_a_batch_of_any_size_is_stored_whole_and_once(tmp_path: Path) -> None:
    """Rows are inserted some at a time."""
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        wanted: list[bytes] = []
        for size in (1, 31, 32, 33, 100):
            rows = [inb() for _ in range(size)]
            wanted += [row.id for row in rows]
            assert None not in await store.store_inbound(rows)
            fresh = inb()
            wanted.append(fresh.id)
            keys = await store.store_inbound([*rows, fresh])
            assert [key is not None for key in keys] == [False] * size + [True]
        assert [row.id for row in await store.read_mailbox(BOX)] == wanted
        record = await store.mailbox(BOX)
        assert record is not None
        assert (record.envelopes, record.bytes) == (len(wanted), 100 * len(wanted))


@pytest.mark.spec("relay-19", "relay-20")
async def test_duplicates_are_known_after_delivery_and_restart(tmp_path: Path) -> None:
    row = inb()
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        await store.store_inbound([row], at(1))
        assert await delete(store, row.id) == 1
    async with Store.open(tmp_path / "s", clock=clock) as store:
        fresh = inb()
        keys = await store.store_inbound([row, fresh, fresh], at(3, stream=b"stream-2"))
        assert [key is not None for key in keys] == [False, True, False]
        record = await store.mailbox(BOX)
        assert record is not None
        assert (record.envelopes, record.bytes) == (1, 100)


async def test_mailboxes(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.mailbox(BOX) is None
        record = await store.put_mailbox(BOX, b"one", NOW)
        assert await store.put_mailbox(BOX, b"two", NOW + 1) is record
        assert (record.registration, record.claimed) == (b"two", NOW + 1)
        for later, noted in ((limits.CLAIM_NOTED, 1), (limits.CLAIM_NOTED + 3, limits.CLAIM_NOTED + 3)):
            await store.put_mailbox(BOX, b"two", NOW + later)  # not written down each time
            assert (record.registration, record.claimed) == (b"two", NOW + noted)
        await store.put_mailbox(BOX_2, b"", NOW)
        assert set(await store.mailboxes([BOX, BOX_2, MailboxId(bytes(32))])) == {BOX, BOX_2}
        assert await store.delete_inbound([1, 2]) == 0


async def test_memory_of_mailboxes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_MAILBOX_MEMORY", 3)
    boxes = [MailboxId(bytes([n]) * 32) for n in range(6)]
    async with Store.open(tmp_path / "s", clock=clock) as store:
        for box in boxes:
            await store.put_mailbox(box, b"", NOW)
        for n in range(4):
            for box in boxes:
                await store.store_inbound([inb(box)], at(n))
        assert len(store._mailboxes) == len(store._numbers) == 3
        for box in boxes:
            record = await store.mailbox(box)
            assert record is not None
            assert record.envelopes == 4


@pytest.mark.spec("relay-18")
async def test_expiry(tmp_path: Path) -> None:
    soon, skew = int(NOW) + 10, limits.CLOCK_SKEW
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.enqueue_outbound(A, [out(soon), out(), out(soon)])
        await store.put_mailbox(BOX, b"", NOW)
        taken, kept, gone = inb(expiry=soon), inb(), inb(expiry=soon)
        await store.store_inbound([taken, kept, gone], at(3))
        await delete(store, taken.id)
        nothing = await store.expire(soon)
        assert (nothing.outbound, nothing.inbound, nothing.forgotten) == (0, 0, 0)
        half = await store.expire(soon + 1)
        assert (half.outbound, half.inbound, half.forgotten) == (2, 0, 0)
        whole = await store.expire(soon + 1 + skew)
        assert (whole.inbound, whole.forgotten, whole.mailboxes) == (1, 2, 0)
        assert store.outbound_depth(A) == (1, 100)
        record = await store.mailbox(BOX)
        assert record is not None
        assert (record.envelopes, record.bytes) == (1, 100)
        assert [s.id for s in await store.read_mailbox(BOX)] == [kept.id]


@pytest.mark.spec("relay-19")
async def test_an_id_is_remembered_as_long_as_its_envelope_would_be_taken(tmp_path: Path) -> None:
    row = inb(expiry=int(NOW) + 10)
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        await store.store_inbound([row], at(1))
        await delete(store, row.id)
        await store.expire(row.expiry + limits.CLOCK_SKEW)  # relay.check_lifetime still takes it at this moment
        assert await store.store_inbound([row], at(2)) == [None]


async def test_a_key_given_out_again_does_not_expire_with_its_former_owner(tmp_path: Path) -> None:
    old, young = inb(expiry=int(NOW) + 1), inb()
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        old_key = await store.store_inbound([old], at(1))
        await delete(store, old.id)
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.store_inbound([young], at(2)) == old_key
        await store.expire(NOW + 1000)
        assert len(await store.read_mailbox(BOX)) == 1


async def test_idle_mailboxes_are_forgotten(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        await store.put_mailbox(BOX_2, b"", NOW + 100)
        far = int(NOW) + 2 * limits.MAILBOX_IDLE
        keys = await store.store_inbound([inb(expiry=far), inb(expiry=far)], at(2))
        assert await store.delete_inbound([key for key in keys[1:] if key]) == 1
        assert (await store.expire(NOW + limits.MAILBOX_IDLE + 50)).mailboxes == 1
        left = "SELECT row FROM inbound UNION ALL SELECT row FROM inbound_gone"
        assert await store._do(lambda database: database.execute(left).fetchall()) == []
        assert set(await store.mailboxes([BOX, BOX_2])) == {BOX_2}
        again = await store.put_mailbox(BOX, b"", NOW)
        assert again.envelopes == 0
        assert await store.read_mailbox(BOX) == []


async def test_the_sweep_works_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_SWEEP_ROWS", 2)
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.enqueue_outbound(A, [out() for _ in range(5)])
        await store.put_mailbox(BOX, b"", NOW)
        await store.store_inbound([inb() for _ in range(5)], at(5))
        swept = await store.expire(LATER + 1000)
        assert (swept.outbound, swept.inbound, swept.forgotten) == (5, 5, 5)


def _always(judgement: Judgement, _: Standing) -> Judgement:
    return judgement


async def test_pins_and_backoff(tmp_path: Path) -> None:
    pin = Pin(domain=A, fingerprint=Fingerprint(bytes(32)), first_seen=1.5, last_seen=2.5)
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.pin(A) is None
        assert await store.backoff(A) is None
        for kept in (pin, pin.seen(9.5)):
            judgement = Judgement(verdict=IdentityVerdict.MATCH, reason="", standing=Standing(pin=kept))
            await store.decide_standing(A, partial(_always, judgement))
        await store.put_backoff(A, Backoff(failures=1, next_attempt=3.5))
        await store.put_backoff(A, Backoff(failures=2, next_attempt=4.5))
        await store.put_backoff(B, Backoff(failures=1, next_attempt=4.5))
        await store.put_backoff(B, None)
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.pin(A) == pin.seen(9.5)
        assert await store.backoff(A) == Backoff(failures=2, next_attempt=4.5)
        assert await store.backoff(B) is None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([5], [(5, 5)]),
        ([5, 6, 7], [(5, 7)]),
        ([7, 5, 6], [(5, 7)]),
        ([1, 3, 4, 9], [(1, 1), (3, 4), (9, 9)]),
        ([4, 4, 5], [(4, 5)]),
    ],
)
def test_rows_that_follow_each_other_are_one_span(rows: list[int], expected: list[tuple[int, int]]) -> None:
    assert spans(rows) == expected
