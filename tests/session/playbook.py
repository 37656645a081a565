"""One session, step by step: helpers for the playbooks."""

import random

from volly_fed.session import (
    Acknowledge,
    Next,
    Outbound,
    Session,
    StreamOpened,
)
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Ack, Message, Open

STREAM = b"theirs.."


def make(extra: frozenset[type[Message]] = frozenset(), random_seed: int = 1) -> tuple[Session[int], Outbound[int]]:
    outbound: Outbound[int] = Outbound(random.Random(random_seed).randbytes)
    return Session(outbound, now=0.0, extra=extra), outbound


def take(session: Session[int], message: Message, now: float = 0.0) -> list[object]:
    session.receive(encode_message(message), now)
    return list(session.events())


def next_message(session: Session[int]) -> Message | None:
    data = session.send(Next())
    return parse_message(data) if data else None


def streaming(extra: frozenset[type[Message]] = frozenset()) -> tuple[Session[int], Outbound[int]]:
    """Both streams are open at cursor 0."""
    session, outbound = make(extra)
    assert next_message(session) == Open(stream=outbound.stream)
    take(session, Ack(stream=outbound.stream, cursor=0))
    assert take(session, Open(stream=STREAM)) == [StreamOpened(STREAM)]
    session.send(Acknowledge(stream=STREAM, cursor=0))
    assert next_message(session) == Ack(stream=STREAM, cursor=0)
    return session, outbound
