"""Peers: the queue that outlives links, back-off, which link wins, and what a hostile peer can do to the others."""

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import BOX, A, B, Site, endpoint, envelope, material, sites, some_limits
from volly_fed import limits
from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.connection import Accepted, Connection, accept
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.peers import _pause
from volly_fed.daemon.store.store import Backoff, Store, outbound_row
from volly_fed.daemon.tls import make_context
from volly_fed.errors import ChannelError, RemoteError, StorageError
from volly_fed.handshake import Claimed, Outcome, Party
from volly_fed.names import DomainName, Fingerprint
from volly_fed.relay.envelope import parse_envelope
from volly_fed.trust.policy import Policy
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Ack, Batch, Open


async def test_an_envelope_reaches_the_peer_and_leaves_our_disk(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        frame = envelope(B)
        assert await a.submit(frame) == ()
        await a.until(lambda: len(a.settled) == 1)
        assert b.arrived == [frame]
        assert [row.frame for row in await b.store.read_mailbox(BOX)] == [frame]
        assert await a.store.read_outbound(B) == []
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
        await store.enqueue_outbound(B, [outbound_row(parse_envelope(f), f) for f in frames])
    b.limits = some_limits(backoff_cap=0.05, mailbox_envelopes=10_000, mailbox_bytes=1 << 30)
    async with b.running():
        await b.register()
        async with a.running():
            await a.until(lambda: len(a.settled) == len(frames))
            assert sorted(b.arrived) == sorted(frames)


async def test_what_waits_for_a_peer_that_is_away_goes_when_the_peer_calls(tmp_path: Path) -> None:
    """With a back-off that would last for long."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running(listening=False):
        await a.store.put_backoff(B, Backoff(failures=9, next_attempt=time.time() + 3600))
        a.server.peers.backoff_cap = 3600
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


def test_a_peer_that_is_dead_for_days_does_not_end_the_process() -> None:
    assert _pause(1, 300.0) == limits.BACKOFF_FIRST
    assert _pause(2, 300.0) == limits.BACKOFF_FIRST * limits.BACKOFF_GROWTH
    assert _pause(1_000_000, 300.0) == 300.0


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
        settle, failures = a.store.settle_outbound, 3

        async def full(rows: list[int]) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise StorageError("the disk is full")
            await settle(rows)

        monkeypatch.setattr(a.store, "settle_outbound", full)
        await a.submit(envelope(B))
        await a.log.wait("storage_failed", count=3)
        await _forgotten(a)
        assert a.store.outbound_depth(B) == (0, 0)


# --- which link stays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", range(4))
async def test_of_two_links_dialled_at_once_both_sides_keep_the_same_one(tmp_path: Path, attempt: int) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await a.register()
        await b.register()
        hold = a.resolver.hold = trio.Event()  # both look each other up, and then both dial
        await a.submit(envelope(B))
        await b.submit(envelope(A))
        while {A, B} - set(a.resolver.asked):
            await trio.testing.wait_all_tasks_blocked()
        hold.set()
        a.resolver.hold = None
        for count in (1, 2):
            await _both_settled(a, b, count)
            if count == 1:
                await a.submit(envelope(B))
                await b.submit(envelope(A))
        ours, theirs = a.server.peers._peer(B), b.server.peers._peer(A)
        assert ours.link is not None
        assert theirs.link is not None
        assert ours.dialled_by_us is not theirs.dialled_by_us


async def _both_settled(a: Site, b: Site, count: int) -> None:
    await a.until(lambda: len(a.settled) == count)
    await b.until(lambda: len(b.settled) == count)


async def test_the_newer_link_takes_over_and_nothing_is_lost(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running(), trio.open_nursery() as nursery:
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        nursery.start_soon(a.server.peers.dialer.dial, B, a.server.peers.converse)
        await a.log.wait("link_up", count=2)
        await a.log.wait("link_down", code="REPLACED")
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 2)
        nursery.cancel_scope.cancel()


async def test_a_read_that_a_replaced_link_began_does_not_wedge_the_backlog(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    disk = threading.Event()
    async with a.running(listening=False), trio.open_nursery() as nursery:
        await a.store.enqueue_outbound(B, [outbound_row(parse_envelope(f), f) for f in [envelope(B)]])
        peer = a.server.peers._peer(B)
        a.store._begin(lambda _: disk.wait(10))
        former = await nursery.start(_feeding, a)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(a.server.peers._feed, peer)  # the newer link's: it finds that somebody reads already
        await trio.testing.wait_all_tasks_blocked(0.01)
        former.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        peer.changed()  # the former link has ended
        disk.set()
        with trio.fail_after(2):
            while not peer.outbound.waiting:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def _feeding(site: Site, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await site.server.peers._feed(site.server.peers._peer(B))


async def test_a_reload_ends_links_of_another_level(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        assert a.server.peers.judge_again(lambda _: TrustLevel.FULL) == 0
        assert a.server.peers.judge_again(lambda _: TrustLevel.METADATA) == 1
        await b.log.wait("link_down", code="POLICY")


async def test_a_link_on_an_identity_that_counts_no_more_ends(tmp_path: Path) -> None:
    """The operator holds the peer to another identity: whoever has stolen the former one does not keep its link."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        a.server.judge.accepted(B, material(B).fingerprint)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert a.log.all("link_down") == []
        a.server.judge.accepted(B, material(A).fingerprint)
        await b.log.wait("link_down", code="IDENTITY_MISMATCH")
        await a.log.wait("link_down")


async def test_a_link_that_was_judged_before_a_reload_is_judged_again(tmp_path: Path) -> None:
    """It was in the middle of its handshake then, and no link that the reload could end."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():

        async def converse(connection: Connection, level: TrustLevel) -> None:
            a.server.peers.judge_again(lambda _: TrustLevel.NONE)
            await a.server.peers.converse(connection, level)

        with trio.fail_after(5), pytest.raises(RemoteError, match="trust level has changed") as caught:
            await a.server.peers.dialer.dial(B, converse)
        assert caught.value.code is ErrorCode.POLICY
        assert a.log.all("link_up") == []


async def test_draining_makes_no_new_links_though_envelopes_wait(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        a.server.peers.drain()
        await a.submit(envelope(B))
        with trio.fail_after(limits.DRAIN / 2):
            await a.server.peers.wait_idle()
        await b.log.wait("link_down", code="SHUTTING_DOWN")
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert a.resolver.asked.count(B) == 1
        assert len(a.log.all("link_up")) == 1


# --- hostile peers ---------------------------------------------------------------------------------------------------

Behave = Callable[[Connection], Awaitable[None]]


@attrs.define
class Rogue:
    """A peer with a proved identity that does what a test likes with its connections."""

    behave: Behave
    calls: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        keys = material(B)

        async def admit(_: Claimed, __: Negotiated) -> frozenset[Fingerprint]:
            return frozenset({material(A).fingerprint})

        async def confirm(_: Outcome) -> None:
            pass

        plan = Accepted(
            context=make_context(FEDERATION, server=True, identity=tls_identity(keys)),
            party=Party(name=B, key=keys.identity),
            admit=admit,
            confirm=confirm,
            use=self._use,
        )
        with suppress(ChannelError):
            await accept(stream, plan, proved=lambda: None)

    async def _use(self, connection: Connection) -> None:
        self.calls += 1
        with suppress(ChannelError, trio.EndOfChannel):
            await self.behave(connection)


@asynccontextmanager
async def rogue(a: Site, behave: Behave) -> AsyncIterator[Rogue]:
    peer = Rogue(behave)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    a.resolver.known = {**a.resolver.known, B: endpoint(B, port)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, peer.serve, listeners)
        yield peer
        nursery.cancel_scope.cancel()


async def hang_up(_: Connection) -> None:
    pass


async def overloaded(connection: Connection) -> None:
    """Answers every envelope with "later"."""
    socket = connection.socket
    while True:
        message = parse_message(await socket.receive())
        if isinstance(message, Open):
            await socket.send(encode_message(Ack(stream=message.stream, cursor=0)))
        elif isinstance(message, Batch):
            last = message.first + len(message.envelopes) - 1
            refusals = tuple((n, ErrorCode.OVERLOADED, "full") for n in range(message.first, last + 1))
            await socket.send(encode_message(Ack(stream=message.stream, cursor=last, refusals=refusals)))


async def test_a_peer_that_proves_itself_and_hangs_up_is_not_dialled_without_pause(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    a.limits = some_limits(backoff_cap=3600.0)
    async with a.running(listening=False), rogue(a, hang_up) as peer:
        await a.submit(envelope(B))
        await a.log.wait("link_down", count=2)
        backoff = await a.store.backoff(B)
        assert backoff is not None
        assert backoff.failures == peer.calls == 2


async def test_a_peer_that_never_has_room_holds_little_of_our_memory(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    total = 4 * limits.WINDOW_ENVELOPES
    frames = [envelope(B) for _ in range(total)]
    async with a.running(listening=False), rogue(a, overloaded):
        # before it has said so even once, all that is submitted waits in memory for the link: another limit
        await a.submit(*frames[: limits.BATCH_ENVELOPES])
        await a.until(lambda: a.server.peers._peer(B).room() == 0)
        for at in range(limits.BATCH_ENVELOPES, total, limits.BATCH_ENVELOPES):
            await a.submit(*frames[at : at + limits.BATCH_ENVELOPES])
        most = 0
        for _ in range(40):
            await trio.testing.wait_all_tasks_blocked(0.005)
            most = max(most, a.server.peers._peer(B).unsettled)
        assert limits.BATCH_ENVELOPES <= most <= 3 * limits.WINDOW_ENVELOPES
        assert a.settled == []
        assert a.store.outbound_depth(B)[0] == total


async def test_a_dead_peer_costs_the_others_nothing(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        nowhere = [DomainName(f"n{number}.test") for number in range(20)]
        for domain in nowhere:
            await a.submit(envelope(domain))
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)


async def test_the_number_of_peers_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEERS", 2)
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        assert await a.submit(envelope(DomainName("one.test")), envelope(DomainName("two.test"))) == ()
        (refusal,) = await a.submit(envelope(B), envelope(DomainName("one.test")))
        assert refusal[1] is ErrorCode.OVERLOADED
        await b.submit(envelope(A))
        await a.log.wait("claim_refused", code="BUSY")


async def test_a_peer_without_work_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEER_LINGER", 0.02)
    a, b = sites(tmp_path, A, B)
    async with a.running():
        async with b.running():
            await b.register()
            await a.submit(envelope(B))
            await a.until(lambda: len(a.settled) == 1)
            assert B in a.server.peers._peers
        await a.log.wait("link_down")
        while a.server.peers._peers:
            await trio.testing.wait_all_tasks_blocked()
        async with b.running():
            await a.submit(envelope(B))
            await a.until(lambda: len(a.settled) == 2)


async def test_no_link_with_whom_the_policy_refuses_and_envelopes_wait(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.policy = Policy(default=TrustLevel.NONE)
    async with a.running(), b.running():
        await a.submit(envelope(B))
        failure = await a.log.wait("dial_failed", peer=B)
        assert "policy" in failure["reason"]
        assert "default" not in failure["reason"]  # the rule that decided stays over there
        assert (await b.log.wait("decided", gate="accept"))["reason"].count("default") == 1
        assert a.store.outbound_depth(B)[0] == 1
        assert b.log.all("link_up") == []
