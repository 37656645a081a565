"""Session: playbooks of single links."""

import random

import pytest

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.names import parse_domain
from volly_fed.session import (
    Acknowledge,
    Closing,
    Drain,
    Extra,
    Finished,
    Lost,
    Next,
    Other,
    Outbound,
    Received,
    Session,
    Settled,
    StreamOpened,
    closing,
)
from volly_fed.testing.session_pair import SessionPair
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Ack, Batch, Close, Hello, Message, Open, Ping, Pong, Release

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


def test_acknowledgements_pile_up_into_one() -> None:
    session, _ = streaming()
    for first in (1, 2, 3):
        take(session, Batch(stream=STREAM, first=first, envelopes=[b"x"]))
        session.send(Acknowledge(stream=STREAM, cursor=first, refusals=((first, ErrorCode.UNDELIVERABLE, "no"),)))
    refusals = tuple((n, ErrorCode.UNDELIVERABLE, "no") for n in (1, 2, 3))
    assert next_message(session) == Ack(stream=STREAM, cursor=3, refusals=refusals)
    assert next_message(session) is None


def test_more_refusals_than_one_acknowledgement_holds() -> None:
    session, _ = streaming()
    for first in (1, 257):
        take(session, Batch(stream=STREAM, first=first, envelopes=[b"x"] * 256))
        refusals = tuple((n, ErrorCode.UNDELIVERABLE, "no") for n in range(first, first + 256))
        session.send(Acknowledge(stream=STREAM, cursor=first + 255, refusals=refusals))
    one, two, three = (next_message(session) for _ in range(3))
    assert isinstance(one, Ack)
    assert isinstance(two, Ack)
    assert (one.cursor, len(one.refusals), two.cursor, len(two.refusals)) == (256, 256, 512, 256)
    assert three is None


def test_duplicates_below_the_cursor_are_dropped() -> None:
    session, _ = make()
    take(session, Open(stream=STREAM))
    session.send(Acknowledge(stream=STREAM, cursor=10))
    assert take(session, Batch(stream=STREAM, first=5, envelopes=[b"x"] * 6)) == []
    assert take(session, Batch(stream=STREAM, first=9, envelopes=[b"9", b"10", b"11"])) == [
        Received(stream=STREAM, first=11, envelopes=[b"11"])
    ]


def test_refused_and_postponed_envelopes_are_told_apart() -> None:
    session, outbound = streaming()
    outbound.offer([(n, b"%d" % n) for n in (1, 2, 3)])
    next_message(session)
    refusals = ((1, ErrorCode.UNDELIVERABLE, "no"), (2, ErrorCode.OVERLOADED, "full"))
    assert take(session, Ack(stream=outbound.stream, cursor=3, refusals=refusals)) == [
        Settled(keys=[1, 3], refused=[(1, ErrorCode.UNDELIVERABLE, "no")], later=[(2, b"2")])
    ]


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


@pytest.mark.parametrize(
    ("cursor", "refusals"),
    [
        (2, ()),  # never sent
        (1, ((2, ErrorCode.POLICY, ""),)),
        (1, ((0, ErrorCode.POLICY, ""),)),
        (1, ((1, ErrorCode.POLICY, ""), (1, ErrorCode.POLICY, ""))),
    ],
)
def test_an_acknowledgement_out_of_range_is_refused(
    cursor: int, refusals: tuple[tuple[int, ErrorCode, str], ...]
) -> None:
    session, outbound = streaming()
    outbound.offer([(1, b"x")])
    next_message(session)
    with pytest.raises(RemoteError):
        take(session, Ack(stream=outbound.stream, cursor=cursor, refusals=refusals))


def test_acknowledgements_do_not_go_back() -> None:
    session, outbound = streaming()
    outbound.offer([(n, b"x") for n in range(3)])
    next_message(session)
    take(session, Ack(stream=outbound.stream, cursor=3))
    with pytest.raises(RemoteError):
        take(session, Ack(stream=outbound.stream, cursor=2))


def test_a_cursor_beyond_the_stream_is_refused() -> None:
    session, outbound = make()
    next_message(session)
    with pytest.raises(RemoteError):
        take(session, Ack(stream=outbound.stream, cursor=1))


def test_an_acknowledgement_before_open_is_refused() -> None:
    session, outbound = make()
    with pytest.raises(RemoteError, match="IDLE"):
        take(session, Ack(stream=outbound.stream, cursor=0))


def test_a_batch_before_the_cursor_was_told_is_refused() -> None:
    session, _ = make()
    take(session, Open(stream=STREAM))
    with pytest.raises(RemoteError, match="ASKED"):
        take(session, Batch(stream=STREAM, first=1, envelopes=[b"x"]))


def test_junk_is_a_bad_message() -> None:
    session, _ = make()
    with pytest.raises(BadMessage):
        session.receive(b"junk", 0.0)


def test_a_peer_that_lost_its_cursor_gets_a_fresh_stream() -> None:
    session, outbound = streaming()
    outbound.offer([(n, b"%d" % n) for n in (1, 2, 3)])
    next_message(session)
    take(session, Ack(stream=outbound.stream, cursor=2))
    old = outbound.stream
    again: Session[int] = Session(outbound, now=0.0)
    assert next_message(again) == Open(stream=old)
    take(again, Ack(stream=old, cursor=0))
    assert outbound.stream != old
    assert next_message(again) == Open(stream=outbound.stream)
    assert take(again, Ack(stream=old, cursor=0)) == []  # old news
    take(again, Ack(stream=outbound.stream, cursor=0))
    assert next_message(again) == Batch(stream=outbound.stream, first=1, envelopes=[b"3"])


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


def test_acknowledging_what_never_came_is_our_bug() -> None:
    session, _ = streaming()
    with pytest.raises(LocalProtocolError):
        session.send(Acknowledge(stream=STREAM, cursor=1))
    take(session, Batch(stream=STREAM, first=1, envelopes=[b"x"]))
    with pytest.raises(LocalProtocolError):
        session.send(Acknowledge(stream=STREAM, cursor=1, refusals=((2, ErrorCode.POLICY, ""),)))
    session.send(Acknowledge(stream=b"gone.old", cursor=9))  # of a stream given up: not an error


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


def test_a_handshake_message_does_not_belong_here() -> None:
    session, _ = streaming()
    name = parse_domain("a.test")
    hello = Hello(versions=(1, 1), own=name, wanted=name, identity=bytes(1984), nonce=bytes(32), extensions={})
    with pytest.raises(RemoteError, match="Hello"):
        take(session, hello)


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


def test_pings_are_answered_the_latest_one() -> None:
    session, _ = streaming()
    take(session, Ping(token=7))
    take(session, Ping(token=8))
    assert next_message(session) == Pong(token=8)
    assert next_message(session) is None


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


def test_the_stored_cursor_may_be_told_after_close() -> None:
    session, outbound = make()
    next_message(session)
    take(session, Ack(stream=outbound.stream, cursor=0))
    take(session, Open(stream=STREAM))
    take(session, Close(code=ErrorCode.NONE, text=""))
    assert isinstance(next_message(session), Close)
    assert not session.over  # the peer still waits for its cursor
    session.send(Acknowledge(stream=STREAM, cursor=3))
    assert next_message(session) == Ack(stream=STREAM, cursor=3)
    assert session.events() == [Finished(complete=True)]


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


def test_resume_sends_exactly_what_the_cursor_lacks() -> None:
    pair = SessionPair(random.Random(2).randbytes)
    pair.connect()
    for n in range(600):
        pair.nodes[0].offer(b"%d" % n)
    for _ in range(4):
        for side in (0, 1):
            pair.write(side)
            pair.deliver(side)
    assert pair.commit(1)
    pair.cut()  # the acknowledgement of what was committed is lost
    pair.connect()
    pair.settle_down()
    assert pair.nodes[1].inbox == [b"%d" % n for n in range(600)]
    assert not pair.nodes[0].owed


def test_why_a_restarted_process_needs_a_fresh_stream() -> None:
    """A sequence number that was sent but never synced is given out again; only the stream's id tells them apart."""

    def run(*, fresh: bool) -> list[bytes]:
        pair = SessionPair(random.Random(3).randbytes)
        pair.connect()
        pair.settle_down()
        sender = pair.nodes[0]
        key = sender.offer(b"sent, never synced")
        pair.settle_down()
        sender.owed.pop(key, None)  # the disk never had it
        stream = sender.outbound.stream
        pair.restart(0)
        if not fresh:
            sender.outbound.stream = stream
        sender.offer(b"accepted after the restart")  # takes sequence number 1 again
        pair.connect()
        try:
            pair.settle_down()
        except RemoteError:
            return []  # stuck: the receiver's cursor is beyond what this process has sent
        return pair.nodes[1].inbox

    assert run(fresh=True) == [b"sent, never synced", b"accepted after the restart"]
    assert b"accepted after the restart" not in run(fresh=False)
