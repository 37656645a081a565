"""A stream that is held: nothing leaves, on this link or a later one, and nothing is lost."""

import random

import pytest

from volly_fed.testing.session_pair import SessionPair


@pytest.mark.spec("router-6")
def test_a_held_stream_sends_nothing_and_goes_on_where_it_was() -> None:
    pair = SessionPair(random.Random(1).randbytes)
    a, b = pair.nodes
    pair.connect()
    a.offer(b"one")
    pair.settle_down()
    a.outbound.hold(True)
    a.offer(b"two")
    b.offer(b"theirs")
    pair.settle_down()
    assert (b.inbox, a.inbox, len(a.owed)) == ([b"one"], [b"theirs"], 1)
    assert a.session is not None
    assert not a.session.may_send
    a.outbound.hold(False)
    assert a.session.may_send
    pair.settle_down()
    assert (b.inbox, a.owed) == ([b"one", b"two"], {})


@pytest.mark.spec("router-5", "router-6")
def test_what_an_earlier_link_carried_is_not_sent_again_before_it_may_be() -> None:
    pair = SessionPair(random.Random(1).randbytes)
    a, b = pair.nodes
    pair.connect()
    pair.settle_down()
    a.offer(b"one")
    assert pair.write(0)
    pair.cut()  # it was on the way
    a.outbound.hold(True)
    pair.connect()
    pair.settle_down()
    assert (b.inbox, a.outbound.in_flight) == ([], 1)
    a.outbound.hold(False)
    pair.settle_down()
    assert (b.inbox, a.owed, b.duplicates) == ([b"one"], {}, 0)
