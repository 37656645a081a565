"""Peers: the queue that outlives links, and back-off."""

import time
from collections.abc import Iterable
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from tests.daemon.sites import BOX, A, B, Site, endpoint, envelope, sites, some_limits
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.store import outbound
from volly_fed.daemon.store.chunks import OUTBOUND, Sums, Table, delete_envelopes
from volly_fed.daemon.store.store import Backoff, Store, outbound_row
from volly_fed.errors import StorageError
from volly_fed.relay.envelope import read_head


async def test_an_envelope_reaches_the_peer_and_leaves_our_disk(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        frame = envelope(B)
        assert await a.submit(frame) == ()
        await a.until(lambda: len(a.settled) == 1)
        assert b.arrived == [frame]
        assert [row.frame for row in await b.store.read_mailbox(BOX)] == [frame]
        assert await a.store.read_outbound(B, EnvelopeClass.SIGNAL) == []
        await a.log.wait("pinned", peer=B)
        await b.log.wait("pinned", peer=A)


async def test_the_same_link_carries_the_other_queue(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await a.register()
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        await b.submit(envelope(A))
        await b.until(lambda: len(b.settled) == 1)
        assert len(a.log.all("link_up")) == len(b.log.all("link_up")) == 1


async def test_a_backlog_leaves_at_start_without_new_traffic(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    frames = [envelope(B) for _ in range(limits.WINDOW_ENVELOPES + 300)]
    async with Store.open(a.folder / "store.db") as store:
        await store.enqueue_outbound(B, [outbound_row(read_head(f), f) for f in frames])
    b.limits = some_limits(backoff_cap=0.05, mailbox_envelopes=10_000, mailbox_bytes=1 << 30)
    async with b.running():
        await b.register()
        async with a.running():
            await a.until(lambda: len(a.settled) == len(frames))
            assert sorted(b.arrived) == sorted(frames)


async def test_what_is_urgent_does_not_wait_behind_a_backlog_on_the_disk(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    urgencies = [EnvelopeClass.BULK] * (limits.WAITING_ENVELOPES + 100) + [EnvelopeClass.SIGNAL, EnvelopeClass.RING]
    frames = [envelope(B, urgency=urgency) for urgency in urgencies]
    async with Store.open(a.folder / "store.db") as store:
        await store.enqueue_outbound(B, [outbound_row(read_head(f), f) for f in frames])
    b.limits = some_limits(backoff_cap=0.05, mailbox_envelopes=10_000, mailbox_bytes=1 << 30)
    async with b.running():
        await b.register()
        async with a.running():
            await a.until(lambda: len(a.settled) == len(frames))
    bulk, (signal, ring) = frames[:-2], frames[-2:]
    assert b.arrived[0] == ring
    assert b.arrived.index(signal) <= limits.BATCH_ENVELOPES
    assert [frame for frame in b.arrived if frame not in {ring, signal}] == bulk


async def test_what_waits_for_a_peer_that_is_away_goes_when_the_peer_calls(tmp_path: Path) -> None:
    """With a back-off that would last for long."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running(listening=False):
        await a.store.put_backoff(B, Backoff(failures=9, next_attempt=time.time() + 3600))
        a.server.peers.attempts.cap = 3600
        a.resolver.known = {**a.resolver.known, B: endpoint(B, 1)}  # nobody listens there
        await a.submit(envelope(B))
        await b.register()
        await a.register()
        await b.submit(envelope(A))
        await a.until(lambda: len(a.settled) == 1)
        assert a.log.all("link_up")[0]["role"] == "acceptor"
        await _forgotten(a)


async def _forgotten(site: Site) -> None:
    """Deleting what was settled comes first: until the back-off is gone too."""
    while await site.store.backoff(B) is not None:
        await trio.lowlevel.checkpoint()


async def test_the_back_off_is_on_disk_before_the_attempt_and_gone_after_success(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    seen: list[Backoff | None] = []
    async with a.running(), b.running():
        await b.register()
        a.resolver.hold = trio.Event()
        await a.submit(envelope(B))
        while B not in a.resolver.asked:
            await trio.testing.wait_all_tasks_blocked()
        seen.append(await a.store.backoff(B))
        a.resolver.hold.set()
        await a.until(lambda: len(a.settled) == 1)
        await _forgotten(a)
    assert seen[0] is not None
    assert seen[0].failures == 1


async def test_the_back_off_grows_survives_a_restart_and_the_backlog_goes_in_the_end(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running():
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B, count=3)
    async with a.running():
        await a.log.wait("dial_failed", peer=B, count=5)
        backoff = await a.store.backoff(B)
        assert backoff is not None
        assert backoff.failures >= 5
        async with b.running():
            await b.register()
            await a.until(lambda: len(a.settled) == 1)


async def test_a_peer_that_comes_back_gets_the_rest_and_nothing_twice(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    first, second = envelope(B), envelope(B)
    async with a.running():
        async with b.running():
            await b.register()
            await a.submit(first)
            await a.until(lambda: len(a.settled) == 1)
        await a.submit(second)
        async with b.running():
            await a.until(lambda: len(a.settled) == 2)
            assert [row.frame for row in await b.store.read_mailbox(BOX)] == [first, second]


async def test_a_full_disk_over_there_refuses_and_the_envelope_goes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OVERLOAD_RETRY", 0.05)
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        await b.refuse_writes(full=True)
        frames = [envelope(B, body=65536) for _ in range(8)]
        assert await a.submit(*frames) == ()
        await b.log.wait("storage_failed")
        assert len(a.settled) < 1 + len(frames)
        await b.refuse_writes(full=False)
        await a.until(lambda: len(a.settled) == 1 + len(frames))
        stored = [row.frame for row in await b.store.read_mailbox(BOX)]
        assert len(stored) == len(set(stored))
        assert set(frames) < set(stored)


async def test_what_cannot_be_deleted_now_is_deleted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would count against the queue, and be sent again, for as long as it lives."""
    monkeypatch.setattr(limits, "OVERLOAD_RETRY", 0.01)
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        failures = 4  # the first is not waited for, and not told

        def full(database: apsw.Connection, table: Table, rows: Iterable[int]) -> Sums:
            nonlocal failures
            if failures and table is OUTBOUND:
                failures -= 1
                raise StorageError("the disk is full")
            return delete_envelopes(database, table, rows)

        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        await _forgotten(a)  # what the first one settles ends a back-off too, and is waited for
        monkeypatch.setattr(outbound, "delete_envelopes", full)
        await a.submit(envelope(B))
        with trio.fail_after(10):
            while failures or a.store.outbound_depth(B) != (0, 0):
                await a.store.backoff(B)


async def test_what_is_about_to_be_deleted_is_not_owed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_PATIENCE", 10.0)
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        await _forgotten(a)
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 2)
        peer = a.server.peers._peer(B)
        assert a.store.outbound_depth(B)[0] == peer.deleting == 1
        assert not a.server.peers._want(peer)
        assert not peer.idle


@pytest.mark.spec("relay-18")
async def test_what_expires_before_it_was_sent_is_not_sent(tmp_path: Path) -> None:
    """Though it waits in memory: the disk was read to its end before."""
    a, b = sites(tmp_path, A, B)
    refused: list[ErrorCode] = []
    async with a.running():
        async with b.running():
            await b.register()
            await a.submit(envelope(B))
            await a.until(lambda: len(a.settled) == 1)
        await a.log.wait("link_down")
        old, young = envelope(B, expiry=time.time() + 100), envelope(B)
        await a.submit(old, young)
        assert a.server.peers._peer(B).outbound.waiting == 2
        settled = a.server.peers.on_refused

        def note(rows: list[int], outcomes: list[tuple[int, ErrorCode, str]]) -> None:
            refused.extend(code for _, code, _ in outcomes)
            settled(rows, outcomes)

        a.server.peers.on_refused = note
        a.server.peers.expired((await a.store.expire(time.time() + 200)).outbound_rows)
        assert refused == [ErrorCode.EXPIRED]
        async with b.running():
            await a.until(lambda: len(a.settled) == 3)
            assert b.arrived[1:] == [young]


@pytest.mark.spec("session-3")
async def test_every_process_has_streams_of_its_own(tmp_path: Path) -> None:
    """tests/session/test_acknowledgement.py shows why: numbers that were sent and never synced are given out again."""
    (a,) = sites(tmp_path, A)
    streams = set()
    for _ in range(3):
        async with a.running(listening=False):
            await a.submit(envelope(B))
            streams |= {a.server.peers._peer(B).outbound.stream, a.server.peers._peer(A).outbound.stream}
    assert len(streams) == 6
