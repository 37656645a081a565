"""Session: playbooks of single links: what breaks the protocol, keepalive, draining."""

import random

import pytest

from tests.session.playbook import STREAM, make, next_message, streaming, take
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.names import parse_domain
from volly_fed.session import (
    Closing,
    Drain,
    Extra,
    Finished,
    Lost,
    Next,
    Other,
    Received,
    Session,
    Settled,
    closing,
)
from volly_fed.testing.session_pair import SessionPair
from volly_fed.wire import parse_message
from volly_fed.wire.messages import Ack, Batch, Close, Hello, Message, Open, Ping, Pong, Release


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Batch(stream=STREAM, first=2, envelopes=[b"x"]), ErrorCode.UNEXPECTED),  # a gap
        (Batch(stream=b"another.", first=1, envelopes=[b"x"]), ErrorCode.UNEXPECTED),
        (Batch(stream=STREAM, first=1, envelopes=[]), ErrorCode.MALFORMED),
        (Batch(stream=STREAM, first=0, envelopes=[b"x"]), ErrorCode.MALFORMED),
        (Open(stream=STREAM), ErrorCode.UNEXPECTED),
        (Ack(stream=b"unheard.", cursor=0), ErrorCode.UNEXPECTED),
        (Pong(token=1), ErrorCode.UNEXPECTED),
        (Release(mailbox=bytes(32)), ErrorCode.UNEXPECTED),  # not in `extra`
    ],
)
@pytest.mark.spec("session-1", "session-10", "session-11", "session-13", "session-31")
def test_what_breaks_the_protocol_ends_the_session(message: Message, code: ErrorCode) -> None:
    session, _ = streaming()
    with pytest.raises(RemoteError) as caught:
        take(session, message)
    assert caught.value.code is code
    assert session.over
    assert session.send(Next()) == b""
    assert session.deadline is None
    answer = parse_message(closing(caught.value))
    assert isinstance(answer, Close)
    assert answer.code is code


def test_a_batch_before_the_cursor_was_told_is_refused() -> None:
    session, _ = make()
    take(session, Open(stream=STREAM))
    with pytest.raises(RemoteError, match="ASKED"):
        take(session, Batch(stream=STREAM, first=1, envelopes=[b"x"]))


def test_junk_is_a_bad_message() -> None:
    session, _ = make()
    with pytest.raises(BadMessage):
        session.receive(b"junk", 0.0)


def test_a_session_that_was_replaced_does_nothing_more() -> None:
    old, outbound = streaming()
    outbound.offer([(1, b"x")])
    next_message(old)
    new: Session[int] = Session(outbound, now=0.0)
    assert take(old, Ack(stream=outbound.stream, cursor=1)) == []
    assert next_message(old) is None
    assert outbound.in_flight == 1
    next_message(new)
    assert take(new, Ack(stream=outbound.stream, cursor=1)) == [Settled(keys=[1])]


@pytest.mark.spec("versioning-6")
def test_extras_pass_beside_the_stream_in_turns() -> None:
    session, outbound = streaming(extra=frozenset({Release}))
    one, two = Release(mailbox=bytes(32)), Release(mailbox=bytes([1]) * 32)
    assert take(session, one) == [Other(one)]
    session.send(Extra(one))
    session.send(Extra(two))
    outbound.offer([(1, b"x")])
    kinds = [type(next_message(session)) for _ in range(4)]
    assert kinds == [Release, Batch, Release, type(None)]
    with pytest.raises(LocalProtocolError):
        session.send(Extra(Ping(token=1)))
    while session.extra_room:
        session.send(Extra(one))
    with pytest.raises(LocalProtocolError):
        session.send(Extra(one))


@pytest.mark.spec("session-1")
def test_a_handshake_message_does_not_belong_here() -> None:
    session, _ = streaming()
    name = parse_domain("a.test")
    hello = Hello(versions=(1, 1), own=name, wanted=name, identity=bytes(1984), nonce=bytes(32), extensions={})
    with pytest.raises(RemoteError, match="Hello"):
        take(session, hello)


@pytest.mark.spec("session-28", "session-30")
def test_keepalive() -> None:
    session, _ = streaming()
    assert session.deadline == limits.PING_AFTER
    session.tick(limits.PING_AFTER - 0.1)
    assert next_message(session) is None
    session.tick(limits.PING_AFTER)
    assert next_message(session) == Ping(token=1)
    assert session.deadline == limits.PING_AFTER + limits.PONG_WITHIN
    take(session, Pong(token=1), now=25.0)
    assert session.deadline == 25.0 + limits.PING_AFTER
    session.tick(45.0)
    session.tick(55.0)
    assert session.events() == [Lost(30.0)]
    assert session.over
    session.tick(100.0)
    session.receive(b"ignored", 100.0)
    assert session.events() == []


@pytest.mark.spec("session-29")
def test_pings_are_answered_the_latest_one() -> None:
    session, _ = streaming()
    take(session, Ping(token=7))
    take(session, Ping(token=8))
    assert next_message(session) == Pong(token=8)
    assert next_message(session) is None


@pytest.mark.spec("session-33", "session-34")
def test_draining_waits_for_both_sides() -> None:
    pair = SessionPair(random.Random(1).randbytes)
    pair.connect()
    for _ in range(300):
        pair.nodes[0].offer(b"from a %d" % _)
        pair.nodes[1].offer(b"from b %d" % _)
    for side in (0, 1, 0, 1):
        pair.write(side)
        pair.deliver(side)
    for side in (0, 1):
        pair.write(side)  # acknowledgements of OPEN
        pair.deliver(side)
        pair.write(side)
        pair.deliver(side)  # one batch each
    session = pair.nodes[0].session
    assert session is not None
    session.send(Drain(code=ErrorCode.SHUTTING_DOWN, text="stopping"))
    pair.settle_down()
    assert pair.finished
    assert Closing(code=ErrorCode.SHUTTING_DOWN, text="stopping") in pair.nodes[1].events
    for node, other in (pair.nodes, pair.nodes[::-1]):
        assert len(other.inbox) + len(node.owed) == 300  # what did not leave stays with its owner


def test_draining_ends_at_its_deadline() -> None:
    session, outbound = streaming()
    outbound.offer([(1, b"x")])
    next_message(session)
    session.send(Drain())
    assert session.deadline is not None
    assert session.deadline <= 5.0
    session.tick(5.0)
    assert session.deadline == 5.0 + limits.DRAIN
    assert next_message(session) == Close(code=ErrorCode.NONE, text="")
    outbound.offer([(2, b"y")])
    assert next_message(session) is None
    session.tick(5.0 + limits.DRAIN)
    assert session.events() == [Finished(complete=False)]
    assert outbound.in_flight == 1


def test_a_link_that_is_replaced_waits_for_what_it_has_carried_and_for_nothing_else() -> None:
    former, outbound = streaming()
    outbound.offer([(1, b"x"), (2, b"y")])
    assert next_message(former) is not None
    former.send(Drain(code=ErrorCode.REPLACED))
    present = Session(outbound, now=0.0)
    assert next_message(present) == Open(stream=outbound.stream)
    take(present, Ack(stream=outbound.stream, cursor=0))
    assert next_message(present) == Batch(stream=outbound.stream, first=1, envelopes=[b"x", b"y"])
    outbound.offer([(3, b"z")])
    assert next_message(present) == Batch(stream=outbound.stream, first=3, envelopes=[b"z"])
    assert next_message(former) == Close(code=ErrorCode.REPLACED, text="")
    assert take(former, Close(code=ErrorCode.NONE, text="")) == [Closing(code=ErrorCode.NONE, text="")]
    assert take(former, Ack(stream=outbound.stream, cursor=1)) == []
    assert take(former, Ack(stream=outbound.stream, cursor=2)) == [Finished(complete=True)]
    assert outbound.in_flight == 3, "the former link settles nothing any more"
    assert take(present, Ack(stream=outbound.stream, cursor=3)) == [Settled(keys=[1, 2, 3])]


def test_draining_before_anything_was_said() -> None:
    session, _ = make()
    session.send(Drain())
    assert next_message(session) == Close(code=ErrorCode.NONE, text="")
    assert take(session, Close(code=ErrorCode.NONE, text="")) == [
        Closing(code=ErrorCode.NONE, text=""),
        Finished(complete=True),
    ]


def test_batches_after_close_are_refused() -> None:
    session, _ = streaming()
    take(session, Close(code=ErrorCode.NONE, text=""))
    with pytest.raises(RemoteError, match="CLOSED"):
        take(session, Batch(stream=STREAM, first=1, envelopes=[b"x"]))


def test_the_reason_of_a_close_is_printable_and_short() -> None:
    message = parse_message(closing(RemoteError("bad\nthing " + "x" * 1000)))
    assert isinstance(message, Close)
    assert message.text.startswith("bad thing")
    assert len(message.text) == limits.MAX_TEXT


def test_reprs_show_no_envelope() -> None:
    secret = b"sealed-body"
    shown = [Received(stream=STREAM, first=1, envelopes=[secret]), Settled(keys=[], later=[(1, secret)])]
    assert not any("sealed" in repr(event) for event in shown)
