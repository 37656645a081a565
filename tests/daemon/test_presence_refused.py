"""A watch that is refused, or ended: the edge hears why, whatever the reason, and nobody is left without a word."""

import pytest
import trio
from trio.testing import MockClock

from tests.daemon.presence_world import A, B, C, Side, User, linked, quiet
from volly_fed import limits, limits_presence
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.names import DomainName
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Unwatch, Watch

ANN, BOB = User(1), User(2)
D = DomainName("d.test")
NOT_HEARD = Unwatch(domain=A, code=ErrorCode.POLICY, text="presence of a.test is not taken: none")


async def test_a_domain_on_level_none_is_refused_and_can_be_asked_for_again(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B, Policy(default=TrustLevel.NONE))
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await ANN.announce(at_a)
        await at_b.watch(A)
        assert await at_b.until_refused(A) == NOT_HEARD
        assert not b.wanted
        assert not b.peer(A).watchers
        b.use(TrustLevel.FULL)
        await at_b.watch(A)
        async with linked(a, b):
            await at_b.until_sees(A, ANN)
        assert len(at_b.refused) == 1


async def test_whoever_watches_hears_that_the_level_was_lowered(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, b.edge() as other, linked(a, b):
        await ANN.announce(at_a)
        for edge in (at_b, other):
            await edge.watch(A)
            await edge.until_sees(A, ANN)
        b.use(TrustLevel.NONE)
        for edge in (at_b, other):
            assert not edge.sees(A, ANN)
            assert edge.refused == [NOT_HEARD]
        await at_b.unwatch(A)  # it was on its way


async def test_our_own_domain_is_never_refused(autojump_clock: MockClock) -> None:
    b = Side(B, Policy(default=TrustLevel.NONE))
    async with b.running(), b.edge() as at_b:
        await BOB.announce(at_b)
        await at_b.watch(B)
        await at_b.until_sees(B, BOB)
        b.use(TrustLevel.FULL)
        b.use(TrustLevel.NONE)
        assert at_b.sees(B, BOB)
        assert not at_b.refused


@pytest.mark.parametrize("module", [limits, limits_presence])
async def test_more_domains_than_there_is_room_for_are_refused(
    module: object, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Of one edge, and of all together, our own domain included."""
    if module is limits:
        monkeypatch.setattr(limits, "PEERS", 3)
    else:
        monkeypatch.setattr(limits_presence, "WATCHED_PER_EDGE", 2)
    b = Side(B)
    async with b.running(), b.edge() as at_b:
        for domain in (A, C, D):
            await at_b.watch(domain)
        refusal = await at_b.until_refused(D)
        assert refusal.code is ErrorCode.BUSY
        assert "try again later" in refusal.text
        assert at_b.refused == [refusal]
        assert [b.hub.wants(domain) for domain in (A, C, D)] == [True, True, False]


async def test_whoever_watches_what_there_is_no_room_for_hears_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(limits_presence, "VIEW_BYTES", 1000)
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), b.edge() as at_b, b.edge() as later, linked(a, b) as wire:
        for edge in (at_b, later):
            await edge.watch(A)
            refusal = await edge.until_refused(A)
            assert refusal.code is ErrorCode.OVERLOADED
            assert "no room" in refusal.text
        assert wire.ends[A].kinds()["PresenceSnapshot"] == 1
        assert not wire.ended


async def test_a_reason_waits_for_a_busy_link_and_not_longer_than_it_holds(autojump_clock: MockClock) -> None:
    b = Side(B)
    async with b.running(), b.edge() as at_b:
        for domain in (A, C):
            await at_b.watch(domain)
        await quiet()
        at_b.way.room = 1
        b.hub.refuse(A, ErrorCode.DISCOVERY, f"there is\tno such domain {'x' * limits.MAX_TEXT}\nnote: no")
        b.hub.refuse(C, ErrorCode.DISCOVERY, "there is no such domain")
        await quiet()
        assert not at_b.way.heard
        await b.hub.from_edge(at_b.number, Watch(domain=C))
        await quiet()
        at_b.way.room = 2048
        at_b.way.send(NOT_HEARD)  # the writer goes on
        await quiet()
        (refusal,) = [message for message in at_b.way.heard if message != NOT_HEARD]
        assert isinstance(refusal, Unwatch)
        assert (refusal.domain, refusal.code) == (A, ErrorCode.DISCOVERY)
        assert len(refusal.text) == limits.MAX_TEXT
        assert refusal.text.startswith("there is no such domain x")
        assert b.peer(C).watchers == {at_b.number}
        assert not b.peer(A).watchers


async def test_a_link_that_ends_takes_its_reasons_with_it(autojump_clock: MockClock) -> None:
    b = Side(B)
    async with b.running(), b.edge() as at_b:
        await at_b.watch(A)
        at_b.way.room = 1
        await quiet()
        b.hub.refuse(A, ErrorCode.DISCOVERY, "there is no such domain")
        b.hub.refuse(C, ErrorCode.DISCOVERY, "nobody has asked")
        await quiet()
        assert b.hub._watchers[at_b.number]._work.statistics().tasks_waiting == 0, "it waits for room"
        at_b.way.over = True
        at_b.way.changed.set()
        await trio.sleep(1)
        assert not at_b.way.heard
