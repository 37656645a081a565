"""Dummies: which go has nothing to do with how many there are, nor with users but for making up for them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.presence.helpers import source
from volly_fed.crypto.block import BLOCK, Blocks
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.presence.dummies import Dummies

RECENT = 256
STEPS = int(bounds.EPOCH / bounds.TICK)
SEED = Secret(b"s" * 32)
NUMBERS = {Blocks(SEED).encrypt(n.to_bytes(BLOCK, "little")): n for n in range(10_000)}


def some(number: int = 4000) -> Dummies:
    return Dummies(SEED, number, recent=RECENT)


def numbers(blocks: bytes) -> list[int]:
    return [NUMBERS[blocks[at : at + BLOCK]] for at in range(0, len(blocks), BLOCK)]


def stays(number: int) -> list[list[int | None]]:
    """An epoch in which nobody moves: step by step, for how many numbers those that go have been there; None: first."""
    dummies, found = some(number), []
    for _ in range(STEPS):
        gone = numbers(dummies.go(4))
        found.append([dummies.next - n if n >= number - RECENT else None for n in gone])
        dummies.come(4)
    return found


@given(st.integers(0, 300), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_those_present_are_those_that_came_and_did_not_go(number: int, steps: list[tuple[int, int, int]]) -> None:
    dummies = Dummies(SEED, number, recent=50)
    there = set(range(number))
    for come, go, users in steps:
        gone = numbers(dummies.go(min(go, len(there)), users=users, first=users // 2))
        assert len(gone) == min(go, len(there))
        assert there.issuperset(gone)
        there.difference_update(gone)
        there.update(numbers(dummies.come(come)))
        assert sorted(there) == numbers(dummies.present())
        assert len(there) == len(dummies)


@pytest.mark.spec("presence-29")
def test_which_go_does_not_depend_on_how_many_there_are() -> None:
    assert stays(512) == stays(1000) == stays(4096)


def test_dummies_stay_as_long_as_any_user() -> None:
    """In numbers, four of which are a step; a thousand users make a dozen visits in that time."""
    counts = [0] * 13
    for stay in (stay for step in stays(4000) for stay in step if stay is not None):
        counts[stay.bit_length()] += 1
    assert min(counts[1:11]) > 50
    assert counts[11] > 10
    assert sum(counts) > 0.9 * 4 * STEPS


def test_the_first_step_is_as_any_other() -> None:
    assert list(some().recent) == list(range(4000 - RECENT, 4000))
    assert len(Dummies(SEED, 100, recent=RECENT).recent) == 100
    early = [stay for step in stays(4000)[:20] for stay in step]
    assert sum(stay is not None for stay in early) > 60


def test_lots_are_not_what_dummies_are_made_of() -> None:
    """A peer sees some bits of these."""
    lots = struct.pack("<200Q", *some()._lots(100))
    assert not any(lots[at : at + BLOCK] in NUMBERS for at in range(0, len(lots), BLOCK))


@pytest.mark.spec("presence-29")
def test_one_in_some_is_from_the_beginning() -> None:
    first = [step.count(None) for step in stays(4000)]
    assert sum(first) == pytest.approx(4 * STEPS / bounds.OLD_SHARE, rel=0.2)
    assert sum(first[: STEPS // 2]) == pytest.approx(sum(first[STEPS // 2 :]), rel=0.4)


@pytest.mark.spec("presence-29")
def test_users_from_the_beginning_who_leave_are_made_up_for() -> None:
    quiet, busy = some(), some()
    users = 0
    for step in range(STEPS):
        leaving = step % 9 == 0
        quiet.go(4)
        before = busy.done
        gone = numbers(busy.go(4 - leaving, users=leaving, first=leaving))
        assert sum(n < 4000 - RECENT for n in gone) == max(0, busy.due - before - leaving)
        users += leaving
        for dummies in (quiet, busy):
            dummies.come(4)
    assert users == 100
    assert busy.due == quiet.due  # as many lots, the same ones
    assert quiet.done == quiet.first == quiet.due
    assert abs(busy.done - busy.due) < 10
    assert busy.first == busy.done - users


def test_when_there_are_no_others() -> None:
    few = Dummies(SEED, 3, recent=3)
    assert sorted(numbers(few.go(3))) == [0, 1, 2]
    first = Dummies(SEED, 3)
    assert numbers(first.go(3)) == [0, 1, 2]
    assert first.go(0) == b""


def test_after_a_restart_the_same_go() -> None:
    dummies = some()
    for _ in range(100):
        dummies.go(5, users=1, first=1)
        dummies.come(4)
    again = Dummies.from_fields(dummies.to_fields(), 4096)
    assert again.present() == dummies.present()
    for _ in range(100):
        assert again.go(5, users=1) == dummies.go(5, users=1)
        assert again.come(6) == dummies.come(6)
    assert again.to_fields() == dummies.to_fields()


def test_another_seed_is_another_lot() -> None:
    other = Dummies(Secret(source()(32)), 4000, recent=RECENT)
    mine = some()
    for dummies in (mine, other):
        for _ in range(20):
            dummies.go(4)
            dummies.come(4)
    assert mine.recent != other.recent


def stored(*recent: int) -> bytes:
    return b"".join(n.to_bytes(4, "little") for n in recent)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        [bytes(31), 0, 0, 0, 0, 0, 0, b""],
        [bytes(32), 0, 0, 0, 0, 0, -1, b""],
        [bytes(32), 2, 1, 9, 0, 0, 0, b""],
        [bytes(32), 0, 10, 9, 0, 0, 0, b""],
        [bytes(32), 0, 0, 1 << 32, 0, 0, 0, b""],
        [bytes(32), 0, 5, 9, 0, 0, 0, b"abc"],
        [bytes(32), 0, 5, 9, 0, 0, 0, stored(4)],
        [bytes(32), 0, 5, 9, 0, 0, 0, stored(9)],
        [bytes(32), 0, 5, 9, 0, 0, 0, stored(6, 6)],
        [bytes(32), 0, 5, 9, 0, 0, 0, stored(7, 6)],
        [bytes(32), 0, 9, 20, 0, 0, 0, stored(10, 11)],
    ],
)
def test_what_is_no_record(fields: object) -> None:
    Dummies.from_fields([bytes(32), 0, 5, 9, 0, 0, 0, stored(5, 8)], 10)
    with pytest.raises(BadMessage):
        Dummies.from_fields(fields, 10)
