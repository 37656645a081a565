"""The receiving and the submitting machine, driven message by message, and their keep-alive."""

import os
import re
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.client import Content, DeviceKeys, seal
from volly_fed.client import receiver as r
from volly_fed.client import submitter as s
from volly_fed.client.conversation import AskAlive, Dead, Quiet, Welcomed
from volly_fed.client.inbox import message_key, open_items
from volly_fed.client.keepalive import Keepalive, Verdict
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.claim import check_acknowledge, frame_digest, make_challenge
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import (
    Acknowledge,
    Challenge,
    Claim,
    Claimed,
    Deliver,
    NotClaimed,
    Ping,
    Pong,
    Receipt,
    Submitted,
    Welcome,
)

EDGE = Fingerprint(b"e" * 32)
WALL = 1_800_000_000.0


def hear(machine: r.Receiver | s.Submitter, message: Message, now: float = 0.0) -> list[object]:
    machine.receive(encode_message(message), now)
    return list(machine.events())


def welcome(keys: DeviceKeys) -> Welcome:
    return Welcome(domain=keys.domain, edge=EDGE)


def challenge(keys: DeviceKeys, request: int = 1) -> Challenge:
    claim = Claim(request=request, key=keys.mailbox.public)
    return make_challenge(claim, domain=keys.domain, edge=EDGE, now=WALL, random=os.urandom).challenge


def holding(keys: DeviceKeys) -> r.Receiver:
    machine = r.Receiver(keys, 0.0)
    assert hear(machine, welcome(keys)) == [Welcomed()]
    assert parse_message(machine.send(r.StartClaim())) == Claim(request=1, key=keys.mailbox.public)
    assert hear(machine, challenge(keys)) == [r.Challenged()]
    machine.send(r.Prove(WALL))
    assert hear(machine, Claimed(request=1, mailbox=keys.address.mailbox)) == [r.Holding()]
    return machine


def message_for(bob: DeviceKeys, alice: DeviceKeys, sent_at: int = int(WALL)) -> Envelope:
    content = Content(sent_at=sent_at, text="hello")
    return seal(content, identity=alice.identity, to=bob.card(), envelope_id=os.urandom(16), expiry=int(WALL))


# --- receiving


@pytest.mark.spec("edge-27")
def test_delivered_envelopes_are_confirmed_with_the_claims_key(alice: DeviceKeys, bob: DeviceKeys) -> None:
    machine = holding(bob)
    envelope = message_for(bob, alice)
    (delivered,) = hear(machine, Deliver(envelopes=[encode_envelope(envelope)]))
    assert isinstance(delivered, r.Delivered)
    assert [item.envelope for item in delivered.items] == [envelope]
    message = parse_message(machine.send(r.Confirm(claim=delivered.claim, items=delivered.items)))
    assert isinstance(message, Acknowledge)
    assert machine._key is not None
    check_acknowledge(machine._key, message, [frame_digest(encode_envelope(envelope))])


def test_a_confirmation_after_the_claim_ended_says_nothing(alice: DeviceKeys, bob: DeviceKeys) -> None:
    machine = holding(bob)
    (delivered,) = hear(machine, Deliver(envelopes=[encode_envelope(message_for(bob, alice))]))
    assert isinstance(delivered, r.Delivered)
    lost = NotClaimed(request=1, code=ErrorCode.BUSY, text="later")
    assert hear(machine, lost) == [r.Lost(code=ErrorCode.BUSY, text="later")]
    assert machine.send(r.Confirm(claim=delivered.claim, items=delivered.items)) == b""
    machine.send(r.StartClaim())
    hear(machine, challenge(bob, 2))
    machine.send(r.Prove(WALL))
    hear(machine, Claimed(request=2, mailbox=bob.address.mailbox))
    assert machine.send(r.Confirm(claim=delivered.claim, items=delivered.items)) == b""


@pytest.mark.parametrize("steps", range(5))
def test_messages_out_of_turn_break_the_protocol(alice: DeviceKeys, bob: DeviceKeys, steps: int) -> None:
    script: list[Message] = [
        welcome(bob),
        challenge(bob),
        Claimed(request=1, mailbox=bob.address.mailbox),
        Deliver(envelopes=[encode_envelope(message_for(bob, alice))]),
        NotClaimed(request=1, code=ErrorCode.BUSY, text=""),
    ]
    commands: list[r.Command | None] = [r.StartClaim(), r.Prove(WALL), None, None, None]
    for wrong in range(5):
        machine = r.Receiver(bob, 0.0)
        for step in range(steps):
            hear(machine, script[step])
            command = commands[step]
            if command is not None:
                machine.send(command)
        allowed = {steps, 4} if 1 <= steps < 5 else {steps}
        if steps == 4:
            allowed = {3, 4}
        if wrong in allowed:
            continue
        with pytest.raises(RemoteError):
            hear(machine, script[wrong])


def test_commands_out_of_turn_are_our_bug(bob: DeviceKeys) -> None:
    machine = r.Receiver(bob, 0.0)
    for command in (r.StartClaim(), r.Prove(WALL)):
        with pytest.raises(LocalProtocolError):
            machine.send(command)
    with pytest.raises(LocalProtocolError):
        s.Submitter(bob.domain, 0.0).send(s.HandOver(items=[]))


def test_lies_of_an_edge_end_the_connection(alice: DeviceKeys, bob: DeviceKeys) -> None:
    with pytest.raises(RemoteError) as caught:
        hear(r.Receiver(bob, 0.0), Welcome(domain=DomainName("elsewhere.test"), edge=EDGE))
    assert caught.value.code is ErrorCode.WRONG_NAME
    with pytest.raises(RemoteError):
        hear(s.Submitter(bob.domain, 0.0), Welcome(domain=DomainName("elsewhere.test"), edge=EDGE))
    machine = r.Receiver(bob, 0.0)
    hear(machine, welcome(bob))
    machine.send(r.StartClaim())
    with pytest.raises(RemoteError):
        hear(machine, challenge(bob, request=2))
    hear(machine, challenge(bob))
    machine.send(r.Prove(WALL))
    with pytest.raises(RemoteError):
        hear(machine, Claimed(request=1, mailbox=alice.address.mailbox))
    with pytest.raises(RemoteError):
        hear(holding(bob), Deliver(envelopes=[encode_envelope(message_for(alice, bob))]))
    with pytest.raises(BadMessage):
        hear(holding(bob), Deliver(envelopes=[b"junk"]))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_bad_messages(data: bytes) -> None:
    for machine in (r.Receiver(_KEYS, 0.0), s.Submitter(_KEYS.domain, 0.0)):
        with pytest.raises(RemoteError):
            machine.receive(data, 0.0)


_KEYS = DeviceKeys.generate(DomainName("z.test"), os.urandom)


# --- silence


def test_a_claim_that_does_not_go_on_is_given_up(bob: DeviceKeys) -> None:
    machine = r.Receiver(bob, 100.0)
    assert machine.deadline == 100.0 + limits.HANDSHAKE
    machine.tick(machine.deadline - 0.1)
    assert machine.events() == []
    machine.tick(machine.deadline)
    assert [type(event) for event in machine.events()] == [Dead]
    assert machine.deadline is None
    machine.tick(1e9)
    assert machine.events() == []


def test_a_silent_edge_is_asked_and_then_given_up(bob: DeviceKeys) -> None:
    submitter = s.Submitter(bob.domain, 0.0)
    hear(submitter, welcome(bob))
    for machine in (holding(bob), submitter):
        assert machine.deadline == limits.PING_AFTER
        machine.tick(limits.PING_AFTER)
        assert machine.events() == [Quiet()]
        assert parse_message(machine.send(AskAlive())) == Ping(token=1)
        assert hear(machine, Pong(token=1), now=25.0) == []
        assert machine.deadline == 25.0 + limits.PING_AFTER
        machine.tick(25.0 + limits.PING_AFTER)
        machine.events()
        machine.tick(25.0 + limits.PING_AFTER + limits.PONG_WITHIN)
        assert [type(event) for event in machine.events()] == [Dead]
        assert machine.deadline is None


def test_keepalive_says_ask_once() -> None:
    alive = Keepalive(0.0)
    assert [alive.tick(t) for t in (1, 20, 21, 29.9, 30)] == [
        Verdict.FINE,
        Verdict.ASK,
        Verdict.FINE,
        Verdict.FINE,
        Verdict.DEAD,
    ]


# --- submitting


def items(first: int, last: int) -> list[tuple[bytes, bytes]]:
    return [(n.to_bytes(16, "big"), b"frame") for n in range(first, last)]


@pytest.mark.spec("edge-33", "client-18")
def test_answers_free_room_and_what_is_unanswered_is_kept(bob: DeviceKeys) -> None:
    machine = s.Submitter(bob.domain, 0.0)
    assert hear(machine, welcome(bob)) == [Welcomed()]
    for start in range(0, limits.DEVICE_QUEUE, limits.SUBMIT_ENVELOPES):
        machine.send(s.HandOver(items=items(start, start + limits.SUBMIT_ENVELOPES)))
    assert machine.room == 0
    with pytest.raises(LocalProtocolError):
        machine.send(s.HandOver(items=items(5000, 5001)))
    ids = [i for i, _ in items(0, 3)]
    refused = ((ids[2], ErrorCode.UNDELIVERABLE, "no"),)
    settled = hear(machine, Submitted(accepted=ids[:2], refused=refused))
    assert settled == [s.Settled(accepted=ids[:2], refused=refused)]
    assert machine.room == 3
    assert machine.unanswered[0] == items(3, 4)[0]
    assert len(machine.unanswered) == limits.DEVICE_QUEUE - 3


def test_answers_nobody_waits_for_break_the_protocol(bob: DeviceKeys) -> None:
    machine = s.Submitter(bob.domain, 0.0)
    hear(machine, welcome(bob))
    with pytest.raises(RemoteError):
        hear(machine, Submitted(accepted=[bytes(16)]))
    with pytest.raises(RemoteError):
        hear(machine, Claimed(request=1, mailbox=bytes(32)))
    late = ((bytes(16), ErrorCode.UNDELIVERABLE, "no"),)
    assert hear(machine, Receipt(refused=late)) == [s.RefusedLate(refused=late)]


def test_a_batch_is_bounded(bob: DeviceKeys) -> None:
    machine = s.Submitter(bob.domain, 0.0)
    hear(machine, welcome(bob))
    with pytest.raises(LocalProtocolError):
        machine.send(s.HandOver(items=items(0, limits.SUBMIT_ENVELOPES + 1)))


# --- what a message is known by


def test_a_message_is_known_by_signer_and_id_only(alice: DeviceKeys, bob: DeviceKeys) -> None:
    envelope = message_for(bob, alice)
    altered = attrs.evolve(envelope, expiry=envelope.expiry + 9, capability=bytes(16))
    keys = []
    for variant in (envelope, altered):
        (message,), unopened = open_items(bob, [r.Item(variant, b"")], WALL)
        assert unopened == 0
        keys.append(message.key)
    assert keys[0] == keys[1] == message_key(alice.fingerprint, envelope.id)
    assert message_key(bob.fingerprint, envelope.id) != keys[0]
    assert message_key(alice.fingerprint, os.urandom(16)) != keys[0]


@pytest.mark.spec("client-11")
def test_what_does_not_open_is_counted_and_left_out(alice: DeviceKeys, bob: DeviceKeys) -> None:
    good, bad = message_for(bob, alice), attrs.evolve(message_for(bob, alice), body=bytes(8192))
    messages, unopened = open_items(bob, [r.Item(bad, b""), r.Item(good, b"")], WALL)
    assert [message.id for message in messages] == [good.id]
    assert unopened == 1


@pytest.mark.spec("client-20")
def test_what_was_kept_for_longer_than_its_key_is_remembered_is_not_taken_again(
    alice: DeviceKeys, bob: DeviceKeys
) -> None:
    day = 86400
    for age, taken in ((-day, 1), (0, 1), (7 * day + 3600, 1), (7.5 * day + 1, 0), (8 * day - 3600, 0), (80 * day, 0)):
        old = attrs.evolve(message_for(bob, alice), expiry=int(WALL + age + 3600))  # as if nothing were wrong with it
        messages, unopened = open_items(bob, [r.Item(old, b"")], WALL + age)
        assert (len(messages), unopened) == (taken, 1 - taken)
    assert limits.MAX_LIFETIME + limits.CLOCK_SKEW < 7.5 * day < limits.DUPLICATE_MEMORY


def test_machines_read_no_clock_and_no_randomness() -> None:
    folder = Path(r.__file__).parent
    for name in ("receiver", "submitter", "keepalive", "seal", "inbox"):
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) (time|os|random|secrets|trio)\b", text, re.MULTILINE)
