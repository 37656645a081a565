"""What may leave when: the order of classes, batches, and the window."""

import pytest

from tests.session.playbook import STREAM, make, next_message, streaming, take
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.errors import RemoteError
from volly_fed.session import (
    Settled,
)
from volly_fed.wire.messages import Ack, Batch, Open


def test_nothing_leaves_before_the_cursor_is_known() -> None:
    session, outbound = make()
    outbound.offer([(1, b"one")])
    assert next_message(session) == Open(stream=outbound.stream)
    assert next_message(session) is None
    take(session, Ack(stream=outbound.stream, cursor=0))
    assert next_message(session) == Batch(stream=outbound.stream, first=1, envelopes=[b"one"])


def test_classes_leave_in_the_order_of_urgency() -> None:
    session, outbound = streaming()
    outbound.offer([(1, b"bulk")], EnvelopeClass.BULK)
    outbound.offer([(2, b"signal")])
    outbound.offer([(3, b"ring"), (4, b"ring 2")], EnvelopeClass.RING)
    batch = next_message(session)
    assert isinstance(batch, Batch)
    assert batch.envelopes == [b"ring", b"ring 2", b"signal", b"bulk"]


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
    assert outbound.room() == 0
    sent = 0
    while isinstance(batch := next_message(session), Batch):
        sent += len(batch.envelopes)
    assert sent == limits.WINDOW_ENVELOPES == outbound.in_flight
    assert outbound.room() == limits.WINDOW_ENVELOPES - 10
    assert take(session, Ack(stream=outbound.stream, cursor=4)) == [Settled(keys=[0, 1, 2, 3])]
    batch = next_message(session)
    assert isinstance(batch, Batch)
    assert (batch.first, len(batch.envelopes)) == (limits.WINDOW_ENVELOPES + 1, 4)


def test_the_window_counts_bytes() -> None:
    session, outbound = streaming()
    outbound.offer([(n, bytes(65536)) for n in range(limits.WAITING_BYTES // 65536)])
    assert outbound.room() == 0
    while next_message(session) is not None:
        pass
    assert outbound.in_flight == limits.WINDOW_BYTES // 65536


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


def test_a_receiver_refuses_more_than_the_window() -> None:
    session, _ = streaming()
    full = [b"x"] * limits.BATCH_ENVELOPES
    for n in range(limits.WINDOW_ENVELOPES // limits.BATCH_ENVELOPES):
        take(session, Batch(stream=STREAM, first=1 + n * limits.BATCH_ENVELOPES, envelopes=full))
    with pytest.raises(RemoteError, match="window"):
        take(session, Batch(stream=STREAM, first=limits.WINDOW_ENVELOPES + 1, envelopes=[b"x"]))
