"""The envelope: one spelling, and nothing else is taken."""

from contextlib import suppress
from typing import Any

import attrs
import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import BadMessage
from volly_fed.names import MailboxId, parse_domain
from volly_fed.relay import Envelope, check_lifetime, encode_envelope, parse_envelope
from volly_fed.relay.envelope import read_head, read_heads
from volly_fed.wire import codec

NOW = 1_800_000_000.0
SAMPLE = Envelope(
    MailboxId(bytes(range(32))),
    parse_domain("chat.example"),
    b"i" * 16,
    int(NOW) + 60,
    EnvelopeClass.RING,
    b"c" * 16,
    b"b" * 1024,
)
FIELDS = [1, bytes(range(32)), "chat.example", b"i" * 16, int(NOW) + 60, 0, b"c" * 16, b"b" * 1024]


@given(
    mailbox=st.binary(min_size=32, max_size=32),
    domain=st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True), min_size=1, max_size=7),
    identity=st.binary(min_size=16, max_size=16),
    expiry=st.one_of(
        st.integers(0, 2**64 - 1), st.sampled_from([23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
    ),
    urgency=st.sampled_from(EnvelopeClass),
    size=st.sampled_from(limits.BODY_CLASSES),
)
def test_round_trip_and_agreement_with_the_codec(
    mailbox: bytes, domain: list[str], identity: bytes, expiry: int, urgency: EnvelopeClass, size: int
) -> None:
    name = parse_domain(".".join(domain))
    envelope = Envelope(MailboxId(mailbox), name, identity, expiry, urgency, identity, bytes(size))
    data = encode_envelope(envelope)
    assert parse_envelope(data) == envelope
    assert codec.decode(data) == [1, mailbox, name, identity, expiry, urgency, identity, bytes(size)]
    assert len(data) <= limits.MAX_ENVELOPE


@given(st.integers(0, 400), st.integers(0, 255))
def test_whatever_is_taken_has_exactly_the_codecs_spelling(at: int, value: int) -> None:
    """Any byte of the head may be changed: what is still taken is a deterministic spelling of what was read."""
    data = bytearray(encode_envelope(SAMPLE))
    data[at] = value
    try:
        envelope = parse_envelope(bytes(data))
    except BadMessage:
        return
    assert encode_envelope(envelope) == data
    assert codec.decode(bytes(data))


@given(st.binary(max_size=2000))
def test_junk_is_a_bad_message(data: bytes) -> None:
    for junk in (data, encode_envelope(SAMPLE)[:40] + data, encode_envelope(SAMPLE)[:60] + data):
        with pytest.raises(BadMessage):
            parse_envelope(junk)


PLAIN = st.builds(
    attrs.evolve,
    st.just(SAMPLE),
    mailbox=st.binary(min_size=32, max_size=32),
    expiry=st.sampled_from([65536, int(NOW), 2**32 - 1]),
    urgency=st.sampled_from(EnvelopeClass),
    body=st.sampled_from([bytes(size) for size in limits.BODY_CLASSES if size < 1 << 16]),
)
ODD = st.one_of(
    st.sampled_from([{"domain": parse_domain("mail.example")}, {"domain": parse_domain("a" * 30 + ".test")}]),
    st.sampled_from([{"expiry": 65535}, {"expiry": 2**32}, {"body": bytes(max(limits.BODY_CLASSES))}]),
)


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_a_batch_of_plain_envelopes_is_read_at_once(envelopes: list[Envelope]) -> None:
    heads = read_heads([*map(encode_envelope, envelopes)])
    assert heads is not None
    assert heads == (
        envelopes[0].domain,
        tuple(envelope.mailbox for envelope in envelopes),
        tuple(envelope.id for envelope in envelopes),
        tuple(envelope.expiry for envelope in envelopes),
        [envelope.urgency for envelope in envelopes],
        tuple(envelope.capability for envelope in envelopes),
    )


@given(
    envelopes=st.lists(PLAIN, min_size=1, max_size=4),
    odd=ODD,
    at=st.integers(0, 3),
    hostile=st.one_of(
        st.none(),
        st.binary(max_size=1200),
        st.tuples(st.integers(0, 130), st.integers(0, 255)),
        st.integers(-1200, 2),
    ),
)
def test_a_batch_read_at_once_is_what_each_of_it_is(
    envelopes: list[Envelope], odd: dict[str, Any], at: int, hostile: bytes | tuple[int, int] | int | None
) -> None:
    """One of them unusual, hostile, cut short, longer, or with one byte of its head changed: then not otherwise."""
    frames = [encode_envelope(envelope) for envelope in envelopes]
    at %= len(frames)
    match hostile:
        case None:
            frames[at] = encode_envelope(attrs.evolve(envelopes[at], **odd))
        case bytes():
            frames[at] = hostile
        case int():
            frames[at] = frames[at][:hostile] if hostile <= 0 else frames[at] + bytes(hostile)
        case (place, value):
            frames[at] = frames[at][:place] + bytes([value]) + frames[at][place + 1 :]
    assert_read_as_singly(frames)


def assert_read_as_singly(frames: list[bytes]) -> None:
    heads = read_heads(frames)
    if heads is not None:
        singly = [read_head(frame) for frame in frames]  # raises nothing
        assert {head.domain for head in singly} == {heads.domain}
        columns = zip(heads.mailboxes, heads.ids, heads.expiries, heads.urgencies, heads.capabilities, strict=True)
        assert [*columns] == [(head[0], *head[2:6]) for head in singly]


@pytest.mark.parametrize("at", range(3))
def test_each_byte_of_a_head_in_a_batch_counts(at: int) -> None:
    sample = encode_envelope(SAMPLE)
    for place in range(len(sample) - len(SAMPLE.body)):
        for value in {sample[place] ^ 1, sample[place] ^ 0x20, sample[place] ^ 0x80, 0, 1, 255} - {sample[place]}:
            frames = [sample] * 3
            frames[at] = sample[:place] + bytes([value]) + sample[place + 1 :]
            with suppress(BadMessage):
                assert encode_envelope(parse_envelope(frames[at])) == frames[at]
            assert_read_as_singly(frames)
            assert_read_as_singly(frames[at : at + 1])


def test_a_batch_with_an_expiry_that_is_not_in_its_shortest_form() -> None:
    sample = encode_envelope(SAMPLE)
    longer = sample.replace(int(NOW + 60).to_bytes(4, "big"), (65535).to_bytes(4, "big"))
    assert read_heads([sample, longer]) is None
    with pytest.raises(BadMessage):
        parse_envelope(longer)


def altered(at: int, value: object) -> bytes:
    return cbor2.dumps([*FIELDS[:at], value, *FIELDS[at + 1 :]], canonical=True)


def test_the_sample_is_its_fields() -> None:
    assert altered(0, 1) == encode_envelope(SAMPLE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        altered(1, bytes(31)),
        altered(1, bytes(33)),
        altered(2, ""),
        altered(2, "Chat.example"),
        altered(2, "chat.example."),
        altered(2, "chät.example"),
        altered(2, "a" * 64),
        altered(2, ".".join(["a" * 60] * 5)),
        altered(2, b"chat.example"),
        altered(3, bytes(15)),
        altered(4, -1),
        altered(4, "soon"),
        altered(4, 1.5),
        altered(5, 3),
        altered(5, True),
        altered(6, bytes(17)),
        altered(7, bytes(1025)),
        altered(7, bytes(1023)),
        altered(7, bytes(131072)),
        altered(7, "b" * 1024),
        cbor2.dumps(FIELDS[:7]),
        cbor2.dumps([*FIELDS, 1]),
        encode_envelope(SAMPLE) + b"\0",
        encode_envelope(SAMPLE)[:-1],
        encode_envelope(SAMPLE).replace(b"\x6cchat", b"\x78\x0cchat"),  # a length in more bytes than it needs
        encode_envelope(SAMPLE).replace(b"\x1a\x6b", b"\x1b\0\0\0\0\x6b"),
        encode_envelope(SAMPLE).replace(b"\x59\x04\x00", b"\x5a\0\0\x04\x00"),
        b"\x9f" + encode_envelope(SAMPLE)[1:] + b"\xff",
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    assert data != encode_envelope(SAMPLE)
    with pytest.raises(BadMessage) as caught:
        parse_envelope(data)
    assert caught.value.code is ErrorCode.MALFORMED


def test_another_version_has_its_own_code() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_envelope(altered(0, 2))
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        (NOW + 60, ErrorCode.NONE),
        (NOW - limits.CLOCK_SKEW, ErrorCode.NONE),
        (NOW - limits.CLOCK_SKEW - 1, ErrorCode.EXPIRED),
        (NOW + limits.MAX_LIFETIME + limits.CLOCK_SKEW, ErrorCode.NONE),
        (NOW + limits.MAX_LIFETIME + limits.CLOCK_SKEW + 1, ErrorCode.MALFORMED),
    ],
)
def test_lifetime(expiry: float, code: ErrorCode) -> None:
    assert check_lifetime(attrs.evolve(SAMPLE, expiry=int(expiry)), NOW) is code


def test_repr_shows_neither_mailbox_nor_capability_nor_body() -> None:
    shown = repr(SAMPLE)
    assert "chat.example" in shown
    assert not any(repr(secret) in shown for secret in (SAMPLE.mailbox, SAMPLE.capability, SAMPLE.body, SAMPLE.id))
