"""A new link in the place of an old one: nothing lost, nothing twice, in order; and the old one stays where none comes.

The times of limits.py are shortened here, so that what happens once a day happens at once.
"""

import math
import time
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import BOX, A, B, Site, endpoint, envelope, material, sites, some_limits
from volly_fed import limits
from volly_fed.codepoints import TrustLevel
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.credentials import Credentials
from volly_fed.daemon.link import Link
from volly_fed.daemon.peer import Peer
from volly_fed.names import DomainName
from volly_fed.trust import make_statement
from volly_fed.trust.policy import Policy

pytestmark = pytest.mark.slow

ROOMY = {"mailbox_envelopes": 100_000, "mailbox_bytes": 1 << 30}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dialled from both ends within this time counts as one: short, so that a test's links may be replaced."""
    monkeypatch.setattr(limits, "SIMULTANEOUS_DIAL", 0.2)


def link_of(site: Site, domain: DomainName) -> Link[int]:
    link = site.server.peers._peer(domain).link
    assert link is not None
    return link


def known(a: Site, b: Site) -> tuple[Peer, Peer]:
    return a.server.peers._peer(b.name), b.server.peers._peer(a.name)


async def linked(a: Site, b: Site) -> None:
    """`a` has dialled `b`, and has nothing more to say; the link is old enough to be replaced by either."""
    await a.register()
    await b.register()
    await a.submit(envelope(b.name))
    await a.until(lambda: len(a.settled) == 1)
    await trio.sleep(2 * limits.SIMULTANEOUS_DIAL)


async def delivered(site: Site) -> list[bytes]:
    frames: list[bytes] = []
    after = 0
    while rows := await site.store.read_mailbox(BOX, after):
        frames += [row.frame for row in rows]
        after = rows[-1].row
    return frames


# --- by age ----------------------------------------------------------------------------------------------------------


async def test_traffic_both_ways_goes_on_while_links_are_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LINK_AGE", 0.05)
    a, b = sites(tmp_path, A, B)
    a.limits, b.limits = some_limits(backoff_cap=0.05, **ROOMY), some_limits(backoff_cap=0.05, **ROOMY)
    sent: dict[DomainName, list[bytes]] = {A: [], B: []}

    async def talk(site: Site, to: DomainName) -> None:
        while len(site.log.all("link_up")) < 15:
            frames = [envelope(to) for _ in range(20)]
            assert await site.submit(*frames) == ()
            sent[to] += frames

    async with a.running(), b.running():
        await a.register()
        await b.register()
        await a.submit(first := envelope(B))
        sent[B].append(first)
        await a.until(lambda: len(a.settled) == 1)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk, a, B)
                nursery.start_soon(talk, b, A)
            await a.until(lambda: len(a.settled) == len(sent[B]))
            await b.until(lambda: len(b.settled) == len(sent[A]))
        assert await delivered(b) == sent[B]
        assert await delivered(a) == sent[A]
        assert sorted(a.settled) == sorted(set(a.settled))
        # on a machine that is busy with other things a dial may fail, or a former link end before it has said why
        replaced = a.log.all("link_down", code="REPLACED")
        assert len(replaced) >= 8, "a former link does not wait for what the present one carries"


@pytest.mark.spec("session-38")
async def test_links_of_one_age_are_not_renewed_in_step_and_only_by_whom_dialled(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        ours, theirs = known(a, b)
        assert theirs.renew_at == math.inf
        link = link_of(a, B)
        ages = {a.server.peers._renewal.first(ours, link, 0.0) - link.since for _ in range(50)}
        assert len(ages) == 50
        assert 0.8 * limits.LINK_AGE <= min(ages) < 0.9 * limits.LINK_AGE
        assert 1.1 * limits.LINK_AGE < max(ages) <= 1.2 * limits.LINK_AGE
        assert ours.renew_at - link.since <= 1.2 * limits.LINK_AGE


async def test_while_the_peer_cannot_be_reached_the_old_link_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        link, there = link_of(a, B), dict(a.resolver.known)
        a.resolver.known = {**there, B: endpoint(B, 1)}  # nobody listens there
        known(a, b)[0].renew(trio.current_time())
        await a.log.wait("renewal_failed", peer=B, count=3)
        assert link_of(a, B) is link
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 2)
        assert a.log.all("link_down") == b.log.all("link_down") == []
        a.resolver.known = there
        await a.log.wait("link_down", code="REPLACED")
        await a.log.wait("link_up", count=2)
        assert link_of(a, B) is not link


async def test_one_new_link_is_enough_where_something_is_owed(tmp_path: Path) -> None:
    """The peer may end the old one before we take the new one for made."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        peer = a.server.peers._peer(B)
        peer.renewing = True
        await a.submit(envelope(B))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert B not in a.resolver.asked
        peer.renewing = False
        peer.changed()
        await a.until(lambda: len(a.settled) == 1)


async def test_a_young_link_of_the_peer_is_not_taken_for_a_simultaneous_one(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(b, a)
        link, peer = link_of(a, B), known(a, b)[0]
        link.since = trio.current_time()
        a.server.peers.renew()
        assert peer.renew_at - link.since >= 2 * limits.SIMULTANEOUS_DIAL
        assert peer.renew_at - link.since <= 2 * limits.SIMULTANEOUS_DIAL + limits.RENEW_EACH + 0.1


@pytest.mark.spec("session-2", "router-8")
async def test_who_refuses_the_new_link_keeps_the_old_one_until_its_policy_is_applied(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        link = link_of(a, B)
        b.server.judge.policy = Policy(default=TrustLevel.NONE)
        known(a, b)[0].renew(trio.current_time())
        failed = await a.log.wait("renewal_failed", peer=B, count=2)
        assert "policy" in failed["reason"]
        assert link_of(a, B) is link
        assert b.log.all("link_down") == []
        assert b.server.peers.judge_again(lambda _: TrustLevel.NONE) == 1
        await a.log.wait("link_down", code="POLICY")
        assert known(a, b)[0].link is None


async def test_a_link_that_is_drained_is_not_renewed(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        a.server.peers.drain()
        known(a, b)[0].renew(trio.current_time())
        await a.server.peers.wait_idle()
        await b.log.wait("link_down", code="SHUTTING_DOWN")
        assert a.resolver.asked.count(B) == 1


@pytest.mark.parametrize("attempt", range(3))
async def test_two_ends_that_renew_at_once_end_with_one_link(tmp_path: Path, attempt: int) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        former, hold = link_of(a, B), trio.Event()
        a.resolver.hold, a.resolver.asked = hold, []
        a.server.peers.renew()
        b.server.peers.renew()
        while {A, B} - set(a.resolver.asked):
            await trio.testing.wait_all_tasks_blocked()
        hold.set()
        a.resolver.hold = None
        with trio.fail_after(10):
            while not (_lasting(a) == _lasting(b) == 1 and link_of(a, B) is not former):
                await trio.testing.wait_all_tasks_blocked(0.01)
        ours, theirs = known(a, b)
        assert ours.dialled_by_us is not theirs.dialled_by_us
        await a.submit(envelope(B))
        await b.submit(envelope(A))
        await a.until(lambda: len(a.settled) == 2)
        await b.until(lambda: len(b.settled) == 1)
        assert _lasting(a) == _lasting(b) == 1


def _lasting(site: Site) -> int:
    return len(site.log.all("link_up")) - len(site.log.all("link_down"))


# --- after a change of what we show ----------------------------------------------------------------------------------


def announced(site: Site) -> Credentials:
    """What `site` shows, with a statement that it will have another identity."""
    old, new = material(site.name), material("next")
    now = int(time.time())
    statement = make_statement(
        domain=site.name,
        sequence=now,
        not_before=now - 1,
        not_after=now + 86400 * 30,
        old=old.identity,
        new=new.identity,
    )
    both = attrs.evolve(endpoint(site.name, site.port), identity_next=new.fingerprint)
    site.resolver.known = {**site.resolver.known, site.name: both}
    return Credentials.of(site.name, old, statement)


@pytest.mark.parametrize("dialler", [A, B])
async def test_a_peer_hears_of_an_announced_identity_whoever_dialled(tmp_path: Path, dialler: DomainName) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await (linked(a, b) if dialler == A else linked(b, a))
        a.server._renew(announced(a))
        line = await b.log.wait("identity_announced", peer=A)
        assert line["verdict"] == "announced"
        await a.log.wait("link_down", code="REPLACED")
        await a.log.wait("link_up", count=2)
        assert a.log.all("link_up")[-1]["role"] == "dialler"
        assert known(a, b)[0].dialled_by_us
        assert len(b.log.all("link_up")) == 2


async def test_what_is_announced_is_told_again_at_every_reload_and_nothing_else_is(tmp_path: Path) -> None:
    """The record may have been published since; and where nothing has changed, links stay."""
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        a.server._renew(Credentials.of(A, material(A)))
        assert known(a, b)[0].renew_at > trio.current_time() + limits.RENEW_WITHIN
        shown = announced(a)
        for count in (2, 3):
            a.server._renew(shown)
            await b.log.wait("link_up", count=count)


async def test_a_call_that_waits_for_discovery_shows_what_is_new(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        hold = a.resolver.hold = trio.Event()
        await a.submit(envelope(B))
        while B not in a.resolver.asked:
            await trio.testing.wait_all_tasks_blocked()
        a.server._renew(announced(a))
        hold.set()
        await b.log.wait("identity_announced", peer=A)
        await a.until(lambda: len(a.settled) == 1)
        assert known(a, b)[0].renew_at > trio.current_time() + limits.RENEW_WITHIN


async def test_a_link_that_came_about_during_the_reload_is_renewed_too(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running(), trio.open_nursery() as nursery:

        async def converse(connection: Connection, level: TrustLevel) -> None:
            a.server._renew(announced(a))
            await a.server.peers.converse(connection, level)

        nursery.start_soon(a.server.peers.dialer.dial, B, converse)
        await b.log.wait("identity_announced", peer=A)
        await a.log.wait("link_down", code="REPLACED")
        nursery.cancel_scope.cancel()


@pytest.mark.spec("handshake-30")
async def test_many_links_are_renewed_little_by_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await linked(a, b)
        monkeypatch.setattr(limits, "RENEW_EACH", 1e9)
        due = set()
        for _ in range(50):
            known(a, b)[0].renew_at = math.inf
            a.server.peers.renew()
            due.add(known(a, b)[0].renew_at - trio.current_time())
        assert len(due) == 50
        assert 0 <= min(due) < max(due) <= limits.RENEW_WITHIN
        assert max(due) > limits.RENEW_WITHIN / 2
