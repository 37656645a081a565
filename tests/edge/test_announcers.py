"""What connections announce, and what the homeserver is told of it, whatever the order in which things happen."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.net import WALL
from volly_fed import limits, limits_presence
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.announcers import Allowance, Announcers
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.presence import bounds, epoch_of
from volly_fed.wire import Message
from volly_fed.wire.presence import Announce, Retract

NOW = epoch_of(WALL)
WALL_MIDDLE = (NOW + 0.5) * bounds.EPOCH


def announce(*tags: int, epoch: int = NOW, number: int = 0) -> Announce:
    named = [(f"d{tag}.test", tag.to_bytes(16, "big")) for tag in tags]
    return Announce(number=number, epoch=epoch, tags=tuple(named))


def owed(announcers: Announcers) -> list[Message]:
    said: list[Message] = []
    while (message := announcers.next_owed()) is not None:
        said.append(message)
    return said


@pytest.fixture
def announcers() -> Announcers:
    made = Announcers()
    made.link_up()
    return made


def test_an_announcement_goes_on_under_a_number_that_is_not_the_connection(announcers: Announcers) -> None:
    announcers.take(70, announce(1), WALL_MIDDLE)
    announcers.take(80, announce(2), WALL_MIDDLE)
    announcers.take(70, announce(3, epoch=NOW + 1), WALL_MIDDLE)
    assert owed(announcers) == [announce(1, number=1), announce(2, number=2), announce(3, epoch=NOW + 1, number=1)]
    assert (70 in announcers, 75 in announcers, announcers.tags) == (True, False, 3)


@pytest.mark.spec("presence-49")
def test_the_end_of_a_connection_retracts_and_its_number_is_never_used_again(announcers: Announcers) -> None:
    announcers.take(1, announce(1), WALL_MIDDLE)
    owed(announcers)
    announcers.gone(1)
    announcers.gone(1)
    announcers.take(2, announce(1), WALL_MIDDLE)
    assert owed(announcers) == [Retract(number=1), announce(1, number=2)]


def test_a_device_may_retract_and_announce_again(announcers: Announcers) -> None:
    announcers.take(1, announce(1), WALL_MIDDLE)
    owed(announcers)
    announcers.take(1, Retract(), WALL_MIDDLE)
    assert (1 in announcers, announcers.tags) == (False, 0)
    announcers.take(1, announce(2), WALL_MIDDLE)
    assert owed(announcers) == [Retract(number=1), announce(2, number=1)]


def test_who_was_never_told_of_is_not_retracted(announcers: Announcers) -> None:
    announcers.take(1, announce(1), WALL_MIDDLE)
    announcers.gone(1)
    announcers.take(2, Retract(), WALL_MIDDLE)
    assert owed(announcers) == []


@pytest.mark.spec("presence-50")
def test_everything_is_told_again_on_the_next_link(announcers: Announcers) -> None:
    announcers.take(1, announce(1), WALL_MIDDLE)
    announcers.take(2, announce(2), WALL_MIDDLE)
    owed(announcers)
    announcers.link_down()
    announcers.gone(1)
    announcers.take(3, announce(3), WALL_MIDDLE)
    assert owed(announcers) == []
    announcers.link_up()
    assert owed(announcers) == [announce(2, number=2), announce(3, number=3)]


def test_who_was_told_of_on_a_former_link_only_is_not_retracted(announcers: Announcers) -> None:
    announcers.take(1, announce(1), WALL_MIDDLE)
    owed(announcers)
    announcers.link_down()
    announcers.link_up()
    announcers.gone(1)
    assert owed(announcers) == []


@pytest.mark.parametrize("wall", [NOW * bounds.EPOCH + limits.CLOCK_SKEW - 1, (NOW + 1) * bounds.EPOCH - 1])
@pytest.mark.spec("presence-46")
def test_epochs_that_are_over_or_far_are_refused_with_the_reason(wall: float) -> None:
    announcers = Announcers()
    early = wall < WALL_MIDDLE
    allowed = (NOW - 1, NOW, NOW + 1) if early else (NOW, NOW + 1, NOW + 2)
    for epoch in range(NOW - 3, NOW + 5):
        if epoch in allowed:
            announcers.take(1, announce(1, epoch=epoch), wall)
            continue
        with pytest.raises(RemoteError, match="clock") as caught:
            announcers.take(1, announce(1, epoch=epoch), wall)
        assert caught.value.code is ErrorCode.WRONG_EPOCH
    assert announcers.tags == 3


def test_what_is_over_is_forgotten(announcers: Announcers) -> None:
    for epoch in range(NOW, NOW + 10):
        announcers.take(1, announce(1, 2, epoch=epoch), (epoch + 0.5) * bounds.EPOCH)
        assert announcers.tags <= 4
    assert len(announcers) == 1


@pytest.mark.parametrize("scope", ["", "Far.test", "far.test.", "**", "a b"])
@pytest.mark.spec("presence-47")
def test_a_scope_is_a_domain_or_everybody(announcers: Announcers, scope: str) -> None:
    announcers.take(1, Announce(epoch=NOW, tags=(("*", bytes(16)), ("far.test", bytes(16)))), WALL_MIDDLE)
    with pytest.raises(BadMessage):
        announcers.take(1, Announce(epoch=NOW, tags=((scope, bytes(16)),)), WALL_MIDDLE)
    assert announcers.tags == 2


@pytest.mark.spec("presence-47")
def test_scopes_come_once_and_numbers_are_the_edges(announcers: Announcers) -> None:
    with pytest.raises(BadMessage):
        announcers.take(1, announce(1, 1), WALL_MIDDLE)
    with pytest.raises(BadMessage):
        announcers.take(1, announce(1, number=4), WALL_MIDDLE)
    with pytest.raises(BadMessage):
        announcers.take(1, Retract(number=4), WALL_MIDDLE)


@pytest.mark.spec("presence-48")
def test_tags_are_bounded_in_all(announcers: Announcers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_presence, "ANNOUNCED_TAGS_PER_EDGE", 4)
    announcers.take(1, announce(1, 2, 3), WALL_MIDDLE)
    with pytest.raises(RemoteError) as caught:
        announcers.take(2, announce(4, 5), WALL_MIDDLE)
    assert (caught.value.code, caught.value.retry_after > 0) == (ErrorCode.BUSY, True)
    announcers.take(1, announce(1), WALL_MIDDLE)  # less is always taken
    announcers.take(2, announce(4, 5), WALL_MIDDLE)
    assert announcers.tags == 3


@pytest.mark.spec("presence-48")
def test_announcements_of_one_connection_have_a_rate(announcers: Announcers) -> None:
    for _ in range(limits_presence.ANNOUNCE_BURST):
        announcers.take(1, announce(1), WALL_MIDDLE)
    with pytest.raises(RemoteError) as caught:
        announcers.take(1, announce(1), WALL_MIDDLE)
    assert caught.value.code is ErrorCode.BUSY
    announcers.take(2, announce(1), WALL_MIDDLE)
    announcers.take(1, announce(1), WALL_MIDDLE + limits_presence.ANNOUNCE_EACH)


def test_a_clock_that_runs_backwards_gives_nothing_away() -> None:
    allowance = Allowance(1, 10.0)
    assert [allowance.take(now) for now in (100.0, 50.0, 55.0, 60.0, 61.0)] == [True, False, False, True, False]


@attrs.define
class _Heard:
    """What a homeserver makes of it."""

    known: dict[tuple[int, int], Message] = attrs.field(factory=dict)

    def hear(self, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, Announce):
                self.known[message.number, message.epoch] = message
            elif isinstance(message, Retract):
                self.known = {key: kept for key, kept in self.known.items() if key[0] != message.number}


STEPS = st.lists(
    st.tuples(st.sampled_from("aaargdus"), st.integers(0, 2), st.integers(0, 1), st.integers(0, 9)), max_size=60
)


@given(STEPS)
def test_whatever_the_order_the_homeserver_knows_what_devices_said_last(
    steps: list[tuple[str, int, int, int]],
) -> None:
    announcers, heard, said = Announcers(), _Heard(), dict[tuple[int, int], Announce]()
    connections, last, linked = [1, 2, 3], 3, False
    for step, slot, epoch, tag in steps:
        connection = connections[slot]
        if step == "a":
            message = announce(tag, epoch=NOW + epoch)
            try:
                announcers.take(connection, message, WALL_MIDDLE)
            except RemoteError:
                continue
            said[connection, message.epoch] = message
        elif step in "rg":
            if step == "r":
                try:
                    announcers.take(connection, Retract(), WALL_MIDDLE)
                except RemoteError:
                    continue
            else:
                announcers.gone(connection)
                last += 1
                connections[slot] = last
            said = {key: kept for key, kept in said.items() if key[0] != connection}
        elif step == "d":
            announcers.link_down()
            heard.known, linked = {}, False
        elif step == "u" and not linked:
            announcers.link_up()
            linked = True
        elif step == "s" and linked and (one := announcers.next_owed()) is not None:
            heard.hear([one])
    if not linked:
        announcers.link_up()
    heard.hear(owed(announcers))
    assert sorted((m.epoch, m.tags) for m in heard.known.values() if isinstance(m, Announce)) == sorted(
        (m.epoch, m.tags) for m in said.values()
    )
    assert announcers.tags == sum(len(m.tags) for m in said.values())
    for connection in connections:
        announcers.gone(connection)
    heard.hear(owed(announcers))
    assert (heard.known, announcers.tags, len(announcers), announcers._by_number) == ({}, 0, 0, {})
