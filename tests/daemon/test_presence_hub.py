"""Two hubs and the link between them: who sees whom, when, and for how long."""

import pytest
import trio
from trio.testing import MockClock

from tests.daemon.presence_world import A, B, C, Edge, Side, User, linked, quiet
from volly_fed import limits_presence
from volly_fed.codepoints import TrustLevel
from volly_fed.presence import bounds
from volly_fed.trust.policy import Policy

FULL, SELECTIVE, METADATA, NONE = TrustLevel.FULL, TrustLevel.SELECTIVE, TrustLevel.METADATA, TrustLevel.NONE

SCOPES = {"everybody": ("*",), "the peer": (B,), "both": ("*", B), "somebody else": ("c.test",), "nobody": ()}
SEEN = {
    FULL: {"everybody", "the peer", "both"},
    METADATA: {"everybody", "the peer", "both"},
    SELECTIVE: {"the peer", "both"},
    NONE: set(),
}


@pytest.mark.parametrize("heard_at", list(TrustLevel))
@pytest.mark.parametrize("shown_at", list(TrustLevel))
@pytest.mark.spec("presence-14")
async def test_every_level_by_every_scope(
    shown_at: TrustLevel, heard_at: TrustLevel, autojump_clock: MockClock
) -> None:
    """What A shows at its level for B, and what B hears at its level for A."""
    a, b = Side(A, Policy(default=shown_at)), Side(B, Policy(default=heard_at))
    users = {name: User(number, scopes) for number, (name, scopes) in enumerate(SCOPES.items(), 1)}
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await at_b.watch(A)
        early = users["everybody"], users["the peer"], users["somebody else"]
        for user in early:
            await user.announce(at_a)
        async with linked(a, b) as wire:
            await trio.sleep(bounds.TICK + 1)
            for user in users.values():
                if user not in early:
                    await user.announce(at_a)
            await trio.sleep(bounds.TICK + 1)
            seen = {name for name, user in users.items() if at_b.sees(A, user)}
            assert seen == (set() if heard_at is NONE else SEEN[shown_at])
            assert not at_b.shown(A) or heard_at is not NONE
            assert wire.ends[B].kinds() == ({} if heard_at is NONE else {"PresenceRequest": 1})
            if shown_at is NONE:
                assert not wire.ends[A].sent
            for user in users.values():
                await user.retract(at_a)
            await trio.sleep(bounds.TICK + 1)
            assert not any(at_b.sees(A, user) for user in users.values())
            assert not wire.ended


async def test_each_direction_has_its_own_level(autojump_clock: MockClock) -> None:
    a, b = Side(A, Policy(default=FULL)), Side(B, Policy(default=SELECTIVE))
    ann, bob = User(1), User(2)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b):
        await ann.announce(at_a)
        await bob.announce(at_b)
        await at_a.watch(B)
        await at_b.watch(A)
        await trio.sleep(2 * bounds.TICK)
        assert at_b.sees(A, ann)
        assert not at_a.sees(B, bob)
        bob.scopes = ("*", A)
        await bob.announce(at_b)
        await trio.sleep(2 * bounds.TICK)
        assert at_a.sees(B, bob)


@pytest.mark.spec("presence-31")
async def test_nobody_is_asked_while_nobody_watches(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await User(1).announce(at_a)
        async with linked(a, b) as wire:
            await trio.sleep(3 * bounds.EPOCH)
            assert not wire.ends[A].sent
            assert not wire.ends[B].sent
            await at_b.watch(A)
            await trio.sleep(1)
            assert wire.ends[B].kinds() == {"PresenceRequest": 1}
        assert not a.wanted
        assert not b.wanted


async def test_a_link_is_wanted_while_somebody_watches_and_a_little_longer(autojump_clock: MockClock) -> None:
    b = Side(B)
    async with b.running(), b.edge() as first, b.edge() as second:
        await first.watch(A)
        await second.watch(A)
        assert b.wanted == [A, A]
        await first.unwatch(A)
        assert b.hub.wants(A)
        await second.unwatch(A)
        await trio.sleep(limits_presence.UNWATCHED_LINGER - 1)
        assert b.hub.wants(A)
        await trio.sleep(2)
        assert not b.hub.wants(A)
        await trio.sleep(120)
        assert A not in b.hub._peers
        await first.watch(A)
        assert b.wanted == [A, A, A]
        b.use(NONE)
        assert not b.hub.wants(A)


async def test_nothing_is_shown_to_an_edge_that_does_not_watch_any_more(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    ann = User(1)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, b.edge() as other, linked(a, b):
        await at_b.watch(A)
        await other.watch(A)
        await quiet()
        await at_b.unwatch(A)
        before = at_b.shown(A)
        await ann.announce(at_a)
        await other.until_sees(A, ann)
        assert at_b.shown(A) == before
        await at_b.watch(A)
        await quiet()
        assert at_b.sees(A, ann), "what is there is shown at once"


# --- how soon --------------------------------------------------------------------------------------------------------


async def _time(policy: Policy) -> tuple[float, float]:
    """How long a watcher waits for somebody to come, and to go."""
    a, b, ann = Side(A, policy), Side(B), User(1)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        await trio.sleep(bounds.TICK / 2)
        await ann.announce(at_a)
        came = await at_b.until_sees(A, ann)
        await trio.sleep(bounds.TICK / 4)
        await ann.retract(at_a)
        return came, await at_b.until_sees(A, ann, False)


async def test_a_prompt_change_takes_no_time(autojump_clock: MockClock) -> None:
    came, went = await _time(Policy(default=FULL))
    assert came == pytest.approx(0)
    assert went == pytest.approx(0)


@pytest.mark.parametrize(
    "policy", [Policy(default=FULL, presence={"*.test": "tick"}), Policy(default=METADATA)], ids=["said", "by level"]
)
async def test_a_tick_is_waited_for(policy: Policy, autojump_clock: MockClock) -> None:
    came, went = await _time(policy)
    assert came == pytest.approx(bounds.TICK / 2)
    assert went == pytest.approx(bounds.TICK * 3 / 4)


async def test_ticks_come_whether_anything_has_changed_or_not_and_prompts_only_then(autojump_clock: MockClock) -> None:
    for level, steps in ((METADATA, range(9, 12)), (FULL, range(1))):
        a, b = Side(A, Policy(default=level)), Side(B)
        async with a.running(), b.running(), b.edge() as at_b, linked(a, b):
            await at_b.watch(A)
            await trio.sleep(10 * bounds.TICK + 1)
            assert at_b.shown(A)["PresenceDelta"] in steps


async def test_many_peers_hear_of_a_change_in_turn_and_of_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(limits_presence, "PROMPTS_AT_ONCE", 1)
    monkeypatch.setattr(limits_presence, "PROMPTS_PER_SECOND", 10)
    a, b, c = Side(A), Side(B), Side(C)
    ann = User(1)
    async with (
        a.running(),
        b.running(),
        c.running(),
        a.edge() as at_a,
        b.edge() as at_b,
        c.edge() as at_c,
        linked(a, b),
        linked(a, c),
    ):
        await at_b.watch(A)
        await at_c.watch(A)
        await quiet()
        await ann.announce(at_a)
        times = [await at_b.until_sees(A, ann), await at_c.until_sees(A, ann)]
        assert sum(times) == pytest.approx(0.1)


# --- our own domain --------------------------------------------------------------------------------------------------


async def test_our_own_users_see_each_other_over_no_link_at_all(autojump_clock: MockClock) -> None:
    a = Side(A, Policy(default=NONE))
    users = {name: User(number, scopes) for number, (name, scopes) in enumerate(SCOPES.items(), 1)}
    users["the peer"].scopes = (A,)
    async with a.running(), a.edge() as one, a.edge() as other:
        await other.watch(A)
        await quiet()
        for user in users.values():
            await user.announce(one)
        assert await other.until_sees(A, users["everybody"]) == pytest.approx(0)
        assert {name for name, user in users.items() if other.sees(A, user)} == {"everybody", "the peer", "both"}
        assert not a.wanted
        assert not a.shelf.kept


# --- edges that come and go ------------------------------------------------------------------------------------------


async def _watched(at_b: Edge, user: User, seconds: float) -> set[bool]:
    """Whether `user` was seen to be online during so many seconds, look by look."""
    seen = set()
    for _ in range(int(seconds * 10)):
        await trio.sleep(0.1)
        seen.add(at_b.sees(A, user))
    return seen


@pytest.mark.spec("presence-51")
async def test_whoever_comes_back_with_another_edge_link_was_never_gone(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    ann = User(1)
    async with a.running(), b.running(), b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        async with a.edge() as first:
            await ann.announce(first)
            await at_b.until_sees(A, ann)
        deltas = at_b.shown(A)
        assert await _watched(at_b, ann, limits_presence.EDGE_HOLD / 2) == {True}
        async with a.edge() as second:
            await ann.announce(second)
            assert await _watched(at_b, ann, 3 * limits_presence.EDGE_HOLD) == {True}
            assert at_b.shown(A) == deltas, "not even a message"


async def test_whoever_does_not_come_back_goes_when_the_edge_has_been_away_for_a_while(
    autojump_clock: MockClock,
) -> None:
    a, b = Side(A), Side(B)
    users = [User(number) for number in range(1, 40)]
    async with a.running(), b.running(), b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        async with a.edge() as first:
            for user in users:
                await user.announce(first)
            await at_b.until_sees(A, users[-1])
        took = await at_b.until_sees(A, users[0], False)
        assert took == pytest.approx(limits_presence.EDGE_HOLD, abs=0.1)
        await trio.sleep(bounds.TICK)
        assert not any(at_b.sees(A, user) for user in users)
        assert not a.hub._roster._links
