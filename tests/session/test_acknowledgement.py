"""What is settled, refused, resumed and sent again."""

import random

import pytest

from tests.session.playbook import STREAM, make, next_message, streaming, take
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.session import (
    Acknowledge,
    Drain,
    Finished,
    Grant,
    Received,
    Session,
    Settled,
)
from volly_fed.session.outbound import Outbound
from volly_fed.testing.session_pair import SessionPair
from volly_fed.wire.messages import Ack, Batch, Close, Open


def settle(session: Session[int], sequence: int, *refusals: tuple[int, ErrorCode, str], now: float = 0.0) -> None:
    """One envelope comes, and is durable or refused."""
    take(session, Batch(stream=STREAM, first=sequence, envelopes=[b"x"]), now)
    session.send(Acknowledge(stream=STREAM, cursor=sequence, refusals=refusals))


def test_acknowledgements_pile_up_into_one() -> None:
    session, _ = streaming()
    refusals = tuple((n, ErrorCode.UNDELIVERABLE, "no") for n in (1, 2, 3))
    for refusal in refusals:
        settle(session, refusal[0], refusal, now=1.0)
    assert next_message(session) == Ack(stream=STREAM, cursor=3, refusals=refusals)
    assert next_message(session) is None


@pytest.mark.spec("session-23")
def test_the_first_acknowledgement_after_a_pause_leaves_at_once_and_those_that_follow_are_paced() -> None:
    session, _ = streaming()
    settle(session, 1, now=1.0)
    assert next_message(session) == Ack(stream=STREAM, cursor=1)
    settle(session, 2, now=1.001)
    assert next_message(session) is None
    assert session.deadline == 1.0 + limits.ACK_PACE
    settle(session, 3, now=1.002)
    session.tick(1.0 + limits.ACK_PACE)
    assert next_message(session) == Ack(stream=STREAM, cursor=3)
    assert session.deadline == 1.002 + limits.PING_AFTER
    settle(session, 4, now=2.0)
    assert next_message(session) == Ack(stream=STREAM, cursor=4)


@pytest.mark.parametrize("grant", [Grant(window=8), Grant(window_bytes=8000)])
@pytest.mark.parametrize(("count", "held"), [(3, True), (4, False)])
def test_half_a_window_is_acknowledged_without_apause(grant: Grant, count: int, *, held: bool) -> None:
    session, _ = streaming()
    session.send(grant)
    next_message(session)
    take(session, Batch(stream=STREAM, first=1, envelopes=[bytes(1000)] * count))
    session.send(Acknowledge(stream=STREAM, cursor=1))
    assert (next_message(session) is None) is held


def test_nothing_is_held_back_at_the_end() -> None:
    for way in (Drain(), Close(code=ErrorCode.NONE, text="")):
        session, _ = streaming()
        settle(session, 1)
        assert next_message(session) is None
        if isinstance(way, Close):
            take(session, way)
        else:
            session.send(way)
        assert next_message(session) == Ack(stream=STREAM, cursor=1)


def test_one_acknowledgement_holds_the_refusals_of_a_whole_window_with_the_longest_reasons() -> None:
    session, _ = streaming()
    reason = "\N{GRINNING FACE}" * limits.REFUSAL_TEXT
    for first in range(1, limits.WINDOW_ENVELOPES, 256):
        take(session, Batch(stream=STREAM, first=first, envelopes=[b"x"] * 256))
        refusals = tuple((n, ErrorCode.UNDELIVERABLE, reason) for n in range(first, first + 256))
        session.send(Acknowledge(stream=STREAM, cursor=first + 255, refusals=refusals))
    ack = next_message(session)
    assert isinstance(ack, Ack)
    assert (ack.cursor, len(ack.refusals)) == (limits.WINDOW_ENVELOPES, limits.WINDOW_ENVELOPES)


NO, FULL = ErrorCode.UNDELIVERABLE, ErrorCode.OVERLOADED


def test_refusals_that_an_old_link_owed_come_with_the_first_acknowledgement_of_the_new_one() -> None:
    old, outbound = streaming()
    outbound.offer([(n, b"%d" % n) for n in range(1, 7)])
    next_message(old)
    take(old, Ack(stream=outbound.stream, cursor=2, refusals=((2, NO, "told"),)))
    new: Session[int] = Session(outbound, now=0.0)
    next_message(new)
    refusals = ((1, NO, "old news"), (2, NO, "told"), (3, NO, "not told"), (4, FULL, "nor this"))
    assert take(new, Ack(stream=outbound.stream, cursor=5, refusals=refusals)) == [
        Settled(keys=[3, 5], refused=[(3, NO, "not told")], later=[(4, b"4")])
    ]
    assert next_message(new) == Batch(stream=outbound.stream, first=6, envelopes=[b"6"])


@pytest.mark.parametrize("refusals", [((3, NO, ""),), ((2, NO, ""), (2, NO, ""))])
@pytest.mark.spec("session-21")
def test_refusals_out_of_range_are_refused_at_the_beginning_too(
    refusals: tuple[tuple[int, ErrorCode, str], ...],
) -> None:
    old, outbound = streaming()
    outbound.offer([(n, b"x") for n in range(1, 4)])
    next_message(old)
    new: Session[int] = Session(outbound, now=0.0)
    next_message(new)
    with pytest.raises(RemoteError):
        take(new, Ack(stream=outbound.stream, cursor=2, refusals=refusals))


@pytest.mark.spec("session-6")
def test_stored_refusals_answer_open() -> None:
    session, outbound = make()
    assert next_message(session) == Open(stream=outbound.stream)
    take(session, Open(stream=STREAM))
    refusals = ((8, NO, "a"), (10, NO, "b"))
    session.send(Acknowledge(stream=STREAM, cursor=10, refusals=refusals))
    assert next_message(session) == Ack(stream=STREAM, cursor=10, refusals=refusals)
    assert next_message(session) is None


@pytest.mark.parametrize("sequence", [1, 2001])
def test_stored_refusals_outside_of_the_last_window_are_our_bug(sequence: int) -> None:
    session, _ = make()
    take(session, Open(stream=STREAM))
    with pytest.raises(LocalProtocolError):
        session.send(Acknowledge(stream=STREAM, cursor=2000, refusals=((sequence, NO, ""),)))


def test_what_is_put_back_goes_before_what_is_younger_in_its_class() -> None:
    session, outbound = streaming()
    outbound.offer([(3, b"3"), (4, b"4")])
    outbound.offer([(5, b"bulk")], EnvelopeClass.BULK)
    outbound.put_back([(1, b"1"), (2, b"2")], EnvelopeClass.SIGNAL)
    batch = next_message(session)
    assert isinstance(batch, Batch)
    assert batch.envelopes == [b"1", b"2", b"3", b"4", b"bulk"]


@pytest.mark.spec("session-12")
def test_duplicates_below_the_cursor_are_dropped() -> None:
    session, _ = make()
    next_message(session)
    take(session, Open(stream=STREAM))
    session.send(Acknowledge(stream=STREAM, cursor=10))
    assert next_message(session) == Ack(stream=STREAM, cursor=10)
    assert take(session, Batch(stream=STREAM, first=5, envelopes=[b"x"] * 6)) == []
    assert take(session, Batch(stream=STREAM, first=9, envelopes=[b"9", b"10", b"11"])) == [
        Received(stream=STREAM, first=11, envelopes=[b"11"])
    ]


@pytest.mark.spec("relay-22")
def test_refused_and_postponed_envelopes_are_told_apart() -> None:
    session, outbound = streaming()
    outbound.offer([(n, b"%d" % n) for n in (1, 2, 3)])
    next_message(session)
    refusals = ((1, ErrorCode.UNDELIVERABLE, "no"), (2, ErrorCode.OVERLOADED, "full"))
    assert take(session, Ack(stream=outbound.stream, cursor=3, refusals=refusals)) == [
        Settled(keys=[1, 3], refused=[(1, ErrorCode.UNDELIVERABLE, "no")], later=[(2, b"2")])
    ]


@pytest.mark.parametrize(
    ("cursor", "refusals"),
    [
        (2, ()),  # never sent
        (1, ((2, ErrorCode.POLICY, ""),)),
        (1, ((0, ErrorCode.POLICY, ""),)),
        (1, ((1, ErrorCode.POLICY, ""), (1, ErrorCode.POLICY, ""))),
    ],
)
@pytest.mark.spec("session-20", "session-21")
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


@pytest.mark.spec("session-9")
def test_a_cursor_beyond_the_stream_is_refused() -> None:
    session, outbound = make()
    next_message(session)
    with pytest.raises(RemoteError):
        take(session, Ack(stream=outbound.stream, cursor=1))


def test_an_acknowledgement_before_open_is_refused() -> None:
    session, outbound = make()
    with pytest.raises(RemoteError, match="not opened"):
        take(session, Ack(stream=outbound.stream, cursor=0))


@pytest.mark.spec("session-8")
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


def test_a_fresh_stream_is_not_acknowledged_before_it_is_opened() -> None:
    session, outbound = streaming()
    outbound.offer([(1, b"1"), (2, b"2")])
    next_message(session)
    take(session, Ack(stream=outbound.stream, cursor=2))
    outbound.offer([(3, b"3")])
    again: Session[int] = Session(outbound, now=0.0)
    next_message(again)
    take(again, Ack(stream=outbound.stream, cursor=0))
    with pytest.raises(RemoteError, match="not opened"):  # else a batch would be wanted before the peer's cursor
        take(again, Ack(stream=outbound.stream, cursor=0))
    assert next_message(again) is None


def test_acknowledging_what_never_came_is_our_bug() -> None:
    session, _ = streaming()
    with pytest.raises(LocalProtocolError):
        session.send(Acknowledge(stream=STREAM, cursor=1))
    take(session, Batch(stream=STREAM, first=1, envelopes=[b"x"]))
    with pytest.raises(LocalProtocolError):
        session.send(Acknowledge(stream=STREAM, cursor=1, refusals=((2, ErrorCode.POLICY, ""),)))
    session.send(Acknowledge(stream=b"gone.old", cursor=9))  # of a stream given up: not an error


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


@pytest.mark.spec("session-5")
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


@pytest.mark.spec("session-3")
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


@pytest.mark.spec("session-21")
@pytest.mark.parametrize("refused", [[0], [2], [1, 1]])
def test_an_acknowledgement_that_is_refused_settles_nothing(refused: list[int]) -> None:
    outbound: Outbound[int] = Outbound(random.Random(1).randbytes)
    outbound.offer([(1, b"one"), (2, b"two")])
    outbound.grant(8, limits.WINDOW_BYTES)
    assert outbound.next_batch() is not None
    with pytest.raises(RemoteError):
        outbound.acknowledge(1, tuple((sequence, ErrorCode.UNDELIVERABLE, "") for sequence in refused))
    assert outbound.under_way == {1, 2}
    assert outbound.acknowledge(2, ()) == Settled(keys=[1, 2])
