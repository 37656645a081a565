import math
import os
from functools import partial

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.edge.net import HOME, WALL, Net, again, edge_fingerprint, message_to
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.client.receiver import Confirm
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.edge.claims import Action, Claims, Delete, Read, Register, ToEdge
from volly_fed.edge.delivery import Delivery, Row
from volly_fed.errors import RemoteError
from volly_fed.names import MailboxId
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire.messages import Claim, Claimed, Deliver, NotClaimed, Ping, Proof

MAILBOX = MailboxId(bytes(32))
KEY = Secret(b"k" * 32)
SIGNAL = EnvelopeClass.SIGNAL
WINDOW = int(limits.WAITING_SHARES[SIGNAL] * limits.DELIVERY_WINDOW)
"""Of class signal."""
ROOM = st.sampled_from([0.0, 1.0, 3.0, 50.0, math.inf])


def rows(first: int, last: int, size: int = 100) -> list[Row]:
    return [Row(n, n.to_bytes(16, "big"), os.urandom(size)) for n in range(first, last + 1)]


def wake(claims: Claims, mailbox: MailboxId) -> Read:
    """Wake `mailbox`, find nothing in the other classes, and give the read of class signal."""
    claims.wake([mailbox])
    reads = {read.lane.urgency: read for read in iter(partial(claims.next_read, 1), None)}
    wanted = reads.pop(SIGNAL)
    for read in reads.values():
        claims.give_read(read, [])
    return wanted


# --- the window of one claim


def test_the_window_takes_what_fits_in_envelopes_and_bytes() -> None:
    delivery = Delivery(key=KEY)
    lane = delivery.lanes[SIGNAL]
    given = delivery.give(lane, rows(1, WINDOW + 5))
    assert len(given) == delivery.in_flight == WINDOW
    assert delivery.room(lane) == 0
    assert lane.position == WINDOW
    large = Delivery(key=KEY)
    assert len(large.give(large.lanes[SIGNAL], rows(1, 64, limits.DELIVERY_WINDOW_BYTES // 4))) == 3
    assert large.room(large.lanes[SIGNAL]) == 0


def test_a_class_leaves_room_for_those_that_are_more_urgent() -> None:
    delivery = Delivery(key=KEY)
    given = []
    for lane, share in zip(reversed(delivery.lanes), reversed(limits.WAITING_SHARES), strict=True):
        first = delivery.in_flight + 1
        given += delivery.give(lane, rows(first, first + limits.DELIVERY_WINDOW))
        assert len(given) == delivery.in_flight == share * limits.DELIVERY_WINDOW
        assert lane.behind


def test_rows_are_given_once_and_in_order() -> None:
    delivery = Delivery(key=KEY)
    some = rows(1, 3)
    assert delivery.give(delivery.lanes[SIGNAL], some) == [row.frame for row in some]
    assert delivery.give(delivery.lanes[SIGNAL], some) == []
    assert delivery.give(delivery.lanes[SIGNAL], [*some, *rows(4, 4)]) != []


@given(
    told=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 60)), max_size=8), ROOM, ROOM
        ),
        max_size=4,
    ),
    position=st.integers(0, 4),
)
@example(told=[([(1, 1, 1), (1, 1, 2)], math.inf, math.inf)], position=0)  # an id twice at once
def test_what_is_given_is_what_looking_at_each_row_gives(
    told: list[tuple[list[tuple[int, int, int]], float, float]], position: int
) -> None:
    """Rows that repeat ids, begin before the position, or find no room: whichever way, the same."""
    delivery, plain = Delivery(key=KEY), Delivery(key=KEY)
    for each in (delivery, plain):
        each.lanes[SIGNAL].position, each.lanes[SIGNAL].behind = position, False
    number = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DELIVERY_WINDOW", 9)
        patch.setattr(limits, "DELIVERY_WINDOW_BYTES", 200)
        for some, most, most_bytes in told:
            given_rows = []
            for step, identity, size in some:
                number += step
                given_rows.append(Row(number, bytes([identity]) * 16, os.urandom(size)))
            frames = delivery.give(delivery.lanes[SIGNAL], given_rows, most=most, most_bytes=most_bytes)
            assert frames == give_one_by_one(plain, given_rows, most, most_bytes)
            assert delivery == plain


def give_one_by_one(delivery: Delivery, some: list[Row], most: float, most_bytes: float) -> list[bytes]:
    flight, frames, lane, share = delivery._flight, [], delivery.lanes[SIGNAL], limits.WAITING_SHARES[SIGNAL]
    full = min(int(share * limits.DELIVERY_WINDOW), len(flight) + most)
    full_size = min(share * limits.DELIVERY_WINDOW_BYTES, delivery._bytes + most_bytes)
    for number, identity, frame, _ in some:
        if number <= lane.position:
            continue
        if len(flight) >= full or delivery._bytes >= full_size:
            lane.behind = True
            break
        lane.position = number
        if identity not in flight:
            flight[identity] = (number, frame_digest(frame), len(frame))
            delivery._bytes += len(frame)
            frames.append(frame)
    return frames


@pytest.mark.spec("edge-28", "relay-27")
def test_only_what_was_delivered_as_it_was_delivered_is_settled() -> None:
    delivery = Delivery(key=KEY)
    some = rows(1, 3)
    delivery.give(delivery.lanes[SIGNAL], some)
    pairs = [(row.id, frame_digest(row.frame)) for row in some]
    for wrong in (
        make_acknowledge(KEY, MAILBOX, [(bytes(15) + b"\xff", bytes(32))]),
        make_acknowledge(KEY, MAILBOX, [pairs[0], pairs[0]]),
        make_acknowledge(KEY, MAILBOX, [(pairs[0][0], pairs[1][1])]),
    ):
        with pytest.raises(RemoteError):
            delivery.settle(wrong)
    assert delivery.in_flight == 3
    assert delivery.settle(make_acknowledge(KEY, MAILBOX, pairs[:2])) == [row.row for row in some[:2]]
    assert delivery.in_flight == 1
    with pytest.raises(RemoteError):
        delivery.settle(make_acknowledge(KEY, MAILBOX, pairs[:1]))


@pytest.mark.spec("edge-35")
def test_two_envelopes_of_one_id_are_not_under_way_at_once() -> None:
    first, second = Row(1, bytes(16), b"expires soon"), Row(2, bytes(16), b"expires later")
    for told in ([[first, second]], [[first], [second]]):
        delivery = Delivery(key=KEY)
        assert [frame for some in told for frame in delivery.give(delivery.lanes[SIGNAL], some)] == [first.frame]
        assert delivery.settle(make_acknowledge(KEY, MAILBOX, [(first.id, frame_digest(first.frame))])) == [first.row]


# --- all claims of a homeserver


def light(bob: DeviceKeys, number: int, urgency: EnvelopeClass = SIGNAL) -> Envelope:
    """An envelope that nobody can open: enough for delivery."""
    card = bob.card()
    return Envelope(
        card.address.mailbox,
        HOME,
        number.to_bytes(16, "big"),
        int(WALL) + 60,
        urgency,
        card.capability,
        os.urandom(1024),
    )


@pytest.mark.spec("edge-20")
def test_nothing_is_claimed_before_the_registration_is_stored(bob: DeviceKeys) -> None:
    net = Net()
    registers: list[Register] = []
    original = net.at_homeserver

    def slow(actions: list[Action]) -> None:
        registers.extend(a for a in actions if isinstance(a, Register))
        original([a for a in actions if not isinstance(a, Register)])

    net.at_homeserver = slow  # type: ignore[method-assign] # a store that has not answered yet
    device = net.connect(bob)
    assert not device.holding
    assert net.claims.holder(bob.address.mailbox) is None
    original(net.claims.registered(registers[0]))
    net.run()
    assert device.holding


def test_a_store_that_fails_tells_the_device_to_try_again(bob: DeviceKeys) -> None:
    net = Net()
    original = net.at_homeserver

    def failing(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Register):
                original(net.claims.not_registered(action, ErrorCode.OVERLOADED, "the disk is full"))
            else:
                original([action])

    net.at_homeserver = failing  # type: ignore[method-assign] # a store that fails
    device = net.connect(bob)
    assert [lost.code for lost in device.lost] == [ErrorCode.OVERLOADED]


def test_what_was_stored_before_the_claim_is_delivered_after_it(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()
    net.store(*(message_to(bob.card(), alice, str(n)) for n in range(3)))
    device = net.connect(bob)
    assert [message.content.text for message in device.got] == ["0", "1", "2"]
    assert net.rows == []


def test_a_long_queue_is_delivered_in_windows(bob: DeviceKeys) -> None:
    net = Net()
    total = 3 * limits.DELIVERY_WINDOW + 7
    net.store(*(light(bob, n) for n in range(total)))
    device = net.connect(bob, acknowledging=False)
    assert len(device.raw) == WINDOW
    done = 0
    while done < len(device.raw):
        device.say(Confirm(claim=1, items=device.raw[done : done + 100]))
        done += 100
        net.run()
    assert [int.from_bytes(item.envelope.id, "big") for item in device.raw] == list(range(total))
    assert net.rows == []
    assert net.rejected == []


def test_rows_that_come_while_the_window_is_full_are_read_later(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    net.store(*(light(bob, n) for n in range(WINDOW)))
    for n in range(WINDOW, WINDOW + 10):
        net.store(light(bob, n))
    assert len(device.raw) == WINDOW
    device.say(Confirm(claim=1, items=list(device.raw)))
    net.run()
    assert len(device.raw) == WINDOW + 10


def test_rows_committed_while_the_store_is_read_are_not_lost_or_doubled(bob: DeviceKeys) -> None:
    claims = Claims(HOME)
    net = Net()
    device = net.connect(bob, acknowledging=False)
    claims = net.claims
    read = wake(claims, bob.address.mailbox)
    new = Row(50, bytes(16), b"frame that came during the read")
    claims.stored({bob.address.mailbox: [new]})
    claims.give_read(read, [])
    assert claims.next_delivery(1) is None
    second = claims.next_read(1)
    assert second is not None
    claims.give_read(second, [new])
    assert claims.next_delivery(1) == Deliver(envelopes=[new.frame])
    claims.stored({bob.address.mailbox: [new]})  # told late: it was read already
    assert claims.next_delivery(1) is None
    assert device.holding


def test_unacknowledged_envelopes_come_again_on_the_next_claim(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()
    first = net.connect(bob, acknowledging=False)
    net.store(message_to(bob.card(), alice, "a"), message_to(bob.card(), alice, "b"))
    first.say(Confirm(claim=1, items=first.raw[:1]))
    net.disconnect(first)
    second = net.connect(bob)
    assert [message.content.text for message in second.got] == ["b"]
    assert net.rows == []


def test_a_claim_moves_from_one_edge_to_another(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net("e1", "e2")
    old = net.connect(bob, "e1", acknowledging=False)
    net.store(message_to(bob.card(), alice, "a"))
    new = net.connect(bob, "e2")
    assert [lost.code for lost in old.lost] == [ErrorCode.REPLACED]
    assert [message.content.text for message in new.got] == ["a"]
    assert net.claims.holder(bob.address.mailbox) == net.edges["e2"].link
    net.disconnect(old)  # its late goodbye does not end the new claim
    net.store(message_to(bob.card(), alice, "b"))
    assert [message.content.text for message in new.got] == ["a", "b"]


def test_a_claim_moves_between_connections_of_one_edge(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()
    old, new = net.connect(bob), net.connect(bob)
    assert not old.holding
    net.disconnect(old)
    net.store(message_to(bob.card(), alice))
    assert len(new.got) == 1
    assert len(net.edges["e1"].registry) == net.edges["e1"].registry.mailboxes == 1


def test_a_lost_link_ends_its_claims_only(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net("e1", "e2")
    net.connect(bob, "e1")
    other = net.connect(alice_at_home := DeviceKeys.generate(HOME, os.urandom), "e2")
    net.claims.remove_link(net.edges["e1"].link)
    assert net.claims.holder(bob.address.mailbox) is None
    assert net.claims.holder(alice_at_home.address.mailbox) == net.edges["e2"].link
    assert other.holding
    net.store(message_to(bob.card(), alice))
    assert len(net.rows) == 1


def test_a_register_that_outlives_its_link_does_nothing(bob: DeviceKeys) -> None:
    claims = Claims(HOME)
    claims.add_link(1, edge_fingerprint("e1"))
    actions = claims.receive(1, Claim(request=1, key=bob.mailbox.public), now=WALL, random=os.urandom)
    challenge = actions[0].message  # type: ignore[union-attr] # it is ToEdge
    proof, _ = answer_challenge(
        bob.mailbox,
        challenge,  # type: ignore[arg-type] # it is Challenge
        bob.registration,
        domain=HOME,
        edge=edge_fingerprint("e1"),
        now=WALL,
    )
    (register,) = claims.receive(1, again(proof), now=WALL, random=os.urandom)
    assert isinstance(register, Register)
    claims.remove_link(1)
    assert claims.registered(register) == []
    assert claims.not_registered(register, ErrorCode.BUSY, "") == []
    assert claims.holder(bob.address.mailbox) is None


def test_open_claims_are_bounded_and_expire(bob: DeviceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PENDING_CLAIMS_PER_LINK", 2)
    claims = Claims(HOME)
    claims.add_link(1, edge_fingerprint("e1"))

    def claim(request: int, now: float) -> object:
        (action,) = claims.receive(1, Claim(request=request, key=bob.mailbox.public), now=now, random=os.urandom)
        assert isinstance(action, ToEdge)
        return action.message

    claim(1, WALL)
    claim(2, WALL)
    refusal = claim(3, WALL)
    assert isinstance(refusal, NotClaimed)
    assert refusal.code is ErrorCode.BUSY
    assert not isinstance(claim(4, WALL + limits.CLAIM_LIFETIME + 1), NotClaimed)


@pytest.mark.spec("edge-34")
def test_an_edge_that_breaks_the_protocol_is_told_apart_from_a_device_that_does(bob: DeviceKeys) -> None:
    claims = Claims(HOME)
    claims.add_link(1, edge_fingerprint("e1"))
    claim = Claim(request=1, key=bob.mailbox.public)
    claims.receive(1, claim, now=WALL, random=os.urandom)
    with pytest.raises(RemoteError) as caught:
        claims.receive(1, claim, now=WALL, random=os.urandom)
    assert caught.value.code is ErrorCode.UNEXPECTED
    with pytest.raises(RemoteError):
        claims.receive(1, Claimed(request=1, mailbox=bytes(32)), now=WALL, random=os.urandom)
    with pytest.raises(RemoteError):
        claims.receive(1, Ping(token=1), now=WALL, random=os.urandom)
    bad_key = attrs.evolve(claim, request=2, key=b"\xff" * 1216)
    actions = claims.receive(1, bad_key, now=WALL, random=os.urandom)
    assert isinstance(actions[0], ToEdge)
    assert isinstance(actions[0].message, NotClaimed)
    proof = Proof(request=77, mac=bytes(32), registration=b"")
    assert isinstance(claims.receive(1, proof, now=WALL, random=os.urandom)[0], ToEdge)


def test_deliveries_are_cut_to_batches(bob: DeviceKeys) -> None:
    net = Net()
    net.connect(bob, acknowledging=False)
    big = [attrs.evolve(light(bob, n), body=os.urandom(65536)) for n in range(10)]
    net.store(*big)
    sizes = [sum(map(len, m.envelopes)) for _, m in net.told if isinstance(m, Deliver)]
    assert len(sizes) > 1
    assert max(sizes) <= limits.BATCH_BYTES
    assert sum(sizes) > 10 * 65536


def test_ready_mailboxes_do_not_pile_up(bob: DeviceKeys) -> None:
    """A link whose writer stands still is told of a hundred thousand rows: it remembers one mailbox."""
    net = Net()
    net.connect(bob, acknowledging=False)
    for _ in range(1000):
        net.claims.wake([bob.address.mailbox])
    assert len(net.claims._links[1].ready) == 1
    reads = list(iter(partial(net.claims.next_read, 1), None))
    assert [read.lane.urgency for read in reads] == list(EnvelopeClass)


def test_a_delete_names_rows_only(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    deletes: list[Delete] = []
    original = net.at_homeserver

    def watched(actions: list[Action]) -> None:
        deletes.extend(a for a in actions if isinstance(a, Delete))
        original(actions)

    net.at_homeserver = watched  # type: ignore[method-assign] # looks at what passes
    net.store(light(bob, 1))
    device.say(Confirm(claim=1, items=device.raw))
    assert deletes == [Delete([1])]


def test_commits_told_out_of_order_are_delivered_all_the_same(bob: DeviceKeys) -> None:
    """The store tells rows in order, and nobody's envelope is to be lost the day it does not."""
    net = Net()
    device = net.connect(bob, acknowledging=False)
    net.store(light(bob, 0))
    mailbox = bob.address.mailbox
    first, second = (Row(n, n.to_bytes(16, "big"), encode_envelope(light(bob, n))) for n in (2, 3))
    net.rows += [(mailbox, first), (mailbox, second)]
    net.claims.stored({mailbox: [second]})
    net.claims.stored({mailbox: [first]})
    net.run()
    assert sorted(int.from_bytes(item.envelope.id, "big") for item in device.raw) == [0, 2, 3]


def test_what_was_read_for_a_claim_that_ended_is_dropped(bob: DeviceKeys) -> None:
    net = Net("e1", "e2")
    net.connect(bob, "e1", acknowledging=False)
    mailbox = bob.address.mailbox
    row = Row(1, bytes(16), encode_envelope(light(bob, 0)))
    read = wake(net.claims, mailbox)
    new = net.connect(bob, "e2", acknowledging=False)
    net.claims.give_read(read, [row])
    assert not net.claims.waits(read.link)
    net.rows.append((mailbox, row))
    net.claims.stored({mailbox: [row]})
    net.run()
    assert len(new.raw) == 1


def test_a_read_that_failed_is_made_again_when_something_happens(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    mailbox = bob.address.mailbox
    row = Row(1, bytes(16), encode_envelope(light(bob, 0)))
    net.rows.append((mailbox, row))
    net.claims.read_failed(wake(net.claims, mailbox))
    assert net.claims.next_read(1) is None  # not at once: the disk is full, or worse
    net.claims.wake([mailbox])
    net.run()
    assert len(device.raw) == 1
