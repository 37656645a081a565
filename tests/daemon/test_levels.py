"""Levels that change while links are up: narrowed at once, widened at once, and nothing lost on the way."""

import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.daemon.sites import A, B, Site, envelope, sites, some_limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.link import Link
from volly_fed.daemon.peer import Peer
from volly_fed.names import DomainName
from volly_fed.session import Received
from volly_fed.trust.policy import Policy

FULL, METADATA, NONE = TrustLevel.FULL, TrustLevel.METADATA, TrustLevel.NONE


def use(site: Site, level: TrustLevel) -> int:
    """As a reload does that finds this level for everybody: how many links end."""
    ended, _ = site.server._use_policy(Policy(default=level))
    return ended


def peer_of(site: Site, domain: DomainName) -> Peer:
    return site.server.peers._peers[domain]


def link_of(site: Site, domain: DomainName) -> Link[int]:
    link = peer_of(site, domain).link
    assert link is not None
    return link


async def linked(a: Site, b: Site) -> None:
    """One envelope each way has gone over one link."""
    for site in (a, b):
        await site.register()
    await a.submit(envelope(B))
    await a.until(lambda: len(a.settled) == 1)
    await b.submit(envelope(A))
    await b.until(lambda: len(b.settled) == 1)


def refusals(site: Site) -> list[ErrorCode]:
    """What peers refuse of what `site` sends, from now on."""
    seen: list[ErrorCode] = []
    whole = site.server.peers.on_refused

    def note(rows: list[int], refused: list[tuple[int, ErrorCode, str]]) -> None:
        seen.extend(code for _, code, _ in refused)
        whole(rows, refused)

    site.server.peers.on_refused = note
    return seen


async def quiet() -> None:
    """Until nothing happens any more."""
    await trio.testing.wait_all_tasks_blocked(0.05)


@pytest.mark.spec("trust-12")
async def test_a_lowered_level_narrows_the_link_at_once_and_a_raised_one_widens_it(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        link, refused = link_of(a, B), refusals(b)
        link_of(b, A).grant(0, 0)
        await quiet()
        accepted = [envelope(B) for _ in range(3)]
        assert await a.submit(*accepted) == ()  # and waits for credit

        assert use(a, METADATA) == 0
        link_of(b, A).grant()
        assert [code for _, code, _ in await a.submit(envelope(B))] == [ErrorCode.POLICY]
        await b.submit(envelope(A))
        await b.until(lambda: len(b.settled) == 2)
        await quiet()
        assert refused == [ErrorCode.POLICY]
        assert (len(a.arrived), len(b.arrived), len(a.settled)) == (1, 1, 1)
        assert a.store.outbound_depth(B)[0] == 3, "what was accepted before waits"

        assert use(a, FULL) == 0
        await a.until(lambda: len(a.settled) == 4)
        assert b.arrived[1:] == accepted
        await b.submit(envelope(A))
        await b.until(lambda: len(b.settled) == 3)
        assert (len(a.arrived), refused) == (2, [ErrorCode.POLICY])
        assert link_of(a, B) is link
        assert len(a.log.all("link_up")) == 1


@pytest.mark.parametrize("level", [METADATA, NONE])
@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.spec("router-7")
async def test_what_still_comes_on_any_link_is_judged_by_the_new_level(
    tmp_path: Path, level: TrustLevel, replaced: bool
) -> None:
    """One that drains too, because of the level or because another has taken over: its other end may not know yet."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        handler = link_of(a, B)._handler
        if replaced:
            a.server.peers.renew()
            await a.log.wait("link_up", count=2)
            assert link_of(a, B)._handler is not handler
        use(a, level)
        pending = await handler.received(Received(stream=b"the other", first=1, envelopes=[envelope(A)]))
        assert [code for _, code, _ in await pending()] == [ErrorCode.POLICY]
        assert len(a.arrived) == 1


@pytest.mark.spec("trust-12")
async def test_a_batch_that_is_being_judged_is_judged_again(tmp_path: Path) -> None:
    """It came before the reload, and the store was asked for its mailboxes; it is not stored after the reload."""
    a, b = sites(tmp_path, A, B)
    disk = threading.Event()
    async with a.running(), b.running():
        await linked(a, b)
        refused = refusals(b)
        a.store._mailboxes.clear()
        a.store._numbers.clear()
        a.store._begin(lambda _: disk.wait(10))
        await b.submit(envelope(A))
        await quiet()
        use(a, METADATA)
        disk.set()
        await b.until(lambda: len(b.settled) == 2)
        assert refused == [ErrorCode.POLICY]
        assert len(a.arrived) == 1


@pytest.mark.spec("trust-14")
async def test_a_backlog_waits_over_a_restart_for_a_level_that_lets_it_out(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(listening=False):
        assert await a.submit(envelope(B)) == ()
    a.policy = Policy(default=METADATA)
    async with b.running(), a.running():
        await b.register()
        await a.log.wait("link_up", peer=B)
        await quiet()
        assert b.arrived == []
        use(a, FULL)
        await a.until(lambda: len(a.settled) == 1)
        assert len(b.arrived) == 1
        assert len(a.log.all("link_up")) == 1


async def test_a_link_that_was_judged_before_a_reload_has_the_level_after_it(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running(), trio.open_nursery() as nursery:

        async def converse(connection: Connection, level: TrustLevel) -> None:
            assert level is FULL
            use(a, METADATA)
            await a.server.peers.converse(connection, level)

        nursery.start_soon(a.server.peers.dialer.dial, B, converse)
        assert (await a.log.wait("link_up"))["trust"] == METADATA
        await a.register()
        refused = refusals(b)
        await b.submit(envelope(A))
        await b.until(lambda: len(b.settled) == 1)
        assert refused == [ErrorCode.POLICY]
        nursery.cancel_scope.cancel()


async def test_who_is_owed_something_is_dialled_at_once_when_it_may_be_again(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B, limits=some_limits(backoff_cap=3600))
    async with a.running(), b.running():
        await linked(a, b)
        link_of(b, A).grant(0, 0)
        await quiet()
        await a.submit(envelope(B))
        peer_of(a, B).standing.not_before = time.time() + 3600
        assert use(a, NONE) == 1
        await a.log.wait("link_down")
        await quiet()
        assert (peer_of(a, B).state, len(b.arrived)) == ("waiting", 1)
        with trio.fail_after(10):
            assert use(a, FULL) == 0
            await a.until(lambda: len(a.settled) == 2)
        assert len(b.arrived) == 2


async def test_the_log_says_which_levels_changed(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)

        for level in (FULL, METADATA, NONE):
            use(a, level)
        lines = a.log.all("level_changed", peer=B)
        assert [(line["before"], line["trust"]) for line in lines] == [("full", "metadata"), ("metadata", "none")]
