"""The viewing machine: what it takes, what it hands on, and everything a hostile peer may send."""

from typing import Any

import attrs
import numpy as np
import pytest

from tests.presence.helpers import placement, source, tag, tags
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.presence import Appeared, Changed, Gone, View, bounds
from volly_fed.presence.delta import encode_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits, filter_bytes
from volly_fed.presence.shown import Shown
from volly_fed.presence.snapshot import snapshot_pieces
from volly_fed.presence.state import Viewing
from volly_fed.wire import Message, codec
from volly_fed.wire.messages import (
    Ping,
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
)

EPOCH = 1000
WALL = EPOCH * bounds.EPOCH + 900.0
KEY = b"k" * 32
SIZE = FilterClass.TAGS_64K


def pieces(shown: Shown) -> list[PresenceSnapshot]:
    return snapshot_pieces(
        epoch=shown.epoch,
        key=shown.placement.key.reveal(),
        size=shown.size,
        sequence=shown.sequence,
        bits=shown.bits,
    )


def filled(members: int = 20_000, epoch: int = EPOCH, seed: int = 1) -> Shown:
    return Shown.draw(epoch, tags(members), None, source(seed))


def asking() -> View:
    view = View()
    assert view.connected() == PresenceRequest()
    return view


def following(shown: Shown) -> View:
    view = asking()
    for piece in pieces(shown):
        view.receive(piece, WALL)
    assert view.state is Viewing.FOLLOWING
    view.events()
    return view


def delta(shown: Shown, *, joined: int = 1, first: int = 50_000) -> PresenceDelta:
    changes = encode_delta(shown.step(tags(joined, first=first), [], least=4), filter_bits(shown.size))
    assert changes is not None
    return PresenceDelta(filter=shown.filter_id, sequence=shown.sequence, changes=changes)


def refused(view: View, message: Message, wall: float = WALL) -> ErrorCode:
    before = (view.filter, view.filter and view.filter.to_bytes(), view.epoch, view.sequence)
    with pytest.raises(RemoteError) as caught:
        view.receive(message, wall)
    assert (view.filter, view.filter and view.filter.to_bytes(), view.epoch, view.sequence) == before
    assert view.events() == []
    return caught.value.code


# --- what is taken -------------------------------------------------------------------------------------------------


def test_a_filter_in_pieces() -> None:
    shown, view = filled(), asking()
    first, last = pieces(shown)
    view.receive(first, WALL)
    assert view.filter is None
    assert view.events() == []
    view.receive(last, WALL)
    key = shown.placement.key.reveal()
    assert view.events() == [Appeared(epoch=EPOCH, key=key, size=shown.size, sequence=0, bits=shown.bits)]
    assert view.filter is not None
    assert all(one in view.filter for one in tags(20_000))
    assert view.pieces() == [first, last]


def test_changes_are_applied_and_handed_on_as_they_came() -> None:
    shown = filled()
    view = following(shown)
    message = delta(shown)
    view.receive(message, WALL)
    assert view.events() == [Changed(sequence=1, changes=message.changes)]
    assert view.filter is not None
    assert tag(50_000) in view.filter
    assert view.filter.to_bytes() == shown.bits


@pytest.mark.spec("presence-32")
def test_a_filter_is_kept_while_there_is_no_link_and_spoken_of_on_the_next() -> None:
    shown = filled()
    view = following(shown)
    view.receive(delta(shown), WALL)
    view.lost()
    assert view.filter is not None
    assert view.connected() == PresenceResume(filter=shown.filter_id, sequence=1)
    view.receive(delta(shown, first=60_000), WALL)
    assert view.sequence == 2


def test_half_a_filter_is_forgotten_with_the_link() -> None:
    first, last = pieces(filled())
    view = asking()
    view.receive(first, WALL)
    view.lost()
    assert view.connected() == PresenceRequest()
    assert refused(view, last) is ErrorCode.OUT_OF_STEP


@pytest.mark.spec("presence-41")
def test_withdrawn() -> None:
    shown = filled()
    view = following(shown)
    view.receive(PresenceWithdraw(), WALL)
    assert view.events() == [Gone()]
    assert view.filter is None
    assert view.pieces() == []
    view.receive(PresenceWithdraw(), WALL)
    assert view.events() == []
    for piece in pieces(shown):
        view.receive(piece, WALL)
    assert view.filter is not None


@pytest.mark.spec("presence-40")
def test_asking_anew() -> None:
    shown = filled()
    view = following(shown)
    assert view.again() == PresenceRequest()
    view.receive(delta(shown), WALL)  # was on its way
    assert view.sequence == 0
    for piece in pieces(shown):
        view.receive(piece, WALL)
    assert view.sequence == 1
    view.lost()
    with pytest.raises(LocalProtocolError):
        view.again()


@pytest.mark.spec("presence-40")
def test_asking_anew_while_a_filter_comes_in() -> None:
    view, (first, second, *_) = asking(), pieces(filled(100_000))
    view.receive(first, WALL)
    view.again()
    view.receive(second, WALL)  # was on its way
    assert view.state is Viewing.ASKING
    for piece in pieces(filled(seed=2)):
        view.receive(piece, WALL)
    assert view.filter is not None
    view.events()
    assert refused(view, second) is ErrorCode.OUT_OF_STEP


def test_a_filter_may_begin_anew_before_it_is_complete() -> None:
    view = asking()
    view.receive(pieces(filled())[0], WALL)
    other = filled(seed=2)
    for piece in pieces(other):
        view.receive(piece, WALL)
    assert view.filter is not None
    assert view.filter.to_bytes() == other.bits


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("presence-42")
def test_a_filter_is_forgotten_some_time_after_its_epoch() -> None:
    view = following(filled())
    end = (EPOCH + 1) * bounds.EPOCH
    assert view.deadline is not None
    assert view.deadline > end + bounds.EPOCH_GRACE
    view.tick(end)
    assert view.events() == []
    view.tick(view.deadline)
    assert view.events() == [Gone()]
    assert view.deadline is None
    assert view.state is Viewing.ASKING


def test_what_is_coming_in_does_not_suffer_from_it() -> None:
    view = following(filled())
    late = (EPOCH + 1) * bounds.EPOCH + 900.0
    first, last = pieces(filled(epoch=EPOCH + 1, seed=2))
    view.receive(first, late)
    view.tick(late)
    assert view.events() == [Gone()]
    view.receive(last, late)
    assert view.epoch == EPOCH + 1
    view.lost()
    view.tick(late + 2 * bounds.EPOCH)
    assert view.filter is None
    assert view.state is Viewing.AWAY


# --- hostile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1, EPOCH + 2, 0, 2**64 - 1])
@pytest.mark.spec("presence-33")
def test_another_epoch(epoch: int) -> None:
    first = attrs.evolve(pieces(filled())[0], epoch=epoch)
    assert refused(asking(), first) is ErrorCode.WRONG_EPOCH


@pytest.mark.spec("presence-33")
def test_an_older_epoch_than_it_has_shown_already() -> None:
    border = EPOCH * bounds.EPOCH + 10.0  # both are acceptable
    old, new = pieces(filled(epoch=EPOCH - 1)), pieces(filled(seed=2))
    view = asking()
    for piece in (*old, *new):
        view.receive(piece, border)
    view.events()
    assert refused(view, old[0], border) is ErrorCode.WRONG_EPOCH


@pytest.mark.spec("presence-34")
def test_an_older_state_of_the_same_filter() -> None:
    shown = filled()
    old = pieces(shown)
    view = following(shown)
    view.receive(delta(shown), WALL)
    view.events()
    assert refused(view, old[0]) is ErrorCode.OUT_OF_STEP
    for piece in pieces(shown):
        view.receive(piece, WALL)  # the same again is harmless


@pytest.mark.parametrize("size", [5, 255, 2**64 - 1])
@pytest.mark.spec("presence-13")
def test_no_such_class(size: int) -> None:
    assert refused(asking(), attrs.evolve(pieces(filled())[0], size=size)) is ErrorCode.BAD_FILTER


@pytest.mark.parametrize("cut", [0, 1, -1])
@pytest.mark.spec("presence-37")
def test_pieces_of_another_size(cut: int) -> None:
    first, last = pieces(filled())
    bits = first.bits + b"\0" if cut > 0 else first.bits[:cut] if cut else b""
    assert refused(asking(), attrs.evolve(first, bits=bits)) is ErrorCode.BAD_FILTER
    view = asking()
    view.receive(first, WALL)
    assert refused(view, attrs.evolve(last, bits=bits)) is ErrorCode.BAD_FILTER
    assert refused(view, last) is ErrorCode.OUT_OF_STEP  # nothing of it is kept


@pytest.mark.parametrize(
    "change", [{"epoch": EPOCH + 1}, {"key": b"l" * 32}, {"size": 1}, {"sequence": 1}, {"offset": 1}, {"offset": 2**40}]
)
@pytest.mark.spec("presence-36")
def test_pieces_that_do_not_belong_together(change: dict[str, Any]) -> None:
    first, last = pieces(filled())
    view = asking()
    view.receive(first, WALL)
    assert refused(view, attrs.evolve(last, **change)) is ErrorCode.OUT_OF_STEP


@pytest.mark.spec("presence-36")
def test_a_piece_twice_or_left_out() -> None:
    _, second, third, *_ = pieces(filled(100_000))
    assert refused(asking(), second) is ErrorCode.OUT_OF_STEP
    view = asking()
    view.receive(pieces(filled(100_000))[0], WALL)
    assert refused(view, third) is ErrorCode.OUT_OF_STEP


def test_a_filter_that_is_too_full() -> None:
    full = np.packbits(np.arange(filter_bits(SIZE)) % 2 == 0).tobytes()
    first, last = snapshot_pieces(epoch=EPOCH, key=KEY, size=SIZE, sequence=0, bits=full)
    view = following(filled())
    view.receive(first, WALL)
    assert refused(view, last) is ErrorCode.BAD_FILTER
    assert view._assembly is None


@pytest.mark.spec("presence-35")
def test_too_many_filters() -> None:
    view, shown = asking(), filled(10)
    for _ in range(bounds.SNAPSHOTS_PER_EPOCH):
        view.receive(pieces(shown)[0], WALL)
    view.events()
    assert refused(view, pieces(shown)[0]) is ErrorCode.BUSY
    later = pieces(filled(10, epoch=EPOCH + 1, seed=2))[0]
    view.receive(later, WALL + bounds.EPOCH)
    assert view.epoch == EPOCH + 1


def test_filters_that_never_end_count_too() -> None:
    view, first = asking(), pieces(filled())[0]
    for _ in range(bounds.SNAPSHOTS_PER_EPOCH):
        view.receive(first, WALL)
    assert refused(view, first) is ErrorCode.BUSY


@pytest.mark.parametrize("sequence", [0, 2, 3, 2**64 - 1])
@pytest.mark.spec("presence-38")
def test_a_change_twice_or_left_out(sequence: int) -> None:
    shown = filled()
    view = following(shown)
    assert refused(view, attrs.evolve(delta(shown), sequence=sequence)) is ErrorCode.OUT_OF_STEP


@pytest.mark.spec("presence-38")
def test_a_change_of_another_filter() -> None:
    shown = filled()
    view = following(shown)
    assert refused(view, attrs.evolve(delta(shown), filter=bytes(8))) is ErrorCode.OUT_OF_STEP


def test_a_change_that_is_none() -> None:
    shown = filled()
    view = following(shown)
    assert refused(view, attrs.evolve(delta(shown), changes=bytes(65))) is ErrorCode.MALFORMED


@pytest.mark.spec("presence-39")
def test_a_change_that_fills_it() -> None:
    place = Placement(Secret(KEY), SIZE)
    view = following(filled())
    empty = Filter(place)
    view._hold(EPOCH, 0, empty)
    bits = filter_bits(SIZE)
    for number, start in enumerate(range(0, bits, bits // 16), 1):
        changes = encode_delta(np.arange(start, start + bits // 16), bits)
        assert changes is not None
        message = PresenceDelta(filter=place.filter_id, sequence=number, changes=changes)
        if number > 7:  # 8/16 are more than 45 %
            assert refused(view, message) is ErrorCode.BAD_FILTER
            return
        view.receive(message, WALL)
        view.events()


@pytest.mark.parametrize("message", [Ping(token=1), PresenceRequest(), PresenceResume(filter=bytes(8), sequence=1)])
def test_what_does_not_belong_here(message: Message) -> None:
    assert refused(asking(), message) is ErrorCode.UNEXPECTED


@pytest.mark.spec("presence-16")
def test_changes_among_pieces() -> None:
    shown = filled()
    first, last = pieces(shown)
    view = asking()
    view.receive(first, WALL)
    assert refused(view, delta(shown)) is ErrorCode.UNEXPECTED
    assert refused(view, last) is ErrorCode.OUT_OF_STEP


def test_nothing_is_taken_without_a_link() -> None:
    shown = filled()
    view = following(shown)
    view.lost()
    for message in (delta(shown), PresenceWithdraw(), pieces(shown)[0]):
        assert refused(view, message) is ErrorCode.UNEXPECTED


# --- the disk ------------------------------------------------------------------------------------------------------


def test_a_restart_needs_no_new_filter() -> None:
    shown = filled()
    view = following(shown)
    view.receive(delta(shown), WALL)
    record = view.to_record()
    assert record is not None
    again = View.from_record(record)
    assert again.connected() == PresenceResume(filter=shown.filter_id, sequence=1)
    again.receive(delta(shown, first=60_000), WALL)
    assert again.filter is not None
    assert again.filter.to_bytes() == shown.bits
    assert again.epoch == EPOCH


def test_nothing_to_keep() -> None:
    assert View().to_record() is None


def test_what_is_no_record() -> None:
    record = following(filled(10)).to_record()
    assert record is not None
    fields = codec.decode(record)
    assert isinstance(fields, dict)
    kept: dict[int, Any] = fields
    changes: list[dict[int, Any]] = [{0: 2}, {1: b""}, {2: bytes(31)}, {3: 5}, {3: 1}, {4: b""}]
    changes.append({5: b"\xff" * filter_bytes(FilterClass.TAGS_4K)})
    for data in [b"", b"\x00", record[:-1], *(codec.encode(kept | change) for change in changes)]:
        with pytest.raises(BadMessage):
            View.from_record(data)


def test_keys_do_not_show() -> None:
    view = asking()
    for piece in pieces(Shown.draw(EPOCH, [], None, source())):
        view.receive(piece, WALL)
        assert "key=" not in repr(piece)
        assert "bits=" not in repr(piece)
    assert "key=" not in repr(view.events())
    assert placement().filter_id
