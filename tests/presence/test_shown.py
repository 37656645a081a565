"""The filter that is shown: always filled to its capacity, as many coming as going, and what a restart keeps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.presence.helpers import placement, source, tag, tags
from volly_fed.codepoints import FilterClass
from volly_fed.crypto.block import BLOCK
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalProtocolError
from volly_fed.presence import bounds
from volly_fed.presence.counters import Counters
from volly_fed.presence.dummies import Dummies
from volly_fed.presence.filter import Filter
from volly_fed.presence.shown import Shown, change_class, choose_class

SMALL = FilterClass.TAGS_4K
CAPACITY = bounds.CAPACITY[SMALL]


def numbers(shown: Shown) -> tuple[int, int]:
    """(members, dummies)."""
    return shown.members, len(shown._dummies)


def test_classes_have_room_for_dummies() -> None:
    for size in list(FilterClass)[:-1]:
        most = int(bounds.CAPACITY[size] * bounds.ROOM)
        assert choose_class(most) is size
        assert choose_class(most + 1) is FilterClass(size + 1)
    assert choose_class(0) is SMALL
    assert choose_class(1 << 20) is FilterClass.TAGS_1M


@pytest.mark.spec("presence-10")
def test_classes_do_not_flap() -> None:
    larger = FilterClass.TAGS_16K
    lowest = int(CAPACITY * bounds.SHRINK)
    assert choose_class(lowest + 1, larger) is larger
    assert choose_class(lowest, larger) is SMALL
    assert choose_class(10, FilterClass.TAGS_1M) is SMALL
    assert choose_class(20_000, SMALL) is FilterClass.TAGS_64K


@pytest.mark.spec("presence-25")
def test_steps_are_of_few_sizes() -> None:
    assert [change_class(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 24, 25)] == [
        *(1, 1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 16, 16, 24, 24, 32)
    ]


@settings(deadline=None)
@given(
    st.integers(0, CAPACITY) | st.integers(CAPACITY - 50, CAPACITY),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 8),
)
@pytest.mark.spec("presence-11", "presence-25")
def test_it_is_filled_to_its_capacity_and_as_many_come_as_go(members: int, joined: int, left: int, least: int) -> None:
    shown = Shown(
        placement(), epoch=1, sequence=0, tags=(), dummies=Shown.draw(1, (), None, source())._dummies
    )  # the numbers only: `_dummy_changes` looks at nothing else
    shown.members = members
    shown._dummies = Dummies(Secret(bytes(32)), CAPACITY - members, recent=256)
    left = min(left, members)
    shown.members += joined - left
    come, go = shown._dummy_changes(joined, left, least)
    present = CAPACITY - members
    assert 0 <= go <= present
    assert come >= 0
    after = present + come - go
    assert shown.members + after == max(CAPACITY, shown.members)
    wanted = change_class(max(joined, left, least))
    if go < present:  # there were dummies enough
        assert joined + come == left + go == wanted or wanted < max(joined, left)


def test_one_who_comes_looks_like_one_who_goes() -> None:
    sizes = set()
    for joined, left in (([tag(900)], []), ([], [tag(3)]), ([tag(901)], [tag(4)]), ([], [])):
        shown = Shown.draw(1, tags(100), None, source())
        before = numbers(shown)
        shown.step(joined, left, least=bounds.TICK_CHANGES)
        come = shown._dummies.next - (CAPACITY - 100)
        go = CAPACITY - 100 + come - len(shown._dummies)
        sizes.add((len(joined) + come, len(left) + go))
        assert sum(numbers(shown)) == sum(before) == CAPACITY
    assert sizes == {(bounds.TICK_CHANGES, bounds.TICK_CHANGES)}


class Noted(Dummies):
    """Dummies that note who has come and gone."""

    def __init__(self) -> None:
        super().__init__(Secret(b"s" * 32), CAPACITY, recent=CAPACITY // bounds.RECENT_SHARE)
        self.came: set[bytes] = set()
        self.went: set[bytes] = set()

    def come(self, number: int) -> bytes:
        blocks = super().come(number)
        self.came = {blocks[at : at + BLOCK] for at in range(0, len(blocks), BLOCK)}
        return blocks

    def go(self, number: int, *, users: int = 0, first: int = 0) -> bytes:
        blocks = super().go(number, users=users, first=first)
        self.went = {blocks[at : at + BLOCK] for at in range(0, len(blocks), BLOCK)}
        return blocks


@pytest.mark.spec("presence-30")
def test_no_dummy_goes_with_the_step_it_comes_with_and_some_soon_after() -> None:
    dummies = Noted()
    shown = Shown(placement(SMALL), epoch=7, sequence=0, tags=[], dummies=dummies)
    former: set[bytes] = set()
    soon = 0
    for _ in range(200):
        shown.step([], [], least=4)
        assert len(dummies.came) == len(dummies.went) == 4
        assert dummies.came.isdisjoint(dummies.went)
        soon += len(former & dummies.went)
        former = dummies.came
    assert soon


@pytest.mark.spec("presence-12")
def test_a_filter_is_good_for_its_capacity_and_no_more() -> None:
    shown = Shown.draw(1, tags(3000), None, source())
    assert shown.has_room(CAPACITY - 3000, 0)
    assert not shown.has_room(CAPACITY - 2999, 0)
    shown.step(tags(CAPACITY - 3000, first=5000), [], least=4)
    assert numbers(shown) == (CAPACITY, 0)
    Filter.from_bytes(shown.placement, shown.bits)


@pytest.mark.spec("presence-12")
def test_more_than_the_largest_has_room_for() -> None:
    class Many(list[bytes]):
        def __len__(self) -> int:
            return (1 << 20) + 1

    with pytest.raises(LocalProtocolError):
        Shown.draw(1, Many(), None, source())


def test_who_was_there_first_is_known_without_keeping_tags() -> None:
    shown = Shown.draw(1, tags(1000), None, source())
    shown.step(tags(1000, first=1000), [], least=4)
    assert shown._were_first(b"") == 0
    assert shown._were_first(shown.placement.encrypt(tags(1000))) == 1000
    assert shown._were_first(shown.placement.encrypt(tags(1000, first=1000))) < 50
    for number in (900, 1000):  # one by one it is the same as many at once
        blocks = shown.placement.encrypt(tags(200, first=number))
        each = (blocks[at : at + BLOCK] for at in range(0, len(blocks), BLOCK))
        assert sum(shown._were_first(block) for block in each) == shown._were_first(blocks)
    before = shown._dummies.done
    shown.step([], [tag(1), tag(1001)], least=4)
    assert shown._dummies.done >= before + 1


def test_steps_change_the_bits_that_they_say() -> None:
    shown = Shown.draw(1, tags(200), None, source())
    copy = Filter.from_bytes(shown.placement, shown.bits)
    for turn, number in enumerate((1, 0, 100, 3)):
        copy.flip(shown.step(tags(number, first=1000 * turn + 1000), tags(number, first=turn), least=4))
        assert copy.to_bytes() == shown.bits
        assert shown.sequence == turn + 1
        assert all(one in copy for one in tags(number, first=1000 * turn + 1000))
        shown.step([], tags(number, first=1000 * turn + 1000), least=4)
        shown.step(tags(number, first=turn), [], least=4)
        shown.sequence -= 2
        copy = Filter.from_bytes(shown.placement, shown.bits)


@pytest.mark.parametrize("now", [tags(100), tags(80), tags(100, first=50), [], tags(3000)])
def test_after_a_restart_it_is_the_filter_that_the_peer_has(now: list[bytes]) -> None:
    shown = Shown.draw(7, tags(90), None, source())
    shown.step(tags(10, first=90), [], least=4)
    bits, fields = shown.bits, shown.to_fields()
    again = Shown.from_fields(fields, now)
    assert (again.bits, again.sequence, again.epoch, again.filter_id) == (bits, 1, 7, shown.filter_id)
    assert again.differs is (now != tags(100))
    copy = Filter.from_bytes(again.placement, bits)
    copy.flip(again.step([], [], least=4))
    assert copy.to_bytes() == again.bits
    assert not again.differs
    assert all(one in copy for one in now)
    assert sum(numbers(again)) == CAPACITY
    assert Counters(SMALL, again.placement.encrypt(now) + again._dummies.present()).bits() == again.bits
    assert again.to_fields()[6] == copy.to_bytes()


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (1, b"epoch"),
        (2, bytes(31)),
        (3, 5),
        (3, 1),
        (4, "4"),
        (5, [bytes(32), 0, CAPACITY + 1, CAPACITY + 1, 0, 0, 0, b""]),
        (5, [bytes(32), 0]),
        (6, bytes(5)),
        (6, 5),
    ],
)
def test_what_is_no_record(number: int, value: object) -> None:
    fields = Shown.draw(7, tags(5), None, source()).to_fields()
    with pytest.raises(BadMessage):
        Shown.from_fields(fields | {number: value}, [])
    del fields[number]
    with pytest.raises(BadMessage):
        Shown.from_fields(fields, [])
