"""Envelopes made by joining are the ones that the codec would make."""

import os

import pytest

from bench.relay.envelopes import Press, Target, Tickets
from volly_fed import limits
from volly_fed.names import DomainName
from volly_fed.relay.envelope import parse_envelope
from volly_fed.wire import parse_message
from volly_fed.wire.messages import Batch

TARGETS = [
    Target(mailbox=bytes([number]) * 32, domain=DomainName(domain), capability=bytes([number]) * 16)
    for number, domain in enumerate(("b.test", "another.example", "b.test"))
]
KEY = bytes(16)
STREAM = b"stream-1"


def pressed(press: Press, first: int, due: list[int], number: int = 0) -> Batch:
    message = parse_message(press.batch(STREAM, first, number, due))
    assert isinstance(message, Batch)
    return message


@pytest.mark.parametrize("count", [1, 2, 3, 7, 23, 24, 255, 256])
@pytest.mark.parametrize("targets", [TARGETS[:1], TARGETS])
def test_batches_are_well_formed(count: int, targets: list[Target]) -> None:
    press = Press(targets, limits.BODY_CLASSES[0], Tickets(KEY))
    message = pressed(press, 70_000, [5] * count)
    assert (message.stream, message.first, len(message.envelopes)) == (STREAM, 70_000, count)
    for at, envelope in enumerate(map(parse_envelope, message.envelopes)):
        target = targets[at % len(targets)]
        assert (envelope.mailbox, envelope.domain, envelope.capability) == (
            target.mailbox,
            target.domain,
            target.capability,
        )


def test_targets_take_turns_over_batches() -> None:
    press = Press(TARGETS, limits.BODY_CLASSES[0], Tickets(KEY))
    sent = [frame for count in (1, 4, 2) for frame in pressed(press, 1, [0] * count).envelopes]
    assert [parse_envelope(frame).mailbox for frame in sent] == [TARGETS[at % 3].mailbox for at in range(7)]


def test_frame_bytes_is_the_size_of_an_envelope() -> None:
    press = Press(TARGETS[:1], limits.BODY_CLASSES[3], Tickets(KEY))
    assert [len(frame) for frame in pressed(press, 1, [0, 0]).envelopes] == [press.frame_bytes] * 2


def test_tickets_come_back_from_ids() -> None:
    press = Press(TARGETS, limits.BODY_CLASSES[0], Tickets(KEY))
    due = [1_000_000, 2_000_000, 3_000_000]
    ids = [parse_envelope(frame).id for frame in pressed(press, 1, due, number=41).envelopes]
    numbers, when = Tickets(KEY).open(ids)
    assert (list(numbers), list(when)) == ([41, 42, 43], due)


def test_ids_look_random() -> None:
    ids = Tickets(os.urandom(16)).seal(1, [7] * 1000)
    assert len(set(ids)) == 1000
    assert len({identity[0] for identity in ids}) > 200
