"""How far peers' streams have come: contiguous, with the refusals of the last window, in one transaction."""

from pathlib import Path

import apsw
import pytest

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.store.store import InboundRow, Position, Store
from volly_fed.errors import StorageError
from volly_fed.names import MailboxId, parse_domain
from volly_fed.wire.messages import Refusal

A, B = parse_domain("a.test"), parse_domain("b.test")
NOW = 1_800_000_000.0
STREAM = b"stream-1"
BOX = MailboxId(bytes(32))


def clock() -> float:
    return NOW


def at(first: int, last: int, *refusals: Refusal, stream: bytes = STREAM) -> Position:
    return Position(A, stream, first, last, refusals)


def no(sequence: int, text: str = "no") -> Refusal:
    return sequence, ErrorCode.UNDELIVERABLE, text


def row(number: int, size: int = 100) -> InboundRow:
    return InboundRow(BOX, number.to_bytes(16, "big"), int(NOW) + 3600, 1, bytes(size))


async def test_the_cursor_never_goes_back(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.store_inbound([], at(1, 9))
        await store.store_inbound([], at(1, 5))
        assert await store.cursor(A, STREAM) == (9, ())


async def test_a_peer_has_few_streams(tmp_path: Path) -> None:
    now = NOW
    async with Store.open(tmp_path / "s", clock=lambda: now) as store:
        for n in range(limits.STREAMS_PER_PEER + 2):
            now += 1
            await store.store_inbound([], at(1, 7, stream=b"%08d" % n))
        cursors = [await store.cursor(A, b"%08d" % n) for n in range(limits.STREAMS_PER_PEER + 2)]
        assert cursors == [(0, ())] * 2 + [(7, ())] * limits.STREAMS_PER_PEER


@pytest.mark.spec("session-19")
async def test_the_cursor_moves_over_no_gap(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        await store.store_inbound([row(1)], at(1, 5))
        with pytest.raises(StorageError, match="before this one"):
            await store.store_inbound([row(2)], at(7, 9, no(8)))
        assert await store.cursor(A, STREAM) == (5, ())
        with pytest.raises(StorageError):
            await store.store_inbound([], at(2, 2, stream=b"unheard."))
        assert len(await store.read_mailbox(BOX)) == 1
        await store.store_inbound([row(2)], at(6, 9, no(8)))
        assert await store.cursor(A, STREAM) == (9, (no(8),))


async def test_what_follows_a_batch_that_failed_fails_too(tmp_path: Path) -> None:
    """The disk has no room for one batch, and would have some for the next: the cursor must not cover the first."""
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.put_mailbox(BOX, b"", NOW)
        await store.store_inbound([row(1)], at(1, 1))

        def full(database: apsw.Connection) -> None:
            database.pragma("max_page_count", database.pragma("page_count") + 3)

        await store._do(full)
        jobs = [
            await store.begin_inbound([row(2, 60_000)], at(2, 2)),
            await store.begin_inbound([row(3)], at(3, 3)),
            await store.begin_inbound([], at(4, 4, no(4))),
        ]
        for job in jobs:
            with pytest.raises(StorageError):
                await job.wait()
        assert await store.cursor(A, STREAM) == (1, ())
        assert len(await store.read_mailbox(BOX)) == 1


@pytest.mark.spec("session-6")
async def test_refusals_are_kept_for_one_window(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.store_inbound([], at(1, 10, no(3), no(10)))
        await store.store_inbound([], at(11, limits.WINDOW_ENVELOPES + 2, no(11)))
    async with Store.open(tmp_path / "s", clock=clock) as store:
        assert await store.cursor(A, STREAM) == (limits.WINDOW_ENVELOPES + 2, (no(3), no(10), no(11)))
        await store.store_inbound([], at(limits.WINDOW_ENVELOPES + 3, limits.WINDOW_ENVELOPES + 3))
        assert (await store.cursor(A, STREAM))[1] == (no(10), no(11))


async def test_of_two_decisions_the_later_one_counts(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        await store.store_inbound([], at(1, 9, no(2), no(3), no(5)))
        await store.store_inbound([], at(3, 5, no(3, "still not")))  # of a former link, or of the next one
        assert await store.cursor(A, STREAM) == (9, (no(2), no(3, "still not")))


async def test_a_stream_in_use_stays_whatever_the_clock_does(tmp_path: Path) -> None:
    """Several links in one second, or after the clock was set back: what is forgotten is what was not used."""
    times = [5_000_000_000.0]
    for generation in range(2):
        async with Store.open(tmp_path / "s", clock=lambda: times[0]) as store:
            for n in range(limits.STREAMS_PER_PEER * 2):
                number = generation * limits.STREAMS_PER_PEER * 2 + n + 1
                await store.store_inbound([], at(number, number))
                await store.store_inbound([], at(1, 7, stream=b"%08d" % number))
            assert await store.cursor(A, STREAM) == (number, ())
        times[0] -= 1_000_000_000


async def test_refusals_go_with_their_stream(tmp_path: Path) -> None:
    now = NOW
    async with Store.open(tmp_path / "s", clock=lambda: now) as store:
        for n in range(limits.STREAMS_PER_PEER + 2):
            now += 1
            await store.store_inbound([], at(1, 7, no(7), stream=b"%08d" % n))
        count = await store._do(lambda database: database.execute("SELECT count(*) FROM refused").fetchall())
        assert count == [(limits.STREAMS_PER_PEER,)]


async def test_refusals_the_peer_has_heard_of_do_not_pile_up(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "s", clock=clock) as store:
        for number in range(1, 4 * limits.WINDOW_ENVELOPES, 512):
            await store.store_inbound([], at(number, number + 511, no(number)))
            kept = await store._do(lambda database: database.execute("SELECT 1 FROM refused").fetchall())
            assert len(kept) <= 2 * limits.WINDOW_ENVELOPES // 512
