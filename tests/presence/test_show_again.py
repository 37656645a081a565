"""The showing machine when a peer comes back, and after a restart: what is sent again, and what is sent anew."""

import pytest

from tests.presence.helpers import source, tag, tags
from tests.presence.showing import TICK, drain, following, name, only_delta
from volly_fed.codepoints import FilterClass
from volly_fed.errors import BadMessage
from volly_fed.presence import Pace, Show, bounds
from volly_fed.presence.state import Showing
from volly_fed.wire import codec
from volly_fed.wire.messages import (
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
)

# --- coming back ---------------------------------------------------------------------------------------------------


def test_what_was_lost_on_the_way_is_sent_again() -> None:
    show = following()
    sent = [only_delta(show, TICK * turn) for turn in range(1, 6)]
    show.lost()
    show.connected()
    show.receive(PresenceResume(filter=name(show), sequence=2), TICK * 5.5)
    assert drain(show, TICK * 5.5) == sent[2:]
    assert only_delta(show, TICK * 6).sequence == 6


def test_nothing_is_sent_to_a_peer_that_has_all() -> None:
    show = following()
    only_delta(show, TICK)
    show.lost()
    show.connected()
    show.receive(PresenceResume(filter=name(show), sequence=1), TICK)
    assert drain(show, TICK) == []
    assert show.state is Showing.FOLLOWING


def test_what_is_too_long_ago_is_a_filter() -> None:
    show = following()
    for turn in range(1, bounds.HISTORY + 3):
        only_delta(show, TICK * turn)
    now = TICK * (bounds.HISTORY + 2)
    for sequence, kind in ((2, PresenceDelta), (1, PresenceSnapshot)):
        show.lost()
        show.connected()
        show.receive(PresenceResume(filter=name(show), sequence=sequence), now)
        assert {type(message) for message in drain(show, now)} == {kind}


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.spec("presence-20")
def test_a_peer_that_holds_what_we_do_not_know_gets_another_filter(other: bool) -> None:
    show = following()
    old = name(show)
    show.lost()
    show.connected()
    show.receive(PresenceResume(filter=bytes(8) if other else old, sequence=1), 20.0)
    assert show.wants_tags is not other  # ahead of us: the same numbers must not mean other bits
    if not other:
        show.begin(7, tags(100), 20.0)
        assert name(show) != old
    assert [type(message) for message in drain(show, 20.0)] == [PresenceSnapshot]


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.spec("presence-27")
def test_what_has_collected_for_long_is_not_told_in_one_step(pace: Pace, asks: bool) -> None:
    """Else whoever stays away sees by its size how much has happened. Where changes leave at once it is seen anyway."""
    for late, fresh in ((0.0, False), (0.1, pace is Pace.TICK)):
        show = following(pace)
        held = name(show)
        show.lost()
        for number in range(30):
            show.join(tag(1000 + number), 1.0)
        show.connected()
        now = TICK + bounds.AWAY + late
        show.receive(PresenceRequest() if asks else PresenceResume(filter=held, sequence=0), now)
        assert show.wants_tags is fresh
        if fresh:
            show.begin(7, tags(100), now)
            assert name(show) != held
            drain(show, now)
            assert len(only_delta(show, now + TICK).changes) <= 96


def test_history_is_bounded_in_bytes() -> None:
    show = following(members=3000)
    for turn in range(1, 60):
        for number in range(400):
            show.join(tag(10_000 * turn + number), TICK * turn)
        drain(show, TICK * turn)
        for number in range(400):
            show.leave(tag(10_000 * turn + number), TICK * turn)
    assert show._history_bytes == sum(len(changes) for _, changes in show._history) <= bounds.HISTORY_BYTES
    assert 0 < len(show._history) <= bounds.HISTORY


# --- the disk ------------------------------------------------------------------------------------------------------


def test_a_restart_needs_no_new_filter() -> None:
    show = following()
    sent = [only_delta(show, TICK * turn) for turn in range(1, 4)]
    record = show.to_record()
    assert record is not None
    again = Show(pace=Pace.TICK, random=source(2), now=0.0)
    again.restore(record, 7, tags(100))
    again.connected()
    again.receive(PresenceResume(filter=sent[0].filter, sequence=1), 0.0)
    assert drain(again, 0.0) == sent[1:]
    assert only_delta(again, TICK).sequence == 4


def test_a_record_of_another_epoch_is_only_good_for_its_class() -> None:
    show = following(members=5000)
    record = show.to_record()
    assert record is not None
    again = Show(pace=Pace.TICK, random=source(2), now=0.0)
    again.restore(record, 8, tags(2600))
    assert again.epoch is None
    again.begin(8, tags(2600), 0.0)
    assert again._require_shown().size is FilterClass.TAGS_16K


def test_a_record_for_fewer_than_there_are_now() -> None:
    record = following().to_record()
    assert record is not None
    again = Show(pace=Pace.TICK, random=source(2), now=0.0)
    again.restore(record, 7, tags(5000))
    assert again.epoch is None


def test_what_is_no_record() -> None:
    record = following().to_record()
    assert record is not None
    fields = codec.decode(record)
    assert isinstance(fields, dict)
    show = Show(pace=Pace.TICK, random=source(2), now=0.0)
    bad: list[bytes] = [b"", b"\x00", record[:-1], codec.encode(fields | {0: 2}), codec.encode(fields | {7: [1]})]
    for data in [*bad, codec.encode(fields | {7: 1}), codec.encode(fields | {3: 9})]:
        with pytest.raises(BadMessage):
            show.restore(data, 7, tags(100))
    assert show.epoch is None


def test_keys_do_not_show() -> None:
    show = following()
    key = show._require_shown().placement.key.reveal()
    show.receive(PresenceRequest(), 0.0)
    (message,) = drain(show, 100.0)
    assert isinstance(message, PresenceSnapshot)
    assert message.key == key
    assert repr(key)[2:12] not in repr(message)
