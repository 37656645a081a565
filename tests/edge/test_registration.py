import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.edge.admission import REFUSAL, Room, decide_admission
from volly_fed.edge.registration import (
    NOTHING,
    Registration,
    capability_hash,
    encode_registration,
    make_registration,
    parse_registration,
)
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName
from volly_fed.wire import codec

OWN, PEER, OTHER = DomainName("own.test"), DomainName("peer.test"), DomainName("other.test")
OPEN, NAMED, NOBODY = b"o" * 16, b"n" * 16, b"x" * 16
REGISTRATION = make_registration({OPEN: ("*",), NAMED: (PEER,), NOBODY: ()})

scopes = st.lists(st.sampled_from(["*", "a.test", "b.test", "c.test"]), max_size=4, unique=True).map(tuple)
registrations = st.dictionaries(st.binary(min_size=16, max_size=16), scopes, max_size=5).map(make_registration)


@given(registrations)
def test_a_registration_survives_the_wire(registration: Registration) -> None:
    encoded = encode_registration(registration)
    assert parse_registration(encoded) == registration
    assert encode_registration(parse_registration(encoded)) == encoded


@given(st.binary(max_size=300))
def test_other_bytes_are_bad_messages(data: bytes) -> None:
    try:
        parsed = parse_registration(data)
    except BadMessage:
        return
    assert encode_registration(parsed) == data


@given(registrations, st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_damaged_registrations_are_bad_messages_or_other_registrations(
    registration: Registration, at: int, flip: int
) -> None:
    damaged = bytearray(encode_registration(registration))
    damaged[at % len(damaged)] ^= flip
    try:
        parsed = parse_registration(bytes(damaged))
    except BadMessage:
        return
    assert parsed != registration


H1, H2 = sorted([capability_hash(OPEN), capability_hash(NAMED)])


@pytest.mark.parametrize(
    "value",
    [
        [2, []],
        [1, [[H2, []], [H1, []]]],
        [1, [[H1, []], [H1, []]]],
        [1, [[H1, ["b.test", "a.test"]]]],
        [1, [[H1, ["*", "*"]]]],
        [1, [[H1, ["A.test"]]]],
        [1, [[H1, ["*.a.test"]]]],
        [1, [[H1[:-1], []]]],
        [1, [[H1, ["*"], 0]]],
        [1, [[bytes([n // 256, n % 256]).rjust(32, b"\0"), []] for n in range(limits.CAPABILITIES_PER_MAILBOX + 1)]],
        [1, [[H1, [f"d{n:03}.test" for n in range(limits.SCOPES_PER_CAPABILITY + 1)]]]],
    ],
)
@pytest.mark.spec("edge-24")
def test_there_is_one_spelling_and_a_limit(value: codec.Value) -> None:
    with pytest.raises(BadMessage):
        parse_registration(codec.encode(value))


def test_capabilities_are_never_on_the_wire_or_shown() -> None:
    assert OPEN not in encode_registration(REGISTRATION)
    assert capability_hash(OPEN).hex() not in repr(REGISTRATION)


@pytest.mark.parametrize(
    ("capability", "origin", "level", "allowed"),
    [
        (OPEN, PEER, TrustLevel.FULL, True),
        (OPEN, PEER, TrustLevel.SELECTIVE, True),
        (OPEN, PEER, TrustLevel.METADATA, False),
        (OPEN, PEER, TrustLevel.NONE, False),
        (NAMED, PEER, TrustLevel.SELECTIVE, True),
        (NAMED, OTHER, TrustLevel.SELECTIVE, False),
        (NAMED, OTHER, TrustLevel.FULL, True),
        (NOBODY, PEER, TrustLevel.SELECTIVE, False),
        (OPEN, OWN, TrustLevel.NONE, True),
        (b"?" * 16, PEER, TrustLevel.FULL, False),
        (b"?" * 16, OWN, TrustLevel.FULL, False),
    ],
)
def test_who_may_put_something_in(capability: bytes, origin: DomainName, level: TrustLevel, allowed: bool) -> None:
    decision = decide_admission(REGISTRATION, capability, origin, own=OWN, level=level)
    assert decision.allowed is allowed


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        (Room(1, 1500), True),
        (Room(0, 1500), False),
        (Room(-1, 1500), False),  # the quota was made smaller
        (Room(1, 1499), False),
    ],
)
def test_a_full_mailbox_takes_nothing(room: Room, allowed: bool) -> None:
    assert room.take(1500) is allowed
    assert not room.take(1500)


@pytest.mark.spec("relay-13", "relay-24")
def test_there_is_one_refusal_and_it_names_no_reason() -> None:
    """The daemon has nothing else to send: decisions carry no code, and REFUSAL is the one constant."""
    level = TrustLevel.SELECTIVE
    refused = [
        decide_admission(None, OPEN, PEER, own=OWN, level=level),
        decide_admission(NOTHING, OPEN, PEER, own=OWN, level=level),
        decide_admission(REGISTRATION, os.urandom(16), PEER, own=OWN, level=level),
        decide_admission(REGISTRATION, NAMED, OTHER, own=OWN, level=level),
    ]
    assert not any(decision.allowed for decision in refused)
    assert not any(hasattr(decision, "code") for decision in refused)
    code, text = REFUSAL
    assert code is ErrorCode.UNDELIVERABLE
    assert not any(word in text for word in ("mailbox", "capability", "full", "unknown", "scope"))
