import os

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.net import HOME, WALL, edge_fingerprint
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.edge.registry import Action, Offer, Registry, ToDevice, ToHomeserver
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire import Message
from volly_fed.wire.messages import (
    Acknowledge,
    Challenge,
    Claim,
    Claimed,
    Deliver,
    NotClaimed,
    Ping,
    Pong,
    Proof,
    Receipt,
    Release,
    Submit,
    Submitted,
)


@pytest.fixture
def registry() -> Registry:
    fresh = Registry(domain=HOME, edge=edge_fingerprint("e1"))
    fresh.link_up()
    return fresh


def frame(number: int, mailbox: bytes = bytes(32), expiry: float = WALL + 60) -> bytes:
    return encode_envelope(
        Envelope(
            MailboxId(mailbox),
            DomainName("far.test"),
            ident(number),
            int(expiry),
            EnvelopeClass.RING,
            bytes(16),
            bytes(1024),
        )
    )


def ident(number: int) -> bytes:
    return number.to_bytes(16, "big")


def upstream(actions: list[Action]) -> list[Message]:
    return [action.message for action in actions if isinstance(action, ToHomeserver)]


def downstream(actions: list[Action]) -> list[tuple[int, Message]]:
    return [(action.connection, action.message) for action in actions if isinstance(action, ToDevice)]


def claim_at(registry: Registry, connection: int, keys: DeviceKeys, request: int = 1) -> int:
    """Up to the proof; the claim's number on the link."""
    (up,) = upstream(registry.receive_device(connection, Claim(request=request, key=keys.mailbox.public), WALL))
    assert isinstance(up, Claim)
    registry.receive_device(connection, Proof(request=request, mac=bytes(32), registration=b""), WALL)
    return up.request


def claimed(registry: Registry, number: int, keys: DeviceKeys) -> list[Action]:
    return registry.receive_homeserver(Claimed(request=number, mailbox=keys.address.mailbox))


# --- connections and roles


@pytest.mark.spec("edge-8")
def test_the_welcome_names_domain_and_edge(registry: Registry) -> None:
    welcome = registry.connect(1)
    assert (welcome.domain, welcome.edge) == (HOME, edge_fingerprint("e1"))


def test_connections_are_bounded(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_CONNECTIONS_PER_EDGE", 1)
    registry.connect(1)
    with pytest.raises(RemoteError) as caught:
        registry.connect(2)
    assert caught.value.code is ErrorCode.BUSY
    registry.disconnect(1)
    registry.connect(3)


@pytest.mark.spec("security-3")
def test_a_connection_receives_or_submits_never_both(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    registry.receive_device(1, Claim(request=1, key=bob.mailbox.public), WALL)
    with pytest.raises(RemoteError):
        registry.receive_device(1, Submit(envelopes=[frame(1)]), WALL)
    registry.connect(2)
    registry.receive_device(2, Submit(envelopes=[frame(1)]), WALL)
    with pytest.raises(RemoteError):
        registry.receive_device(2, Claim(request=1, key=bob.mailbox.public), WALL)


@pytest.mark.spec("edge-12")
def test_other_messages_are_refused_from_either_side(registry: Registry) -> None:
    registry.connect(1)
    with pytest.raises(RemoteError):
        registry.receive_device(1, Claimed(request=1, mailbox=bytes(32)), WALL)
    with pytest.raises(RemoteError):
        registry.receive_homeserver(Submit(envelopes=[]))
    assert downstream(registry.receive_device(1, Ping(token=4), WALL)) == [(1, Pong(token=4))]


# --- claims


@pytest.mark.spec("edge-14")
def test_request_numbers_are_translated_both_ways(registry: Registry, bob: DeviceKeys) -> None:
    for connection in (1, 2):
        registry.connect(connection)
    first = claim_at(registry, 1, bob, request=9)
    second = claim_at(registry, 2, DeviceKeys.generate(HOME, os.urandom), request=9)
    assert first != second
    challenge = Challenge(request=first, ciphertext=bytes(1120), nonce=bytes(32), domain=HOME, edge=bytes(32), expiry=1)
    assert downstream(registry.receive_homeserver(challenge)) == [(1, attrs.evolve(challenge, request=9))]
    ((connection, message),) = downstream(claimed(registry, first, bob))
    assert (connection, message) == (1, Claimed(request=9, mailbox=bob.address.mailbox))


@pytest.mark.spec("edge-26")
def test_deliveries_go_to_the_connection_that_holds_the_mailbox(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    claimed(registry, claim_at(registry, 1, bob), bob)
    mine, other = frame(1, bob.address.mailbox), frame(2, b"o" * 32)
    assert downstream(registry.receive_homeserver(Deliver(envelopes=[mine, other]))) == [(1, Deliver(envelopes=[mine]))]


def test_only_the_holder_acknowledges(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    registry.connect(2)
    claimed(registry, claim_at(registry, 1, bob), bob)
    message = Acknowledge(mailbox=bob.address.mailbox, ids=[ident(1)], mac=bytes(32))
    assert upstream(registry.receive_device(1, message, WALL)) == [message]
    assert upstream(registry.receive_device(2, message, WALL)) == []


@pytest.mark.spec("edge-23")
def test_a_connection_that_ends_releases_its_mailboxes(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    claimed(registry, claim_at(registry, 1, bob), bob)
    assert upstream(registry.disconnect(1)) == [Release(mailbox=bob.address.mailbox)]
    assert registry.mailboxes == 0
    assert registry.disconnect(1) == []


@pytest.mark.spec("edge-23")
def test_no_release_while_another_connection_is_about_to_hold_the_mailbox(registry: Registry, bob: DeviceKeys) -> None:
    """It would overtake CLAIMED here and end the new claim there."""
    registry.connect(1)
    registry.connect(2)
    claimed(registry, claim_at(registry, 1, bob), bob)
    second = claim_at(registry, 2, bob)
    assert upstream(registry.disconnect(1)) == []
    assert downstream(claimed(registry, second, bob)) == [(2, Claimed(request=1, mailbox=bob.address.mailbox))]
    assert upstream(registry.disconnect(2)) == [Release(mailbox=bob.address.mailbox)]


def test_a_release_held_back_for_a_claim_that_fails_is_sent_then(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    registry.connect(2)
    claimed(registry, claim_at(registry, 1, bob), bob)
    second = claim_at(registry, 2, bob)
    registry.disconnect(1)
    refusal = NotClaimed(request=second, code=ErrorCode.BAD_PROOF, text="no")
    assert upstream(registry.receive_homeserver(refusal)) == [Release(mailbox=bob.address.mailbox)]


def test_a_claim_confirmed_for_a_connection_that_is_gone_is_released(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    number = claim_at(registry, 1, bob)
    assert upstream(registry.disconnect(1)) == []
    assert upstream(claimed(registry, number, bob)) == [Release(mailbox=bob.address.mailbox)]
    assert registry.mailboxes == 0


def test_a_replaced_holder_is_told_and_hears_nothing_more(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    registry.connect(2)
    first = claim_at(registry, 1, bob)
    claimed(registry, first, bob)
    second = claim_at(registry, 2, bob)
    replaced = registry.receive_homeserver(NotClaimed(request=first, code=ErrorCode.REPLACED, text="replaced"))
    assert downstream(replaced) == [(1, NotClaimed(request=1, code=ErrorCode.REPLACED, text="replaced"))]
    assert upstream(replaced) == []
    claimed(registry, second, bob)
    delivered = registry.receive_homeserver(Deliver(envelopes=[frame(1, bob.address.mailbox)]))
    assert [connection for connection, _ in downstream(delivered)] == [2]
    assert upstream(registry.disconnect(1)) == []


def test_claims_without_a_link_are_told_to_come_back(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    claimed(registry, claim_at(registry, 1, bob), bob)
    registry.connect(2)
    claim_at(registry, 2, DeviceKeys.generate(HOME, os.urandom))
    told = downstream(registry.link_down())
    assert {(c, m.code) for c, m in told if isinstance(m, NotClaimed)} == {(1, ErrorCode.BUSY), (2, ErrorCode.BUSY)}
    ((_, refusal),) = downstream(registry.receive_device(1, Claim(request=2, key=bob.mailbox.public), WALL))
    assert isinstance(refusal, NotClaimed)
    registry.link_up()
    claimed(registry, claim_at(registry, 1, bob, request=3), bob)
    assert registry.mailboxes == 1


def test_claims_are_bounded(registry: Registry, bob: DeviceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.connect(1)
    monkeypatch.setattr(limits, "MAILBOXES_PER_DEVICE", 1)
    claim_at(registry, 1, bob)
    ((_, refusal),) = downstream(registry.receive_device(1, Claim(request=2, key=bob.mailbox.public), WALL))
    assert isinstance(refusal, NotClaimed)
    monkeypatch.setattr(limits, "PENDING_CLAIMS_PER_LINK", 1)
    registry.connect(2)
    ((_, refusal),) = downstream(registry.receive_device(2, Claim(request=2, key=bob.mailbox.public), WALL))
    assert isinstance(refusal, NotClaimed)


@pytest.mark.spec("edge-13", "edge-18", "edge-22")
def test_misnumbered_claims_and_confirmations_break_the_protocol(registry: Registry, bob: DeviceKeys) -> None:
    registry.connect(1)
    number = claim_at(registry, 1, bob)
    with pytest.raises(RemoteError):
        registry.receive_device(1, Claim(request=1, key=bob.mailbox.public), WALL)
    with pytest.raises(RemoteError):
        registry.receive_device(1, Proof(request=1, mac=bytes(32), registration=b""), WALL)
    with pytest.raises(RemoteError):
        registry.receive_homeserver(Claimed(request=number + 1, mailbox=bob.address.mailbox))
    with pytest.raises(RemoteError):
        registry.receive_homeserver(Claimed(request=number, mailbox=bytes(32)))
    assert registry.receive_device(1, Proof(request=5, mac=bytes(32), registration=b""), WALL) == []
    assert registry.receive_homeserver(NotClaimed(request=99, code=ErrorCode.BUSY, text="")) == []


@given(st.lists(st.tuples(st.sampled_from("cpdDrRnNl"), st.integers(0, 2), st.integers(0, 1)), max_size=40))
def test_whatever_the_order_nothing_is_left_behind(steps: list[tuple[str, int, int]]) -> None:
    """Two mailboxes, three connections, a homeserver that grants or refuses in any order."""
    registry = Registry(domain=HOME, edge=edge_fingerprint("e1"))
    registry.link_up()
    alive: dict[int, int] = {}
    claims: dict[int, tuple[int, int, DeviceKeys]] = {}
    last = request = 0
    for step, slot, which in steps:
        keys = _TWO[which]
        if step == "c" and slot not in alive:
            last += 1
            alive[slot] = last
            registry.connect(last)
        elif step == "p" and slot in alive:
            request += 1
            claims[claim_at(registry, alive[slot], keys, request)] = (alive[slot], request, keys)
        elif step in "dD" and slot in alive:
            registry.disconnect(alive.pop(slot))
        elif step in "rRnN" and claims:
            number = sorted(claims)[slot % len(claims)]
            _, _, keys = claims.pop(number)
            if step in "rR":
                claimed(registry, number, keys)
            else:
                registry.receive_homeserver(NotClaimed(request=number, code=ErrorCode.BAD_PROOF, text=""))
        elif step == "l":
            registry.link_down()
            registry.link_up()
            claims.clear()
    for connection in alive.values():
        registry.disconnect(connection)
    registry.link_down()
    assert (len(registry), registry.mailboxes, registry._open) == (0, 0, 0)
    assert not registry._claims
    assert not registry._proving


_TWO = (DeviceKeys.generate(HOME, os.urandom), DeviceKeys.generate(HOME, os.urandom))


# --- submissions


def offered(actions: list[Action]) -> list[tuple[int, bytes]]:
    return [item for action in actions if isinstance(action, Offer) for item in action.items]


@pytest.mark.spec("edge-32")
def test_submissions_are_offered_and_answered_to_their_connection(registry: Registry) -> None:
    registry.connect(1)
    registry.connect(2)
    one = offered(registry.receive_device(1, Submit(envelopes=[frame(1), frame(2)]), WALL))
    two = offered(registry.receive_device(2, Submit(envelopes=[frame(3)]), WALL))
    assert [data for _, data in one + two] == [frame(1), frame(2), frame(3)]
    keys = [key for key, _ in one + two]
    answers = dict(downstream(registry.settled(keys, [(keys[1], ErrorCode.UNDELIVERABLE, "no")])))
    assert answers == {
        1: Submitted(accepted=[ident(1)], refused=((ident(2), ErrorCode.UNDELIVERABLE, "no"),)),
        2: Submitted(accepted=[ident(3)]),
    }
    assert registry.settled(keys, []) == []
    assert len(registry.submissions) == 0


@pytest.mark.spec("privacy-3")
def test_nothing_that_names_a_connection_goes_upstream(registry: Registry) -> None:
    registry.connect(1234567)
    items = offered(registry.receive_device(1234567, Submit(envelopes=[frame(1)]), WALL))
    assert items == [(1, frame(1))]


def test_expired_and_immortal_envelopes_are_refused_at_the_edge(registry: Registry) -> None:
    registry.connect(1)
    old, forever = frame(1, expiry=WALL - 9999), frame(2, expiry=WALL + 99 * 86400)
    actions = registry.receive_device(1, Submit(envelopes=[old, forever, frame(3)]), WALL)
    assert len(offered(actions)) == 1
    ((_, message),) = downstream(actions)
    assert isinstance(message, Submitted)
    assert [code for _, code, _ in message.refused] == [ErrorCode.EXPIRED, ErrorCode.MALFORMED]


@pytest.mark.spec("edge-30")
def test_a_batch_with_something_else_in_it_is_not_taken_at_all(registry: Registry) -> None:
    registry.connect(1)
    with pytest.raises(BadMessage):
        registry.receive_device(1, Submit(envelopes=[frame(1), b"junk"]), WALL)
    assert len(registry.submissions) == 0


@pytest.mark.parametrize(
    ("limit", "value"), [("DEVICE_QUEUE", 2), ("EDGE_SUBMISSIONS", 2), ("EDGE_SUBMISSION_BYTES", 2 * len(frame(1)) + 1)]
)
@pytest.mark.spec("edge-29")
def test_what_does_not_fit_is_refused_not_dropped(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(limits, limit, value)
    registry.connect(1)
    actions = registry.receive_device(1, Submit(envelopes=[frame(n) for n in range(3)]), WALL)
    assert len(offered(actions)) == 2
    ((_, message),) = downstream(actions)
    assert isinstance(message, Submitted)
    assert [(i, code) for i, code, _ in message.refused] == [(ident(2), ErrorCode.OVERLOADED)]
    registry.settled([key for key, _ in offered(actions)], [])
    assert len(offered(registry.receive_device(1, Submit(envelopes=[frame(2)]), WALL))) == 1


def test_answers_for_a_connection_that_is_gone_are_forgotten(registry: Registry) -> None:
    registry.connect(1)
    items = offered(registry.receive_device(1, Submit(envelopes=[frame(1)]), WALL))
    registry.disconnect(1)
    assert registry.settled([key for key, _ in items], []) == []
    assert len(registry.submissions) == 0


def test_late_refusals_find_their_submitter_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIPT_MEMORY", 4)
    registry.connect(1)
    for number in range(4):
        items = offered(registry.receive_device(1, Submit(envelopes=[frame(number)]), WALL))
        registry.settled([key for key, _ in items], [])
    receipt = Receipt(refused=tuple((ident(n), ErrorCode.UNDELIVERABLE, "no") for n in (0, 1, 2, 3, 7)))
    ((connection, message),) = downstream(registry.receive_homeserver(receipt))
    assert isinstance(message, Receipt)
    assert connection == 1
    assert [outcome[0] for outcome in message.refused] == [ident(2), ident(3)]  # the oldest were forgotten
    assert registry.receive_homeserver(receipt) == []


def test_many_answers_take_several_messages(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACK_IDS", 100)
    registry.connect(1)
    keys = []
    for start in range(0, 250, 50):
        actions = registry.receive_device(1, Submit(envelopes=[frame(start + n) for n in range(50)]), WALL)
        keys += [key for key, _ in offered(actions)]
    messages = [message for _, message in downstream(registry.settled(keys, []))]
    assert [len(m.accepted) for m in messages if isinstance(m, Submitted)] == [100, 100, 50]
