"""What waits for an edge link at the homeserver: bounds, order, and mailboxes that change hands meanwhile."""

import os

import pytest

from tests.edge.net import HOME, Net, by_mailbox
from tests.edge.test_claims import light
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.client.receiver import Confirm
from volly_fed.codepoints import EnvelopeClass
from volly_fed.crypto.secret import Secret
from volly_fed.edge.delivery import Delivery, Row
from volly_fed.edge.dispatch import Dispatch
from volly_fed.names import MailboxId
from volly_fed.relay.envelope import encode_envelope
from volly_fed.wire.messages import Acknowledge, Deliver, Message

SIGNAL = EnvelopeClass.SIGNAL


@pytest.fixture
def many() -> list[DeviceKeys]:
    return [DeviceKeys.generate(HOME, os.urandom) for _ in range(3)]


def told(net: Net, keys: list[DeviceKeys], first: int, last: int) -> list[tuple[MailboxId, Row]]:
    """Rows for these in turn, as the store tells them; they are not carried to anybody yet."""
    rows = []
    for number in range(first, last + 1):
        envelope = light(keys[number % len(keys)], number)
        rows.append((envelope.mailbox, Row(number, envelope.id, encode_envelope(envelope))))
    net.rows += rows
    net.claims.stored(by_mailbox(rows))
    return rows


def deliveries(net: Net, link: int = 1) -> list[Deliver]:
    found = []
    while (message := net.claims.next_delivery(link)) is not None:
        found.append(message)
    return found


def test_rows_of_several_mailboxes_are_not_read_back(many: list[DeviceKeys]) -> None:
    """Rows are numbered for all mailboxes together: those between two of one mailbox are others'."""
    net = Net()
    for keys in many:
        net.connect(keys, acknowledging=False)
    rows = told(net, many, 1, 30)
    assert net.claims.next_read(1) is None
    assert deliveries(net) == [Deliver(envelopes=[row.frame for some in by_mailbox(rows).values() for row in some])]


def test_what_comes_while_the_writer_is_busy_leaves_together(bob: DeviceKeys) -> None:
    net = Net()
    net.connect(bob, acknowledging=False)
    for number in range(1, 2 * limits.BATCH_ENVELOPES + 11):
        told(net, [bob], number, number)
    assert [len(message.envelopes) for message in deliveries(net)] == [limits.BATCH_ENVELOPES] * 2 + [10]
    assert not net.claims.waits(1)


def test_a_delivery_is_no_larger_than_a_batch_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES", 1000)
    delivery, dispatch = Delivery(key=Secret(bytes(32))), Dispatch()
    dispatch.put(delivery, [bytes(480), bytes(490), bytes(2000)], SIGNAL)  # with what CBOR adds, two are too many
    dispatch.put(delivery, [bytes(10)] * 3, SIGNAL)
    sizes = [[*map(len, message.envelopes)] for message in iter(dispatch.next, None)]
    assert sizes == [[480], [490], [2000], [10] * 3]
    assert len(dispatch) == 0
    assert dispatch.room_bytes(EnvelopeClass.RING) == limits.EDGE_QUEUE_BYTES


@pytest.mark.parametrize(("limit", "value"), [("EDGE_QUEUE", 10), ("EDGE_QUEUE_BYTES", 10 * 1100)])
def test_what_an_edge_does_not_take_stays_on_the_disk(
    many: list[DeviceKeys], monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(limits, limit, value)
    net = Net()
    devices = [net.connect(keys, acknowledging=False) for keys in many]
    told(net, many, 1, 300)
    assert len(net.claims._links[1].dispatch) in (7, 8)  # some is left for calls; by bytes, the last may go beyond
    assert net.claims.next_read(1) is None  # not before there is room
    assert not net.claims.reads(1)
    net.run()
    assert sorted(int.from_bytes(item.envelope.id, "big") for d in devices for item in d.raw) == [*range(1, 301)]
    for device in devices:
        numbers = [int.from_bytes(item.envelope.id, "big") for item in device.raw]
        assert numbers == sorted(numbers)


def test_a_full_link_holds_up_no_other(many: list[DeviceKeys], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EDGE_QUEUE", 14)  # 10 of class signal
    net = Net("e1", "e2")
    net.connect(many[0], "e1", acknowledging=False)
    net.connect(many[1], "e2", acknowledging=False)
    rows = told(net, many[:2], 1, 20)
    told(net, many[:1], 21, 60)
    assert deliveries(net, 2) == [Deliver(envelopes=[row.frame for mailbox, row in rows if mailbox == rows[0][0]])]


def test_what_waits_for_a_claim_that_has_ended_does_not_reach_the_next_one(bob: DeviceKeys) -> None:
    """Else its acknowledgement would not be believed, and with it not those of others in the same message."""
    net = Net()
    net.connect(bob, acknowledging=False)
    told(net, [bob], 1, 5)
    new = net.connect(bob)
    assert [int.from_bytes(item.envelope.id, "big") for item in new.raw] == [1, 2, 3, 4, 5]
    assert net.rows == []
    assert net.rejected == []


def test_what_waits_for_a_link_that_is_gone_comes_on_another(bob: DeviceKeys) -> None:
    net = Net("e1", "e2")
    net.connect(bob, "e1", acknowledging=False)
    told(net, [bob], 1, 5)
    net.claims.remove_link(1)
    assert net.claims.next_delivery(1) is None
    new = net.connect(bob, "e2")
    assert len(new.raw) == 5
    assert net.rows == []


def test_two_edges_that_claim_one_mailbox_in_turns_get_everything_across(bob: DeviceKeys) -> None:
    """Each turn acknowledges a little and loses the mailbox; none is lost, none blocked, and it comes to an end."""
    net = Net("e1", "e2")
    told(net, [bob], 1, 40)
    got: list[int] = []
    turns = 0
    while net.rows:
        device = net.connect(bob, ("e1", "e2")[turns % 2], acknowledging=False)
        device.say(Confirm(claim=1, items=device.raw[:3]))
        got += [int.from_bytes(item.envelope.id, "big") for item in device.raw[:3]]
        turns += 1
        assert turns <= 14
    assert got == [*range(1, 41)]
    assert net.rejected == []


@pytest.mark.parametrize("ends", ["moved", "released"])
def test_an_acknowledgement_that_crosses_the_end_of_its_claim_costs_a_repetition_only(
    ends: str, bob: DeviceKeys
) -> None:
    net = Net("e1", "e2")
    told(net, [bob], 1, 3)
    old = net.connect(bob, "e1", acknowledging=False)
    way_up, held_back = net.edges["e1"].on_way_up, list[Message]()
    net.edges["e1"].on_way_up = lambda message: held_back.append(message)
    old.say(Confirm(claim=1, items=old.raw))
    (acknowledgement,) = held_back
    net.edges["e1"].on_way_up = way_up
    if ends == "released":
        net.disconnect(old)
    new = net.connect(bob, "e2", acknowledging=False)
    net.up(net.edges["e1"], acknowledgement)
    assert len(net.rows) == 3
    assert net.rejected == [], "it is nobody's fault"
    new.say(Confirm(claim=1, items=new.raw))
    assert net.rows == []


def test_claims_that_ended_are_remembered_up_to_a_bound(bob: DeviceKeys) -> None:
    net = Net("e1", "e2")
    link = net.edges["e1"].link
    net.connect(bob, "e1", acknowledging=False)
    net.connect(bob, "e2", acknowledging=False)
    late = Acknowledge(mailbox=bob.address.mailbox, ids=[], mac=bytes(32))
    for number in range(limits.PENDING_CLAIMS_PER_LINK - 1):
        net.claims._links[link].drop(MailboxId(number.to_bytes(32, "big")))
    net.up(net.edges["e1"], late)
    assert net.rejected == []
    net.claims._links[link].drop(MailboxId(bytes([255]) * 32))
    net.up(net.edges["e1"], late)
    assert len(net.rejected) == 1
    assert len(net.claims._links[link].former) == limits.PENDING_CLAIMS_PER_LINK
