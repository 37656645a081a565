"""Peers: which link stays, and what becomes of what the other one owed."""

import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.daemon.sites import A, B, Site, envelope, material, sites
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.link import Pending
from volly_fed.daemon.store.store import outbound_row
from volly_fed.errors import RemoteError
from volly_fed.relay.envelope import read_head
from volly_fed.wire.messages import Refusal


@pytest.mark.spec("handshake-29")
@pytest.mark.parametrize("attempt", range(4))
@pytest.mark.spec("session-37")
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


@pytest.mark.spec("session-36")
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
        await a.store.enqueue_outbound(B, [outbound_row(read_head(f), f) for f in [envelope(B)]])
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


@pytest.mark.spec("trust-13")
async def test_a_reload_ends_links_whose_level_allows_none(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)
        assert a.server.peers.judge_again(lambda _: TrustLevel.FULL) == 0
        assert a.server.peers.judge_again(lambda _: TrustLevel.NONE) == 1
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


@pytest.mark.spec("trust-13")
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


async def test_what_an_old_link_owes_its_peer_is_told_on_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its envelope is refused, and the acknowledgement has not left, when another link takes over."""
    a, b = sites(tmp_path, A, B)
    told: list[ErrorCode] = []
    from_peer, committed = Intake.from_peer, trio.Event()

    async def from_peer_and_say_nothing(*arguments: Any) -> Pending:
        pending = await from_peer(*arguments)

        async def silence() -> tuple[Refusal, ...]:
            await pending()
            committed.set()
            await trio.sleep_forever()
            raise AssertionError

        return silence

    async with a.running(), b.running(), trio.open_nursery() as nursery:
        await b.register()
        settled = a.server.peers.on_refused

        def refused(rows: list[int], outcomes: list[tuple[int, ErrorCode, str]]) -> None:
            told.extend(code for _, code, _ in outcomes)
            settled(rows, outcomes)

        a.server.peers.on_refused = refused
        monkeypatch.setattr(Intake, "from_peer", from_peer_and_say_nothing)
        await a.submit(envelope(B, capability=bytes(16)))
        await committed.wait()
        nursery.start_soon(a.server.peers.dialer.dial, B, a.server.peers.converse)
        await a.until(lambda: len(a.settled) == 1)
        assert told == [ErrorCode.UNDELIVERABLE]
        nursery.cancel_scope.cancel()
