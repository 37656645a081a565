"""Presence when links, processes, levels and epochs end; and peers that are slow or do wrong."""

import pytest
import trio
from trio.testing import MockClock

from tests.daemon.presence_world import START, A, B, C, End, Side, User, clock, linked, quiet
from volly_fed import limits_presence
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.names import DomainName
from volly_fed.presence import bounds, epoch_of
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import (
    Announce,
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
)

FULL, SELECTIVE, METADATA, NONE = TrustLevel.FULL, TrustLevel.SELECTIVE, TrustLevel.METADATA, TrustLevel.NONE
ANN, BOB, CAT = User(1), User(2), User(3)


# --- links and processes that end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [FULL, METADATA])
async def test_after_a_lost_link_only_what_has_changed_is_sent(level: TrustLevel, autojump_clock: MockClock) -> None:
    a, b = Side(A, Policy(default=level)), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await ANN.announce(at_a)
        await at_b.watch(A)
        async with linked(a, b):
            await at_b.until_sees(A, ANN)
            await trio.sleep(bounds.TICK)
        await BOB.announce(at_a)
        await ANN.retract(at_a)
        assert at_b.sees(A, ANN), "what was shown last is kept"
        assert b.wanted
        async with linked(a, b) as wire:
            await at_b.until_sees(A, BOB)
            assert not at_b.sees(A, ANN)
            assert wire.ends[B].kinds() == {"PresenceResume": 1}
            assert set(wire.ends[A].kinds()) == {"PresenceDelta"}


@pytest.mark.parametrize("which", ["showing", "viewing", "both"])
async def test_after_a_restart_no_new_filter_is_sent(which: str, autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await ANN.announce(at_a)
        await BOB.announce(at_a)
        await at_b.watch(A)
        async with linked(a, b):
            await at_b.until_sees(A, BOB)
        if which == "showing":
            async with a.running(), a.edge() as at_a, linked(a, b) as wire:
                await ANN.announce(at_a)
                assert await at_b.until_sees(A, BOB, False) == pytest.approx(limits_presence.RESTORE_HOLD, abs=0.1)
                assert at_b.sees(A, ANN)
        elif which == "viewing":
            async with b.running(), b.edge() as at_b, linked(a, b) as wire:
                await at_b.watch(A)
                assert b.hub._watchers[at_b.number]._waiting[A], "before the peer has said anything"
                await quiet()
                assert at_b.sees(A, ANN)
                await BOB.retract(at_a)
                await at_b.until_sees(A, BOB, False)
                assert at_b.sees(A, ANN)
        else:
            async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b) as wire:
                await at_b.watch(A)
                await CAT.announce(at_a)
                await at_b.until_sees(A, CAT)
                assert not at_b.sees(A, ANN)
        assert wire.ends[B].kinds() == {"PresenceResume": 1}
        assert set(wire.ends[A].kinds()) == {"PresenceDelta"}


@pytest.mark.spec("presence-28")
async def test_devices_that_come_back_after_a_restart_were_never_gone(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with b.running(), b.edge() as at_b:
        await at_b.watch(A)
        async with a.running(), a.edge() as at_a, linked(a, b):
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
        async with a.running(), a.edge() as at_a, linked(a, b) as wire:
            await trio.sleep(limits_presence.RESTORE_HOLD - 1)
            await ANN.announce(at_a)
            for _ in range(100):
                await trio.sleep(0.1)
                assert at_b.sees(A, ANN)
            assert not wire.ends[A].sent


async def test_a_crash_of_who_shows_costs_a_filter_and_nothing_else(autojump_clock: MockClock) -> None:
    """What is on the disk is older than what the peer has."""
    a, b = Side(A, Policy(default=METADATA)), Side(B)
    async with b.running(), b.edge() as at_b:
        await at_b.watch(A)
        async with a.running(), a.edge() as at_a, linked(a, b):
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
        old = dict(a.shelf.kept)
        async with a.running(), a.edge() as at_a, linked(a, b):
            await BOB.announce(at_a)
            await at_b.until_sees(A, BOB)
            await trio.sleep(3 * bounds.TICK)
        a.shelf.kept = old
        async with a.running(), a.edge() as at_a, linked(a, b) as wire:
            await CAT.announce(at_a)
            await at_b.until_sees(A, CAT)
            assert not at_b.sees(A, BOB)
            assert wire.ends[A].kinds()["PresenceSnapshot"] == 1
            assert not wire.ended


async def test_what_peers_show_is_written_down_from_time_to_time(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        await ANN.announce(at_a)
        await at_b.until_sees(A, ANN)
        assert not b.shelf.kept
        await trio.sleep(limits_presence.PRESENCE_SAVE + 2 * limits_presence.PRESENCE_SWEEP)
        crashed = Side(B, shelf=b.shelf)
        async with crashed.running(), crashed.edge() as later:
            await later.watch(A)
            await quiet()
            assert later.sees(A, ANN)


@pytest.mark.parametrize("records", [PresenceRecords(b"no", b"no"), PresenceRecords(b"\xa0", b"\xa0")])
async def test_records_that_cannot_be_read_are_none(records: PresenceRecords, autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    a.shelf.kept[B] = b.shelf.kept[A] = records
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        await ANN.announce(at_a)
        await at_b.until_sees(A, ANN)
        async with linked(a, b):
            await BOB.announce(at_a)
            await at_b.until_sees(A, BOB)


async def test_a_newer_link_takes_over_and_the_old_one_is_not_listened_to(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await at_b.watch(A)
        async with linked(a, b) as old:
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
            async with linked(a, b) as new:
                await BOB.announce(at_a)
                await at_b.until_sees(A, BOB)
                sent = old.ends[A].kinds()
                await b.hub.from_peer(A, old.ends[B], PresenceWithdraw())
                assert at_b.sees(A, BOB)
                assert not b.hub.lost(A, old.ends[B])
                await CAT.announce(at_a)
                await at_b.until_sees(A, CAT)
                assert old.ends[A].kinds() == sent
                assert set(new.ends[A].kinds()) == {"PresenceDelta"}


async def test_a_link_ends_a_back_off_once_it_has_brought_what_was_wanted_for_a_while(
    autojump_clock: MockClock,
) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), b.edge() as at_b:
        for watches, seconds, proved in ((False, 100, False), (True, 50, False), (True, 100, True)):
            if watches:
                await at_b.watch(A)
            async with linked(a, b) as wire:
                await trio.sleep(seconds)
                assert b.hub.lost(A, wire.ends[B]) is proved


# --- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        (FULL, SELECTIVE, {BOB}),
        (METADATA, SELECTIVE, {BOB}),
        (FULL, NONE, set()),
        (SELECTIVE, NONE, set()),
        (SELECTIVE, FULL, {ANN, BOB}),
        (FULL, METADATA, {ANN, BOB}),
    ],
)
@pytest.mark.spec("presence-22")
async def test_another_level_holds_at_once(
    before: TrustLevel, after: TrustLevel, seen: set[User], autojump_clock: MockClock
) -> None:
    a, b = Side(A, Policy(default=before)), Side(B)
    bob = User(2, (B,))
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b) as wire:
        await ANN.announce(at_a)
        await bob.announce(at_a)
        await at_b.watch(A)
        await trio.sleep(bounds.TICK * 1.5)
        filters = wire.ends[A].kinds()["PresenceSnapshot"]
        began = trio.current_time()
        a.use(after)
        assert (wire.ends[A].sent[-1] == PresenceWithdraw()) is (after is NONE), "before the link can end"
        await quiet()
        assert {user.name for user in (ANN, bob) if at_b.sees(A, user)} == {user.name for user in seen}
        assert trio.current_time() == began
        narrower = {before, after} != {FULL, METADATA} and after is not NONE
        assert wire.ends[A].kinds()["PresenceSnapshot"] == filters + narrower
        assert wire.ends[A].kinds()["PresenceWithdraw"] == (after is NONE)
        a.use(before)
        await trio.sleep(bounds.TICK)
        assert at_b.sees(A, bob)
        assert not wire.ended


@pytest.mark.spec("presence-43")
async def test_what_is_not_heard_any_more_is_gone_at_once_and_not_kept(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        async with linked(a, b) as wire:
            await at_b.watch(A)
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
            b.use(NONE)
            assert not at_b.sees(A, ANN)
            await BOB.announce(at_a)
            await trio.sleep(1)
            assert not at_b.sees(A, BOB)
            assert not wire.ended, "it could not know"
        assert b.shelf.kept[A].viewed is None
        assert not b.hub.wants(A)


async def test_a_filter_of_the_last_run_is_not_gone_on_with_on_another_level(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with b.running(), b.edge() as at_b:
        await at_b.watch(A)
        async with a.running(), a.edge() as at_a, linked(a, b):
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
        async with a.running(), a.edge() as at_a, linked(a, b) as wire:
            await quiet()
            a.use(SELECTIVE)
            await ANN.announce(at_a)
            await trio.sleep(limits_presence.RESTORE_HOLD + 1)
            assert not at_b.sees(A, ANN)
            assert wire.ends[A].kinds()["PresenceSnapshot"] == 1


async def test_who_does_not_ask_is_told_nothing_whatever_its_level_was(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await at_b.watch(A)
        async with linked(a, b):
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
        await at_b.unwatch(A)
        await trio.sleep(limits_presence.UNWATCHED_LINGER + 1)
        async with linked(a, b) as wire:
            for level in (SELECTIVE, NONE, FULL):
                a.use(level)
                await trio.sleep(bounds.TICK)
            await trio.sleep(2 * bounds.EPOCH)
            assert not wire.ends[A].sent
            assert not wire.ended


# --- epochs ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("presence-21")
async def test_an_epoch_ends_for_each_peer_at_its_own_time_and_nobody_is_missed(autojump_clock: MockClock) -> None:
    names = [DomainName(f"{number}.test") for number in range(8)]
    a, others = Side(A), [Side(name) for name in names]
    left = (epoch_of(START) + 1) * bounds.EPOCH - START
    async with a.running(), a.edge() as at_a:
        await ANN.announce(at_a)
        seconds: list[float] = []

        async def watch(side: Side, *, task_status: trio.TaskStatus[None]) -> None:
            async with side.running(), side.edge() as edge, linked(a, side):
                await edge.watch(A)
                task_status.started()
                await edge.until_sees(A, ANN)
                while edge.view(A).epoch == epoch_of(START):
                    assert edge.sees(A, ANN)
                    await edge.way.changed.wait()
                seconds.append(trio.current_time() - left)
                assert edge.sees(A, ANN)
                await edge.until_sees(A, BOB)
                await edge.until_sees(A, ANN, False)

        async with trio.open_nursery() as nursery:
            for side in others:
                await nursery.start(watch, side)
            await trio.sleep(left + bounds.EPOCH_GRACE / 2 + 1)
            await BOB.announce(at_a)
            await ANN.retract(at_a)
        assert all(0 <= second <= bounds.EPOCH_GRACE / 2 + 0.1 for second in seconds)
        assert max(seconds) - min(seconds) > bounds.EPOCH_GRACE / 16
        await trio.sleep(bounds.EPOCH_GRACE)
        assert set(a.hub._roster._epochs) == {epoch_of(clock()), epoch_of(clock()) + 1}


async def test_whoever_hands_over_no_tags_for_the_next_epoch_is_online_in_this_one_only(
    autojump_clock: MockClock,
) -> None:
    a, b = Side(A), Side(B)
    left = (epoch_of(START) + 1) * bounds.EPOCH - START
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        await ANN.announce(at_a, epochs=(0,))
        await BOB.announce(at_a, epochs=(0, 1))
        await at_b.until_sees(A, BOB)
        await trio.sleep(left + bounds.EPOCH_GRACE)
        assert not at_b.sees(A, ANN)
        assert at_b.sees(A, BOB)
        await BOB.retract(at_a)
        await trio.sleep(bounds.EPOCH)
        assert not at_b.sees(A, BOB)


@pytest.mark.parametrize(
    ("epoch", "taken"), [(-2, False), (-1, False), (0, True), (1, True), (2, False), (1 << 62, False)]
)
@pytest.mark.spec("presence-52")
async def test_announcements_are_for_this_epoch_and_the_next(
    epoch: int, taken: bool, autojump_clock: MockClock
) -> None:
    a = Side(A)
    async with a.running(), a.edge() as at_a:
        await ANN.announce(at_a, epochs=(epoch,))
        assert bool(a.hub._roster._epochs) is taken


async def test_the_last_epoch_may_be_announced_while_peers_are_still_shown_it(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    left = (epoch_of(START) + 1) * bounds.EPOCH - START
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b):
        await at_b.watch(A)
        await quiet()
        a.peer(B)._lag = bounds.EPOCH_GRACE / 2
        await trio.sleep(left + 1)
        await ANN.announce(at_a, epochs=(-1, 0, 1))
        assert await at_b.until_sees(A, ANN) == pytest.approx(0)
        assert at_b.view(A).epoch == epoch_of(START)


async def test_a_peer_that_shows_nothing_new_is_forgotten_with_its_epoch(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b:
        await at_b.watch(A)
        async with linked(a, b):
            await ANN.announce(at_a)
            await at_b.until_sees(A, ANN)
        await trio.sleep(bounds.EPOCH + 3 * bounds.EPOCH_GRACE)
        assert not at_b.sees(A, ANN)
        assert at_b.shown(A)["PresenceWithdraw"] == 1
        assert B not in a.hub._peers, "what it is shown is on the disk"
        (own, standing) = b.hub.standing()
        assert (own.domain, standing.domain) == (B, A) or (own.domain, standing.domain) == (A, B)


# --- peers that do wrong, and slow ones ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (PresenceDelta(filter=bytes(8), sequence=1, changes=b""), ErrorCode.OUT_OF_STEP),
        (
            PresenceSnapshot(epoch=epoch_of(START), key=bytes(32), size=9, sequence=0, offset=0, bits=b""),
            ErrorCode.BAD_FILTER,
        ),
        (
            PresenceSnapshot(epoch=epoch_of(START) - 5, key=bytes(32), size=0, sequence=0, offset=0, bits=bytes(8192)),
            ErrorCode.WRONG_EPOCH,
        ),
        (
            PresenceSnapshot(epoch=epoch_of(START), key=bytes(32), size=0, sequence=0, offset=0, bits=b"\xff" * 8192),
            ErrorCode.BAD_FILTER,
        ),
        (PresenceResume(filter=bytes(8), sequence=1), ErrorCode.UNEXPECTED),
    ],
)
async def test_a_peer_that_does_wrong_loses_its_link_and_changes_nothing(
    message: PresenceDelta | PresenceSnapshot | PresenceResume, code: ErrorCode, autojump_clock: MockClock
) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b) as wire:
        await at_a.watch(B)
        await at_b.watch(A)
        await ANN.announce(at_a)
        await at_b.until_sees(A, ANN)
        before = len(at_b.way.heard)
        wire.ends[A].send(message)
        await wire.cut.wait()
        assert wire.ended == [code]
        assert len(at_b.way.heard) == before
        assert at_b.sees(A, ANN)
        async with linked(a, b):
            await BOB.announce(at_a)
            await at_b.until_sees(A, BOB)


@pytest.mark.spec("presence-17")
async def test_a_peer_that_shows_unasked_loses_its_link(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), linked(a, b) as wire:
        wire.ends[A].send(PresenceWithdraw())
        await wire.cut.wait()
        assert wire.ended == [ErrorCode.UNEXPECTED]


async def test_a_slow_peer_has_one_message_waiting_and_is_told_the_sum_of_it_all(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    users = [User(number) for number in range(1, 200)]
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b) as wire:
        await at_b.watch(A)
        await quiet()
        out = wire.ends[A]
        out.held, out.most = True, 0
        steps = out.kinds()["PresenceDelta"]
        for user in users:
            await user.announce(at_a)
            await trio.sleep(bounds.TICK / 2)
        for user in users[:100]:
            await user.retract(at_a)
        assert out.most == 1
        out.held = False
        out.tell()
        await at_b.until_sees(A, users[-1])
        assert out.kinds()["PresenceDelta"] <= steps + 2
        assert all(at_b.sees(A, user) for user in users[100:])
        assert sum(at_b.sees(A, user) for user in users[:100]) <= 2, "some strangers look like members"


async def test_a_large_filter_leaves_piece_by_piece_on_both_links(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), a.edge() as at_a, b.edge() as at_b, linked(a, b) as wire:
        scope, now = "*", epoch_of(clock())
        for number in range(60_000):
            a.hub._announce(
                at_a.number, Announce(number=number, epoch=now, tags=((scope, number.to_bytes(16, "big")),))
            )
        at_b.way.room = 2046
        await at_b.watch(A)
        await trio.sleep(1)
        assert wire.ends[A].kinds()["PresenceSnapshot"] == 8
        assert wire.ends[A].most == 1
        assert not at_b.way.heard
        for _ in range(80):
            await ANN.announce(at_a)
            await trio.sleep(bounds.TICK)
            await ANN.retract(at_a)
            await trio.sleep(bounds.TICK)
        await BOB.announce(at_a)
        await trio.sleep(bounds.TICK)
        assert len(b.hub._watchers[at_b.number]._waiting[A]) <= 8 + 2 * limits_presence.STEPS_WAITING
        at_b.way.room = 2048
        at_b.way.changed.set()
        await at_b.until_sees(A, BOB)
        assert not at_b.sees(A, ANN)


async def test_an_edge_watches_so_many_domains_and_no_more(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(limits_presence, "WATCHED_PER_EDGE", 2)
    b = Side(B)
    async with b.running(), b.edge() as at_b:
        for domain in (A, C, A, DomainName("d.test")):
            await at_b.watch(domain)
        assert {name for name in (A, C, "d.test") if b.hub.wants(DomainName(name))} == {A, C}
        await at_b.unwatch(C)
        await at_b.unwatch(C)
        await at_b.watch(DomainName("d.test"))
        assert b.hub.wants(DomainName("d.test"))


@pytest.mark.spec("presence-43")
async def test_a_filter_that_there_is_no_room_for_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(limits_presence, "VIEW_BYTES", 12_000)
    a, b, c = Side(A), Side(B), Side(C)
    async with a.running(), b.running(), c.running(), a.edge() as at_a, b.edge() as at_b, c.edge() as at_c:
        await ANN.announce(at_a)
        await at_b.watch(A)
        await BOB.announce(at_c)
        await at_b.watch(C)
        async with linked(a, b) as first, linked(c, b) as second:
            await trio.sleep(10)
            seen = [at_b.sees(A, ANN), at_b.sees(C, BOB)]
            assert sorted(seen) == [False, True]
            assert not first.ended
            assert not second.ended


async def test_a_request_may_be_repeated_and_a_pause_is_kept(autojump_clock: MockClock) -> None:
    a, b = Side(A), Side(B)
    async with a.running(), b.running(), b.edge() as at_b, linked(a, b) as wire:
        await at_b.watch(A)
        await quiet()
        for _ in range(5):
            wire.ends[B].send(PresenceRequest())
        await trio.sleep(1)
        assert wire.ends[A].kinds()["PresenceSnapshot"] == 1
        await trio.sleep(bounds.SNAPSHOT_PAUSE)
        assert wire.ends[A].kinds()["PresenceSnapshot"] == 2
        assert not wire.ended


async def test_a_thousand_peers_are_shown_a_change(autojump_clock: MockClock) -> None:
    a = Side(A)
    sides = [Side(DomainName(f"p{number}.test")) for number in range(1000)]

    async with a.running(), a.edge() as at_a, trio.open_nursery() as nursery:
        ends = [End() for _ in sides]
        for side, end in zip(sides, ends, strict=True):
            a.hub.connected(side.name, FULL, end)
            nursery.start_soon(a.hub.serve, side.name, end)
            await a.hub.from_peer(side.name, end, PresenceRequest())
            a.peer(side.name).loaded = True

        async def drain() -> None:
            while True:
                await trio.sleep(0.001)
                for end in ends:
                    end.out.clear()
                    end.tell()

        nursery.start_soon(drain)
        await trio.sleep(1)
        assert all(end.kinds() == {"PresenceSnapshot": 1} for end in ends)
        await ANN.announce(at_a)
        await trio.sleep(1.1)
        assert all(end.kinds() == {"PresenceSnapshot": 1, "PresenceDelta": 1} for end in ends)
        nursery.cancel_scope.cancel()
