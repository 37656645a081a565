"""What an edge that lies can and cannot do: it can withhold; it cannot claim, widen, read, alter, forge or delete."""

import os

import attrs
import pytest

from tests.edge.net import HOME, Net, edge_fingerprint, message_to
from volly_fed.client import DeviceKeys
from volly_fed.client.receiver import Confirm
from volly_fed.codepoints import ErrorCode
from volly_fed.relay.envelope import encode_envelope
from volly_fed.wire import Message
from volly_fed.wire.messages import Acknowledge, Challenge, Claim, Deliver, NotClaimed, Proof, Release


def test_an_honest_edge_delivers_and_the_homeserver_deletes(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob)
    net.store(message_to(bob.card(), alice, "one"), message_to(bob.card(), alice, "two"))
    assert [message.content.text for message in device.got] == ["one", "two"]
    assert net.rows == []
    assert net.rejected == []


def test_it_cannot_claim_a_mailbox_whose_key_it_has_seen(bob: DeviceKeys) -> None:
    net = Net()
    edge = net.edges["e1"]
    net.up(edge, Claim(request=900, key=bob.mailbox.public))
    net.up(edge, Proof(request=900, mac=os.urandom(32), registration=bob.registration))
    assert net.rejected
    assert net.claims.holder(bob.address.mailbox) is None
    assert net.registrations == {}


@pytest.mark.spec("edge-15")
def test_it_cannot_use_a_proof_a_second_time(bob: DeviceKeys) -> None:
    net = Net()
    edge = net.edges["e1"]
    proofs: list[Proof] = []

    def record(message: Message) -> Message:
        if isinstance(message, Proof):
            proofs.append(message)
        return message

    edge.on_way_up = record
    device = net.connect(bob)
    net.disconnect(device)
    assert net.claims.holder(bob.address.mailbox) is None
    net.up(edge, proofs[0])  # the challenge was used up
    net.up(edge, Claim(request=901, key=bob.mailbox.public))
    net.up(edge, attrs.evolve(proofs[0], request=901))  # another nonce
    assert len(net.rejected) == 2
    assert net.claims.holder(bob.address.mailbox) is None


def test_a_challenge_passed_through_another_edge_is_not_answered(bob: DeviceKeys) -> None:
    """e2 lets the device answer a challenge that e1 got: the device knows which edge it talks to."""
    net = Net("e1", "e2")
    for_e1: list[Challenge] = []
    net.edges["e1"].on_way_down = lambda m: for_e1.append(m) if isinstance(m, Challenge) else m
    net.connect(bob, "e1")
    net.edges["e2"].on_way_down = lambda m: (
        attrs.evolve(for_e1[0], request=m.request) if isinstance(m, Challenge) else m
    )
    with pytest.raises(Exception, match="another domain or edge"):
        net.connect(bob, "e2")


def test_rewriting_the_challenges_edge_helps_nobody(bob: DeviceKeys) -> None:
    """The same, but the challenge's edge is rewritten so that the device answers: the homeserver refuses."""
    net = Net("e1", "e2")
    taken: list[Challenge] = []
    net.edges["e1"].on_way_down = lambda m: taken.append(m) if isinstance(m, Challenge) else m
    net.connect(bob, "e1")
    fake = attrs.evolve(taken[0], edge=edge_fingerprint("e2"))
    net.edges["e2"].on_way_down = lambda m: attrs.evolve(fake, request=m.request) if isinstance(m, Challenge) else m

    def to_e1(message: Message) -> Message | None:
        if isinstance(message, Proof):
            net.up(net.edges["e1"], attrs.evolve(message, request=taken[0].request))
            return None
        return message

    net.edges["e2"].on_way_up = to_e1
    net.connect(bob, "e2")
    assert net.rejected
    assert net.claims.holder(bob.address.mailbox) is None


def test_it_cannot_alter_the_registration(bob: DeviceKeys) -> None:
    net = Net()
    wider = bob.with_pass("mallory", os.urandom).registration
    net.edges["e1"].on_way_up = lambda m: attrs.evolve(m, registration=wider) if isinstance(m, Proof) else m
    device = net.connect(bob)
    assert [lost.code for lost in device.lost] == [ErrorCode.BAD_PROOF]
    assert net.registrations == {}


def test_it_cannot_forge_or_alter_an_acknowledgement(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob, acknowledging=False)
    envelopes = [message_to(bob.card(), alice, str(n)) for n in range(3)]
    net.store(*envelopes)
    ids = [envelope.id for envelope in envelopes]
    edge, mailbox = net.edges["e1"], bob.address.mailbox
    net.up(edge, Acknowledge(mailbox=mailbox, ids=ids, mac=os.urandom(32)))
    assert len(net.rows) == 3
    # the device acknowledges the first; the edge adds the second
    edge.on_way_up = lambda m: attrs.evolve(m, ids=ids[:2]) if isinstance(m, Acknowledge) else m
    device.say(Confirm(claim=1, items=device.raw[:1]))
    assert len(net.rows) == 3
    assert len(net.rejected) == 2
    edge.on_way_up = lambda m: m
    device.say(Confirm(claim=1, items=device.raw[:1]))
    assert [row.id for _, row in net.rows] == ids[1:]


def test_it_cannot_have_the_real_one_deleted_by_delivering_a_damaged_one(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()

    def damage(message: Message) -> Message:
        if not isinstance(message, Deliver):
            return message
        frames = [bytearray(frame) for frame in message.envelopes]
        for frame in frames:
            frame[-1] ^= 1
        return Deliver(envelopes=[bytes(frame) for frame in frames])

    net.edges["e1"].on_way_down = damage
    device = net.connect(bob)
    net.store(message_to(bob.card(), alice, "real"))
    assert device.got == []
    assert device.unopened == 1
    assert len(net.rows) == 1
    assert net.rejected
    net.edges["e1"].on_way_down = lambda m: m  # the device comes back through an honest one
    net.disconnect(device)
    again = net.connect(bob)
    assert [message.content.text for message in again.got] == ["real"]
    assert net.rows == []


def test_an_envelope_of_its_own_under_a_real_id_does_not_pass_for_the_real_one(
    bob: DeviceKeys, alice: DeviceKeys
) -> None:
    """The edge knows id, capability and mailbox key; its own signed envelope under that id is another message."""
    mallory = DeviceKeys.generate(HOME, os.urandom)
    net = Net()
    real = message_to(bob.card(), alice, "real")
    fake = message_to(bob.card(), mallory, "fake", envelope_id=real.id)
    net.edges["e1"].on_way_down = lambda m: Deliver(envelopes=[encode_envelope(fake)]) if isinstance(m, Deliver) else m
    device = net.connect(bob)
    net.store(real)
    assert [message.sender for message in device.got] == [mallory.fingerprint]
    assert len(net.rows) == 1  # the acknowledgement did not fit what the homeserver had delivered
    net.edges["e1"].on_way_down = lambda m: m
    net.disconnect(device)
    again = net.connect(bob)
    assert [message.content.text for message in again.got] == ["real"]
    assert {message.key for message in device.got}.isdisjoint(message.key for message in again.got)


def test_an_old_acknowledgement_does_not_delete_after_a_new_claim(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net()
    acknowledgements: list[Message] = []

    def hold_back(message: Message) -> Message | None:
        if isinstance(message, Acknowledge):
            acknowledgements.append(message)
            return None
        return message

    net.edges["e1"].on_way_up = hold_back
    device = net.connect(bob)
    net.store(message_to(bob.card(), alice))
    net.disconnect(device)
    net.connect(bob, acknowledging=False)
    net.up(net.edges["e1"], acknowledgements[0])
    assert len(net.rows) == 1
    assert net.rejected


def test_it_cannot_release_or_acknowledge_what_another_edge_holds(bob: DeviceKeys, alice: DeviceKeys) -> None:
    net = Net("e1", "e2")
    net.connect(bob, "e1", acknowledging=False)
    net.store(message_to(bob.card(), alice))
    evil = net.edges["e2"]
    net.up(evil, Release(mailbox=bob.address.mailbox))
    net.up(evil, Acknowledge(mailbox=bob.address.mailbox, ids=[net.rows[0][1].id], mac=bytes(32)))
    assert net.claims.holder(bob.address.mailbox) == net.edges["e1"].link
    assert len(net.rows) == 1


def test_even_a_true_acknowledgement_counts_only_from_the_edge_that_holds_the_claim(
    bob: DeviceKeys, alice: DeviceKeys
) -> None:
    net = Net("e1", "e2")

    def carry_over(message: Message) -> Message | None:
        if isinstance(message, Acknowledge):
            net.up(net.edges["e2"], message)
            return None
        return message

    net.edges["e1"].on_way_up = carry_over
    net.connect(bob, "e1")
    net.store(message_to(bob.card(), alice))
    assert len(net.rows) == 1
    assert net.rejected == ["acknowledges for a mailbox that is not claimed through it"]


def test_telling_the_device_that_it_lost_the_claim_only_costs_a_new_one(bob: DeviceKeys) -> None:
    net = Net()
    device = net.connect(bob)
    device.hear(NotClaimed(request=1, code=ErrorCode.BUSY, text="so it says"))
    assert not device.holding
    assert net.claims.holder(bob.address.mailbox) == net.edges["e1"].link
