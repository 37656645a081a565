"""What may leave when: the order of classes, batches, and the window."""

import pytest

from tests.session.playbook import STREAM, make, next_message, streaming, take
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.errors import RemoteError
from volly_fed.session import (
    Acknowledge,
    Grant,
    Outbound,
    Session,
    Settled,
)
from volly_fed.wire.messages import Ack, Batch, Open


@pytest.mark.spec("session-4", "session-7")
def test_nothing_leaves_before_the_cursor_is_known() -> None:
    session, outbound = make()
    outbound.offer([(1, b"one")])
    assert next_message(session) == Open(stream=outbound.stream)
    assert next_message(session) is None
    take(session, Ack(stream=outbound.stream, cursor=0))
    assert next_message(session) == Batch(stream=outbound.stream, first=1, envelopes=[b"one"])


@pytest.mark.spec("session-16")
def test_classes_leave_in_the_order_of_urgency() -> None:
    session, outbound = streaming()
    outbound.offer([(1, b"bulk")], EnvelopeClass.BULK)
    outbound.offer([(2, b"signal")])
    outbound.offer([(3, b"ring"), (4, b"ring 2")], EnvelopeClass.RING)
    batch = next_message(session)
    assert isinstance(batch, Batch)
    assert batch.envelopes == [b"ring", b"ring 2", b"signal", b"bulk"]


@pytest.mark.spec("session-14", "session-15")
def test_batches_obey_count_and_bytes() -> None:
    session, outbound = streaming()
    outbound.offer([(n, bytes(65536)) for n in range(10)])
    outbound.offer([(n, b"small") for n in range(300)], EnvelopeClass.BULK)
    sizes = []
    while isinstance(batch := next_message(session), Batch):
        sizes.append(len(batch.envelopes))
    assert sizes == [8, 256, 46]  # 8 x 64 KiB; then 2 x 64 KiB and 254 small ones


def test_the_window_stops_the_sender_and_an_acknowledgement_frees_it() -> None:
    session, outbound = streaming()
    outbound.offer([(n, b"x") for n in range(limits.WAITING_ENVELOPES + 10)])
    assert outbound.room(EnvelopeClass.RING) == 0
    sent = 0
    while isinstance(batch := next_message(session), Batch):
        sent += len(batch.envelopes)
    assert sent == limits.WINDOW_ENVELOPES == outbound.in_flight
    assert outbound.room(EnvelopeClass.RING) == limits.WINDOW_ENVELOPES - 10
    assert take(session, Ack(stream=outbound.stream, cursor=4)) == [Settled(keys=[0, 1, 2, 3])]
    batch = next_message(session)
    assert isinstance(batch, Batch)
    assert (batch.first, len(batch.envelopes)) == (limits.WINDOW_ENVELOPES + 1, 4)


def test_the_window_counts_bytes() -> None:
    session, outbound = streaming()
    outbound.offer([(n, bytes(65536)) for n in range(limits.WAITING_BYTES // 65536)])
    assert outbound.room(EnvelopeClass.RING) == 0
    while next_message(session) is not None:
        pass
    assert outbound.in_flight == limits.WINDOW_BYTES // 65536


def test_lesser_classes_leave_room_in_memory_for_the_more_urgent() -> None:
    _, outbound = make()
    for urgency in reversed(EnvelopeClass):
        outbound.offer([(n, b"x") for n in range(outbound.room(urgency))], urgency)
        assert outbound.room(urgency) == 0
        if urgency:
            assert outbound.room(EnvelopeClass(urgency - 1)) >= limits.WAITING_ENVELOPES // 4
    assert outbound.waiting == limits.WAITING_ENVELOPES


@pytest.mark.spec("session-16")
def test_a_small_envelope_does_not_overtake_a_more_urgent_one_that_finds_no_room() -> None:
    session, outbound = streaming()
    outbound.offer([(n, bytes(65536)) for n in range(limits.WINDOW_BYTES // 65536 - 1)])
    outbound.offer([(15, bytes(65000))])
    while next_message(session) is not None:
        pass
    outbound.offer([(16, bytes(65536))], EnvelopeClass.RING)  # 536 bytes are left of the window
    outbound.offer([(17, b"small")], EnvelopeClass.BULK)
    assert next_message(session) is None
    take(session, Ack(stream=outbound.stream, cursor=1))
    batch = next_message(session)
    assert isinstance(batch, Batch)
    assert [len(envelope) for envelope in batch.envelopes] == [65536, 5]


@pytest.mark.spec("session-26")
def test_a_receiver_refuses_more_than_the_window() -> None:
    session, _ = streaming()
    full = [b"x"] * limits.BATCH_ENVELOPES
    for n in range(limits.WINDOW_ENVELOPES // limits.BATCH_ENVELOPES):
        take(session, Batch(stream=STREAM, first=1 + n * limits.BATCH_ENVELOPES, envelopes=full))
    with pytest.raises(RemoteError, match="window"):
        take(session, Batch(stream=STREAM, first=limits.WINDOW_ENVELOPES + 1, envelopes=[b"x"]))


# --- what the receiver grants ----------------------------------------------------------------------------------------


def sizes(session: Session[int]) -> list[int]:
    """Of the batches that leave now."""
    found = []
    while isinstance(batch := next_message(session), Batch):
        found.append(len(batch.envelopes))
    return found


@pytest.mark.spec("session-24")
def test_a_sender_keeps_to_what_is_granted_beyond_the_cursor() -> None:
    session, outbound = streaming()
    outbound.offer([(n, bytes(1000)) for n in range(1, 100)])
    take(session, Ack(stream=outbound.stream, cursor=0, window=5))
    assert sizes(session) == [5]
    take(session, Ack(stream=outbound.stream, cursor=2, window=5))
    assert sizes(session) == [2]
    take(session, Ack(stream=outbound.stream, cursor=3, window=1))
    assert sizes(session) == []
    take(session, Ack(stream=outbound.stream, cursor=7, window=0))
    assert sizes(session) == []
    take(session, Ack(stream=outbound.stream, cursor=7, window_bytes=3500))
    assert sizes(session) == [1, 2]
    take(session, Ack(stream=outbound.stream, cursor=10, window_bytes=0))
    assert sizes(session) == []
    take(session, Ack(stream=outbound.stream, cursor=10, window=1 << 40, window_bytes=1 << 40))
    assert sizes(session) == [89]


@pytest.mark.spec("session-25", "session-39")
def test_one_envelope_larger_than_the_window_leaves_when_nothing_is_in_flight() -> None:
    session, outbound = streaming()
    outbound.offer([(1, bytes(100)), (2, bytes(65536)), (3, bytes(65536))])
    take(session, Ack(stream=outbound.stream, cursor=0, window_bytes=1000))
    assert sizes(session) == [1]
    take(session, Ack(stream=outbound.stream, cursor=1, window_bytes=1000))
    assert sizes(session) == [1]
    take(session, Ack(stream=outbound.stream, cursor=2, window_bytes=1000))
    assert sizes(session) == [1]


def test_what_an_earlier_link_carried_keeps_to_the_new_links_window() -> None:
    old, outbound = streaming()
    outbound.offer([(n, bytes(1000)) for n in range(1, 21)])
    assert sizes(old) == [20]
    new: Session[int] = Session(outbound, now=0.0)
    next_message(new)
    take(new, Ack(stream=outbound.stream, cursor=4, window=3))
    assert sizes(new) == [3]
    take(new, Ack(stream=outbound.stream, cursor=7, window_bytes=2000))
    assert sizes(new) == [1, 1]


@pytest.mark.spec("session-27")
def test_a_change_of_the_window_is_told_without_a_new_cursor_and_once() -> None:
    session, _ = streaming()
    session.send(Grant(window=0))
    assert next_message(session) == Ack(stream=STREAM, cursor=0, window=0)
    session.send(Grant(window=0))
    assert next_message(session) is None
    session.send(Grant())
    assert next_message(session) == Ack(stream=STREAM, cursor=0)
    session.send(Grant(window=9, window_bytes=1 << 40))
    session.send(Grant(window=8))
    assert next_message(session) == Ack(stream=STREAM, cursor=0, window=8)


def test_a_grant_before_the_stream_is_open_comes_with_its_cursor() -> None:
    session, _ = make()
    next_message(session)
    session.send(Grant(window=8))
    assert next_message(session) is None
    take(session, Open(stream=STREAM))
    session.send(Acknowledge(stream=STREAM, cursor=3))
    assert next_message(session) == Ack(stream=STREAM, cursor=3, window=8)


@pytest.mark.spec("session-26")
def test_a_receiver_enforces_what_it_has_granted_and_never_less_than_before() -> None:
    session, _ = streaming()
    session.send(Grant(window=2))
    next_message(session)
    take(session, Batch(stream=STREAM, first=1, envelopes=[b"x"] * 200))  # under way before the grant arrived
    session.send(Acknowledge(stream=STREAM, cursor=200))
    session.tick(1.0)
    assert next_message(session) == Ack(stream=STREAM, cursor=200, window=2)
    for first in range(201, limits.WINDOW_ENVELOPES, 206):
        take(session, Batch(stream=STREAM, first=first, envelopes=[b"x"] * 206))
    with pytest.raises(RemoteError, match="window"):
        take(session, Batch(stream=STREAM, first=1025, envelopes=[b"x"]))


def test_a_batch_of_several_classes_is_no_larger_than_one_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES", limits.MAX_ENVELOPE + 100)
    outbound: Outbound[int] = Outbound(bytes)
    outbound.attach(outbound)
    outbound.grant(limits.WINDOW_ENVELOPES, limits.WINDOW_BYTES)
    for number, urgency in enumerate(EnvelopeClass):
        outbound.offer([(number, bytes(limits.MAX_ENVELOPE // 2))], urgency)
    assert [outbound.next_batch(), outbound.next_batch(), outbound.next_batch()] == [
        (1, [bytes(limits.MAX_ENVELOPE // 2)] * 2),
        (3, [bytes(limits.MAX_ENVELOPE // 2)]),
        None,
    ]


def test_what_has_left_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_BYTES", 1000)
    outbound: Outbound[int] = Outbound(bytes)
    outbound.attach(outbound)
    outbound.grant(limits.WINDOW_ENVELOPES, limits.WINDOW_BYTES)
    for number in range(3):
        outbound.offer([(number, bytes(2000))], EnvelopeClass.RING)
        assert outbound.room(EnvelopeClass.RING) == 0
        assert outbound.next_batch() == (number + 1, [bytes(2000)])
        assert outbound.room(EnvelopeClass.RING) > 0
