"""The showing machine: who has the first word, when something leaves, and what a peer cannot make it do."""

import pytest

from tests.presence.helpers import source, tag, tags
from tests.presence.showing import TICK, drain, following, made, name, only_delta
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.presence import Pace, Show, bounds
from volly_fed.presence.placement import filter_bytes
from volly_fed.wire import Message
from volly_fed.wire.messages import (
    Ping,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
)

PROMPT = bounds.PROMPT


# --- the beginning -------------------------------------------------------------------------------------------------


@pytest.mark.spec("presence-17")
def test_a_peer_that_asks_for_nothing_gets_nothing_and_costs_nothing() -> None:
    show = Show(pace=Pace.TICK, random=source(), now=0.0)
    show.connected()
    show.join(tag(1), 0.0)
    assert drain(show, 100.0) == []
    assert (show.deadline, show.may_send, show.wants_tags, show.epoch) == (None, False, False, None)


def test_tags_are_wanted_when_the_peer_asks() -> None:
    show = Show(pace=Pace.TICK, random=source(), now=0.0)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    assert show.wants_tags
    assert drain(show, 100.0) == []
    show.begin(7, tags(3), 100.0)
    assert not show.wants_tags
    (message,) = drain(show, 100.0)
    assert isinstance(message, PresenceSnapshot)
    assert (message.epoch, message.size, message.sequence, message.offset) == (7, 0, 0, 0)


def test_a_large_filter_comes_in_pieces() -> None:
    show = made(members=20_000)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    pieces = drain(show, 0.0)
    assert [piece.offset for piece in pieces if isinstance(piece, PresenceSnapshot)] == [0, bounds.SNAPSHOT_PIECE]
    assert sum(len(p.bits) for p in pieces if isinstance(p, PresenceSnapshot)) == filter_bytes(FilterClass.TAGS_64K)


@pytest.mark.parametrize("message", [Ping(token=1), PresenceWithdraw()])
@pytest.mark.spec("presence-18")
def test_what_does_not_belong_here(message: Message) -> None:
    show = following()
    with pytest.raises(RemoteError) as caught:
        show.receive(message, 0.0)
    assert caught.value.code is ErrorCode.UNEXPECTED


@pytest.mark.spec("presence-18")
def test_a_peer_resumes_at_the_beginning_of_a_link_only() -> None:
    show = following()
    with pytest.raises(RemoteError) as caught:
        show.receive(PresenceResume(filter=bytes(8), sequence=0), 0.0)
    assert caught.value.code is ErrorCode.UNEXPECTED


@pytest.mark.spec("presence-19")
def test_filters_on_request_are_spaced() -> None:
    show = following()
    for _ in range(5):
        show.receive(PresenceRequest(), 1.0)
        assert drain(show, 1.0) == []
    assert show.deadline == bounds.SNAPSHOT_PAUSE
    assert [type(message) for message in drain(show, bounds.SNAPSHOT_PAUSE)] == [PresenceSnapshot]


# --- pace ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("presence-23")
def test_ticks_come_whether_anything_has_changed_or_not_and_look_the_same() -> None:
    show, sizes = following(), set()
    for turn in range(1, 20):
        if turn % 3 == 1:
            show.join(tag(1000 + turn), TICK * turn - 1)
        if turn % 3 == 2:
            show.leave(tag(turn), TICK * turn - 1)
        assert show.deadline == TICK * turn
        assert drain(show, TICK * turn - 0.01) == []
        delta = only_delta(show, TICK * turn)
        assert delta.sequence == turn
        sizes.add(len(delta.changes))
    assert sizes <= {64, 96}


@pytest.mark.spec("presence-24")
def test_prompt_changes_leave_at_once_and_together() -> None:
    show = following(Pace.PROMPT)
    assert show.deadline is None
    show.join(tag(1000), 1.0)
    assert show.deadline == 1.0
    assert only_delta(show, 1.0).sequence == 1
    show.leave(tag(1), 1.001)
    show.leave(tag(2), 1.004)
    assert show.deadline == 1.0 + PROMPT
    assert drain(show, 1.004) == []
    assert only_delta(show, 1.0 + PROMPT).sequence == 2
    assert drain(show, 1.5) == []


def test_a_prompt_peer_hears_nothing_when_nothing_happens() -> None:
    show = following(Pace.PROMPT)
    show.join(tag(1000), 1.0)
    only_delta(show, 1.01)
    assert show.deadline == TICK  # the budget of prompt messages begins anew then, and nothing leaves
    for now in (TICK, 2 * TICK, 50 * TICK):
        assert drain(show, now) == []
    assert show.deadline is None


@pytest.mark.spec("presence-24")
def test_a_flood_is_no_storm() -> None:
    show = following(Pace.PROMPT)
    sent = 0
    for number in range(390):  # for just under one tick
        now = number * PROMPT
        show.join(tag(1000 + number), now)
        sent += len(drain(show, now))
    assert sent == bounds.PROMPTS_PER_TICK
    assert show.deadline == TICK
    only_delta(show, TICK)
    show.join(tag(5000), TICK + 0.5)
    only_delta(show, TICK + 0.5)


def test_who_comes_and_goes_between_two_messages_was_never_there() -> None:
    show = following(Pace.PROMPT)
    show.join(tag(1000), 1.0)
    show.leave(tag(1000), 1.001)
    show.leave(tag(1), 1.001)
    show.join(tag(1), 1.002)
    assert show.deadline is None
    assert drain(show, 1.5) == []


def test_coming_twice_is_a_bug() -> None:
    show = following()
    show.join(tag(1000), 1.0)
    with pytest.raises(LocalProtocolError):
        show.join(tag(1000), 1.0)
    show.leave(tag(1), 1.0)
    with pytest.raises(LocalProtocolError):
        show.leave(tag(1), 1.0)


# --- another filter ------------------------------------------------------------------------------------------------


@pytest.mark.spec("presence-9")
def test_a_new_epoch_is_a_new_key_and_nothing_of_the_old() -> None:
    show = following()
    show.join(tag(1000), 1.0)
    show.begin(8, tags(50, first=2000), 1.5)
    (message,) = drain(show, 1.5)
    assert isinstance(message, PresenceSnapshot)
    assert (message.epoch, message.sequence) == (8, 0)
    assert message.key != following()._require_shown().placement.key.reveal()
    assert only_delta(show, 1.5 + TICK).sequence == 1


def test_nothing_of_the_old_filter_is_sent_after_a_new_one() -> None:
    show = made(members=20_000)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    old = show.next_message(0.0)
    assert show.may_send
    show.begin(8, tags(20_000), 0.0)
    messages = drain(show, 0.0)
    assert old not in messages
    assert {message.epoch for message in messages if isinstance(message, PresenceSnapshot)} == {8}
    only_delta(show, TICK)
    show.begin(9, tags(5), TICK)
    show.lost()
    show.connected()
    show.receive(PresenceResume(filter=name(show), sequence=0), TICK)
    assert not show.may_send  # what has changed in the former filter is no change of this one


def test_half_a_filter_does_not_wait_for_another_link() -> None:
    show = made(members=20_000)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    show.next_message(0.0)
    assert show.may_send
    show.lost()
    show.connected()
    assert not show.may_send
    show.receive(PresenceRequest(), 1.0)
    assert len(drain(show, bounds.SNAPSHOT_PAUSE)) == 2


@pytest.mark.spec("presence-12")
def test_when_it_is_full_a_larger_one_is_wanted() -> None:
    show = following()
    for number in range(4000):
        show.join(tag(1000 + number), 1.0)
    assert drain(show, TICK) == []
    assert show.wants_tags
    show.begin(7, tags(4100), TICK)
    (message,) = drain(show, TICK)
    assert isinstance(message, PresenceSnapshot)
    assert message.size == FilterClass.TAGS_16K


@pytest.mark.spec("presence-26")
def test_a_change_larger_than_the_filter_is_the_filter() -> None:
    show = following(members=3500)
    only_delta(show, TICK)
    for number in range(3500):  # nearly everybody: half of the bits
        show.leave(tag(number), TICK)
        show.join(tag(10_000 + number), TICK)
    (message,) = drain(show, 2 * TICK)
    assert isinstance(message, PresenceSnapshot)
    assert message.sequence == 2
    assert only_delta(show, 3 * TICK).sequence == 3
    show.lost()
    show.connected()
    show.receive(PresenceResume(filter=name(show), sequence=1), 3 * TICK)
    assert not show.may_send  # what came before that filter is not known as changes
    assert [type(message) for message in drain(show, 20 * TICK)] == [PresenceSnapshot]


def test_changes_for_a_peer_that_is_away_do_not_pile_up() -> None:
    show = following()
    show.lost()
    for number in range(4096 // bounds.WAITING_SHARE):
        show.join(tag(1000 + number), 1.0)
    assert show.epoch == 7
    show.join(tag(9000), 1.0)
    assert show.epoch is None
    for number in range(100):
        show.join(tag(20_000 + number), 1.0)
    assert not show._joined
    show.connected()
    show.receive(PresenceResume(filter=bytes(8), sequence=3), 2.0)
    assert show.wants_tags


def test_withdrawn() -> None:
    show = following()
    show.join(tag(1000), 1.0)
    show.withdraw()
    assert drain(show, 100.0) == [PresenceWithdraw()]
    assert (show.deadline, show.wants_tags, show.epoch, show.to_record()) == (None, False, None, None)
    show.receive(PresenceRequest(), 101.0)
    assert not show.wants_tags
    show.begin(8, tags(3), 102.0)
    assert [type(message) for message in drain(show, 102.0)] == [PresenceSnapshot]


def test_withdrawn_before_the_peer_has_said_anything() -> None:
    show = made()
    show.connected()
    show.withdraw()
    assert drain(show, 0.0) == [], "it gets nothing that it has not asked for"
    show.receive(PresenceResume(filter=bytes(8), sequence=0), 0.0)
    assert drain(show, 0.0) == [PresenceWithdraw()]
    show.lost()
    show.withdraw()
    assert drain(show, 0.0) == []


def test_withdrawn_while_the_peer_is_away() -> None:
    show = following()
    held = name(show)
    show.lost()
    show.withdraw()
    show.connected()
    show.receive(PresenceResume(filter=held, sequence=0), 0.0)
    assert drain(show, 0.0) == [PresenceWithdraw()]
    assert not show.wants_tags


def test_withdrawn_and_allowed_again_while_the_peer_is_away() -> None:
    show = following()
    show.withdraw()
    drain(show, 0.0)
    show.lost()
    show.expire()
    show.connected()
    show.receive(PresenceRequest(), 1.0)
    assert show.wants_tags
    assert drain(show, 1.0) == [], "nothing is withdrawn any more"


def test_an_epoch_that_is_over() -> None:
    away, near = following(), following()
    held = name(away)
    away.lost()
    for show in (away, near):
        show.expire()
        assert show.epoch is None
        show.join(tag(1000), 1.0)
    assert near.wants_tags
    assert not away.wants_tags
    away.connected()
    away.receive(PresenceResume(filter=held, sequence=0), 1.0)
    assert away.wants_tags
