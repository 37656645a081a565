import pytest

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.outbox import Outbox, Pool
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Deliver, Pong, Submitted


def deliver(*sizes: int) -> Deliver:
    return Deliver(envelopes=[bytes(size) for size in sizes])


def taken(box: Outbox) -> list[Message]:
    return [parse_message(data) for data in iter(box.next, None)]


def test_what_waits_keeps_its_order() -> None:
    box = Outbox()
    messages: list[Message] = [Pong(token=1), deliver(5), Submitted(accepted=[bytes(16)]), deliver(6), Pong(token=2)]
    assert all(box.offer(message) for message in messages)
    assert len(box) == 5
    assert taken(box) == messages
    assert taken(box) == []
    assert box.pool.used == 0


def test_what_can_leave_together_does() -> None:
    box = Outbox()
    ids = [number.to_bytes(16, "big") for number in range(4)]
    refused = ((ids[3], ErrorCode.OVERLOADED, "later"),)
    for message in (deliver(1), deliver(2, 3), deliver(4), Submitted(accepted=ids[:1])):
        assert box.offer(message)
    assert box.offer(Submitted(accepted=ids[1:3], refused=refused))
    assert taken(box) == [deliver(1, 2, 3, 4), Submitted(accepted=ids[:3], refused=refused)]


def test_nothing_leaves_in_a_message_that_is_too_large() -> None:
    box = Outbox()
    half = limits.BATCH_BYTES // 8 // 2
    for _ in range(20):
        assert box.offer(deliver(*[half] * 8))
    messages = taken(box)
    assert [sum(map(len, m.envelopes)) for m in messages if isinstance(m, Deliver)] == [limits.BATCH_BYTES] * 10
    for _ in range(3):
        assert box.offer(deliver(*[1] * (limits.BATCH_ENVELOPES // 2)))
        assert box.offer(Submitted(accepted=[bytes(16)] * limits.ACK_IDS))
    assert taken(box)


def test_a_box_is_bounded_in_bytes_and_in_messages() -> None:
    box = Outbox(max_messages=2, max_bytes=3 * limits.SMALL_MESSAGE)
    assert not box.offer(deliver(3 * limits.SMALL_MESSAGE + 1))
    assert box.offer(deliver(10))
    assert box.offer(Pong(token=1))
    assert not box.offer(deliver(1))
    assert len(taken(box)) == 2
    assert box.offer(deliver(3 * limits.SMALL_MESSAGE))
    assert not box.offer(deliver(1))


def test_when_all_boxes_together_are_full_who_has_something_waiting_is_slow() -> None:
    pool = Pool(most=1000)
    slow, fast = Outbox(pool), Outbox(pool)
    assert slow.offer(deliver(900))
    assert fast.offer(deliver(200))  # whoever has taken everything so far is not to blame
    assert not slow.offer(deliver(1))
    taken(fast)
    assert fast.offer(deliver(200))
    slow.clear()
    assert pool.used == 200
    assert fast.offer(deliver(700))


@pytest.mark.parametrize("message", [Pong(token=1), deliver(1, 2), Submitted(accepted=[bytes(16)])])
def test_what_is_taken_is_what_would_have_been_sent(message: Message) -> None:
    box = Outbox()
    box.offer(message)
    assert box.next() == encode_message(message)
