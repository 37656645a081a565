"""Presence over real links: edges, two homeservers, their stores, and the time it takes from edge to edge."""

import statistics
import time
from pathlib import Path

from tests.daemon.edge_nodes import E1, Edge, edge, home
from tests.daemon.sites import A, B, sites
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.crypto.secret import Secret
from volly_fed.names import DomainName
from volly_fed.presence import View, bounds, epoch_of, presence_tag
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Announce, Ping, Pong, Retract, Shown, Unwatch, Watch, parse_message


def announce(number: int, *, scope: str = "*") -> Announce:
    epoch = epoch_of(time.time())
    return Announce(number=number, epoch=epoch, tags=((scope, tag(number, epoch, scope)),))


def tag(number: int, epoch: int, scope: str = "*") -> bytes:
    return presence_tag(Secret(number.to_bytes(32, "big")), epoch, scope)


class Watching:
    """What an edge has been shown of one domain."""

    def __init__(self, edge: Edge, domain: DomainName) -> None:
        self.edge, self.domain, self.view = edge, domain, View()
        self.view.connected()

    async def until(self, number: int, online: bool) -> None:
        while self.view.filter is None or (tag(number, self.view.epoch) in self.view.filter) is not online:
            message = await self.edge.hear()
            assert isinstance(message, Shown)
            assert message.domain == self.domain
            self.view.receive(parse_message(message.message), time.time())


async def test_a_watched_peer_is_dialled_and_its_users_are_seen_from_edge_to_edge(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with home(a, E1) as a_port, home(b, E1) as b_port, edge(a_port) as at_a, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=A))
        watching = Watching(at_b, A)
        await b.log.wait("link_up", peer=A)
        await at_a.say(announce(100))
        await watching.until(100, True)
        times = []
        for number in range(1, bounds.PROMPTS_PER_TICK - 2):  # beyond it a tick is waited for
            began = time.perf_counter()
            await at_a.say(announce(number))
            await watching.until(number, True)
            times.append(time.perf_counter() - began)
        await at_a.say(Retract(number=7))
        await watching.until(7, False)
        assert statistics.median(times) < bounds.TICK / 10, "5 ms of coalescing and as much again, on a quiet machine"
        await at_b.say(Unwatch(domain=A))


async def test_a_link_that_is_lost_comes_back_because_somebody_watches_and_needs_no_new_filter(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with home(b, E1) as b_port, edge(b_port, wanted=B) as at_b, home(a, E1) as a_port, edge(a_port) as at_a:
        await at_b.say(Watch(domain=A))
        watching = Watching(at_b, A)
        await at_a.say(announce(1))
        await watching.until(1, True)
        key = watching.view.filter.placement.key if watching.view.filter else None
        a.server.peers._peers[B].link.drain()  # type: ignore[union-attr] # there is one
        await b.log.wait("link_up", peer=A, count=2)
        await at_a.say(announce(2))
        await watching.until(2, True)
        assert watching.view.filter is not None
        assert watching.view.filter.placement.key == key


async def test_a_policy_that_shows_nobody_is_obeyed_on_the_link_that_is_up(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with home(a, E1) as a_port, home(b, E1) as b_port, edge(a_port) as at_a, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=A))
        watching = Watching(at_b, A)
        await at_a.say(announce(1))
        await watching.until(1, True)
        nobody = Policy(default=TrustLevel.NONE)
        a.server.judge.policy = nobody  # as a reload does
        a.server.presence.judge_again()
        assert a.server.peers.judge_again(lambda domain: nobody.level_of(domain).level) == 1
        while watching.view.filter is not None:
            message = await at_b.hear()
            assert isinstance(message, Shown)
            watching.view.receive(parse_message(message.message), time.time())


async def test_a_peer_that_may_not_be_heard_is_not_even_dialled(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.policy = Policy(default=TrustLevel.NONE)
    async with home(a, E1), home(b, E1) as b_port, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=A))
        refusal = Unwatch(domain=A, code=ErrorCode.POLICY, text="presence of a.test is not taken: none")
        assert await at_b.hear() == refusal
        await at_b.say(Ping(token=1))
        assert await at_b.hear() == Pong(token=1)
        assert not b.log.all("dial_failed")
        assert not b.log.all("decided")
        assert not b.server.peers._peers


async def test_whoever_watches_a_domain_that_is_none_hears_what_discovery_says(tmp_path: Path) -> None:
    _, b = sites(tmp_path, A, B)
    nowhere = DomainName("nowhere.test")
    async with home(b, E1) as b_port, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=nowhere))
        refusal = await at_b.hear()
        assert isinstance(refusal, Unwatch)
        assert (refusal.domain, refusal.code) == (nowhere, ErrorCode.DISCOVERY)
        failure = await b.log.wait("dial_failed", peer=nowhere)
        assert refusal.text
        assert failure["reason"].startswith(refusal.text)
        assert not b.server.presence._peers[nowhere].watchers


async def test_whoever_watches_a_domain_that_does_not_want_us_hears_it(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    a.policy = Policy(default=TrustLevel.NONE)
    async with home(a, E1), home(b, E1) as b_port, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=A))
        refusal = await at_b.hear()
        assert isinstance(refusal, Unwatch)
        assert (refusal.domain, refusal.code) == (A, ErrorCode.POLICY)
        assert refusal.text.startswith("a.test refuses us: ")


async def test_logs_say_nothing_of_who_is_online_or_for_whom(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with home(a, E1) as a_port, home(b, E1) as b_port, edge(a_port) as at_a, edge(b_port, wanted=B) as at_b:
        await at_b.say(Watch(domain=A))
        await at_a.say(announce(424_242, scope="secret.example"), announce(424_243))
        await Watching(at_b, A).until(424_243, True)
    for line in (str(line) for site in (a, b) for line in site.log.lines):
        assert "secret.example" not in line
        assert "42424" not in line
        assert tag(424_243, epoch_of(time.time())).hex() not in line
