"""The messages' fields: kinds, limits, presence; and that nothing but BadMessage comes out of the parser."""

import enum
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, MessageType
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName
from volly_fed.wire import Message, codec, encode_message, parse_message
from volly_fed.wire.messages import MESSAGES, Ack, Acknowledge, Batch, Hello, Ping, Refuse, Submit, Submitted, Welcome
from volly_fed.wire.presence import ANNOUNCED_SCOPES

D32, ID = bytes(32), bytes(16)
HELLO = Hello(
    versions=(1, 1),
    own=DomainName("a.example"),
    wanted=DomainName("b.example"),
    identity=bytes(1984),
    nonce=D32,
    extensions={5: b"x"},
)
# one of each type, by number of field
SAMPLES: dict[MessageType, dict[int, Any]] = {
    MessageType.HELLO: {1: [1, 1], 2: "a.example", 3: "b.example", 4: bytes(1984), 5: D32, 6: {5: b"x"}},
    MessageType.AUTH: {1: bytes(3373), 2: b"statement"},
    MessageType.REFUSE: {1: 6, 2: "busy", 3: 5},
    MessageType.OPEN: {1: bytes(8)},
    MessageType.BATCH: {1: bytes(8), 2: 1, 3: [b"e"]},
    MessageType.ACK: {1: bytes(8), 2: 7, 3: [[3, 32, "no"]], 4: 8, 5: 9000},
    MessageType.CLOSE: {1: 6, 2: "busy", 3: 5},
    MessageType.PING: {1: 9},
    MessageType.PONG: {1: 9},
    MessageType.CLAIM: {1: 1, 2: bytes(1216)},
    MessageType.CHALLENGE: {1: 1, 2: bytes(1120), 3: D32, 4: "a.example", 5: D32, 6: 10},
    MessageType.PROOF: {1: 1, 2: D32, 3: b"reg"},
    MessageType.CLAIMED: {1: 1, 2: D32},
    MessageType.NOT_CLAIMED: {1: 1, 2: 36, 3: "no"},
    MessageType.ACKNOWLEDGE: {1: D32, 2: [ID], 3: D32},
    MessageType.RELEASE: {1: D32},
    MessageType.RECEIPT: {1: [[ID, 32, "no"]]},
    MessageType.WELCOME: {1: "a.example", 2: D32},
    MessageType.SUBMIT: {1: [b"e"]},
    MessageType.SUBMITTED: {1: [ID], 2: [[ID, 34, ""]]},
    MessageType.DELIVER: {1: [b"e"]},
    MessageType.PRESENCE_RESUME: {1: bytes(8), 2: 7},
    MessageType.PRESENCE_REQUEST: {},
    MessageType.PRESENCE_SNAPSHOT: {1: 9, 2: D32, 3: 4, 4: 7, 5: 65536, 6: b"bits"},
    MessageType.PRESENCE_DELTA: {1: bytes(8), 2: 8, 3: b"changes"},
    MessageType.PRESENCE_WITHDRAW: {},
    MessageType.ANNOUNCE: {1: 7, 2: 9, 3: [["*", ID], ["b.example", ID]]},
    MessageType.RETRACT: {1: 7},
    MessageType.WATCH: {1: "b.example"},
    MessageType.UNWATCH: {1: "b.example", 2: 5, 3: "no"},
    MessageType.SHOWN: {1: "b.example", 2: b"message"},
}
TYPES = list(MessageType)


def spell(kind: int, fields: dict[int, Any]) -> bytes:
    return codec.encode({0: int(kind)} | fields)


def required(kind: MessageType) -> list[int]:
    return [f.metadata["number"] for f in attrs.fields(MESSAGES[kind]) if f.default is attrs.NOTHING]


def test_every_type_has_a_class_and_a_sample() -> None:
    assert set(MESSAGES) == set(TYPES) == set(SAMPLES)
    for kind, cls in MESSAGES.items():
        numbers = [f.metadata["number"] for f in attrs.fields(cls)]
        assert numbers == list(range(1, len(numbers) + 1)), cls
        assert sorted(SAMPLES[MessageType(kind)]) == numbers


@pytest.mark.parametrize("kind", TYPES)
def test_samples_come_back_byte_for_byte(kind: MessageType) -> None:
    data = spell(kind, SAMPLES[kind])
    message = parse_message(data)
    assert type(message) is MESSAGES[kind]
    assert encode_message(message) == data
    assert parse_message(encode_message(message)) == message


@pytest.mark.spec("wire-12")
@pytest.mark.parametrize("kind", TYPES)
def test_a_missing_required_field(kind: MessageType) -> None:
    for number in required(kind):
        with pytest.raises(BadMessage, match=f"lacks field {number}"):
            parse_message(spell(kind, {n: v for n, v in SAMPLES[kind].items() if n != number}))


@pytest.mark.spec("wire-14")
@pytest.mark.parametrize("kind", TYPES)
def test_unknown_fields_are_ignored(kind: MessageType) -> None:
    plain = parse_message(spell(kind, SAMPLES[kind]))
    for number in (23, 99, 2**64 - 1):
        assert parse_message(spell(kind, SAMPLES[kind] | {number: [b"news", {0: True}]})) == plain


WRONG: list[Any] = [0, 2**64 - 1, b"", bytes(7), "", "x" * 600, [], [0], [[0]], {}, {0: 0}, True, False]


@pytest.mark.parametrize("kind", TYPES)
def test_wrong_kinds_of_value_are_bad_message_or_mean_something(kind: MessageType) -> None:
    for number in SAMPLES[kind]:
        for value in WRONG:
            data = spell(kind, SAMPLES[kind] | {number: value})
            try:
                message = parse_message(data)
            except BadMessage:
                continue
            back: Any = codec.decode(encode_message(message))
            known = isinstance(value, int) and value > 2**16 and back.get(number) == ErrorCode.UNEXPECTED
            default = value if value in (b"", 0, "") else []
            assert known or back.get(number, default) == value, (number, value)


@pytest.mark.spec("wire-15", "wire-16")
def test_fields_with_defaults_are_left_out_and_may_be_absent() -> None:
    ack = Ack(stream=bytes(8), cursor=3)
    assert codec.decode(encode_message(ack)) == {0: 0x12, 1: bytes(8), 2: 3}
    assert parse_message(encode_message(ack)) == ack
    assert parse_message(spell(MessageType.SUBMITTED, {1: []})) == Submitted(accepted=[])


# --- type field ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("wire-11")
@pytest.mark.parametrize("kind", [0, 4, 0x0F, 0x2D, 0xFF, 2**64 - 1])
def test_unknown_types(kind: int) -> None:
    with pytest.raises(BadMessage, match="unknown message type") as caught:
        parse_message(spell(kind, {1: 1}))
    assert caught.value.code is ErrorCode.UNEXPECTED


@pytest.mark.parametrize("kind", [b"\x01", "1", [], [1], {}, {0: 1}, False], ids=repr)
def test_a_type_that_is_no_number(kind: Any) -> None:
    with pytest.raises(BadMessage):
        parse_message(codec.encode({0: kind} | SAMPLES[MessageType.HELLO]))


def test_true_is_not_the_type_1() -> None:
    with pytest.raises(BadMessage):
        parse_message(codec.encode({0: True} | SAMPLES[MessageType.HELLO]))


@pytest.mark.spec("wire-10")
@pytest.mark.parametrize("value", [0, b"", "", [], [0, 1], True, {}], ids=repr)
def test_what_is_no_message(value: Any) -> None:
    with pytest.raises(BadMessage):
        parse_message(codec.encode(value))


# --- limits --------------------------------------------------------------------------------------------------------

E1 = b"e"
OVER: list[tuple[MessageType, dict[int, Any]]] = [
    (MessageType.HELLO, {1: [1]}),
    (MessageType.HELLO, {1: [1, 1, 1]}),
    (MessageType.HELLO, {1: [1, True]}),
    (MessageType.HELLO, {4: bytes(1983)}),
    (MessageType.HELLO, {4: bytes(1985)}),
    (MessageType.HELLO, {5: bytes(31)}),
    (MessageType.HELLO, {6: dict.fromkeys(range(limits.MAX_EXTENSIONS + 1), b"")}),
    (MessageType.HELLO, {6: {1: bytes(limits.MAX_EXTENSION + 1)}}),
    (MessageType.HELLO, {6: {1: "text"}}),
    (MessageType.AUTH, {1: bytes(3372)}),
    (MessageType.AUTH, {1: bytes(3374)}),
    (MessageType.AUTH, {2: bytes(limits.MAX_CONTINUITY + 1)}),
    (MessageType.REFUSE, {2: "x" * (limits.MAX_TEXT + 1)}),
    (MessageType.REFUSE, {2: "two\nlines"}),
    (MessageType.REFUSE, {2: "\x1b[2J"}),
    (MessageType.REFUSE, {2: "\u202eright to left"}),
    (MessageType.REFUSE, {1: True}),
    (MessageType.BATCH, {3: [E1] * (limits.BATCH_ENVELOPES + 1)}),
    (MessageType.BATCH, {3: [bytes(limits.MAX_ENVELOPE + 1)]}),
    (MessageType.BATCH, {3: ["text"]}),
    (MessageType.BATCH, {2: True}),
    (MessageType.ACK, {3: [[1, 32, ""]] * (limits.REFUSALS_PER_ACK + 1)}),
    (MessageType.ACK, {3: [[1, 32]]}),
    (MessageType.ACK, {3: [[1, 32, "", 0]]}),
    (MessageType.ACKNOWLEDGE, {2: [ID] * (limits.ACK_IDS + 1)}),
    (MessageType.ACKNOWLEDGE, {2: [bytes(15)]}),
    (MessageType.SUBMITTED, {1: [bytes(17)]}),
    (MessageType.PROOF, {3: bytes(limits.MAX_ENVELOPE + 1)}),
    (MessageType.WELCOME, {1: "A.example"}),
    (MessageType.WELCOME, {1: "a.example."}),
    (MessageType.WELCOME, {1: "a..example"}),
    (MessageType.WELCOME, {1: "bücher.example"}),
    (MessageType.WELCOME, {1: b"a.example"}),
    (MessageType.PRESENCE_RESUME, {1: bytes(7)}),
    (MessageType.PRESENCE_SNAPSHOT, {2: bytes(31)}),
    (MessageType.PRESENCE_SNAPSHOT, {3: True}),
    (MessageType.PRESENCE_DELTA, {3: "text"}),
    (MessageType.ANNOUNCE, {3: [["*", bytes(15)]]}),
    (MessageType.ANNOUNCE, {3: [["*"]]}),
    (MessageType.ANNOUNCE, {3: [["*", ID]] * (ANNOUNCED_SCOPES + 1)}),
    (MessageType.WATCH, {1: "B.example"}),
]


@pytest.mark.spec("wire-13", "wire-18", "wire-21", "wire-28")
@pytest.mark.parametrize(("kind", "change"), OVER)
def test_over_the_limits(kind: MessageType, change: dict[int, Any]) -> None:
    with pytest.raises(BadMessage):
        parse_message(spell(kind, SAMPLES[kind] | change))


FITS: list[Message] = [
    attrs.evolve(HELLO, extensions=dict.fromkeys(range(limits.MAX_EXTENSIONS), b"")),
    attrs.evolve(HELLO, extensions={1: bytes(limits.MAX_EXTENSION)}),
    Refuse(code=ErrorCode.BUSY, text="x" * limits.MAX_TEXT),
    Batch(stream=bytes(8), first=1, envelopes=[E1] * limits.BATCH_ENVELOPES),
    Submit(envelopes=[bytes(limits.MAX_ENVELOPE)]),
    Acknowledge(mailbox=D32, ids=[ID] * limits.ACK_IDS, mac=D32),
    Ping(token=2**64 - 1),
    Welcome(domain=DomainName("xn--bcher-kva.example"), edge=D32),
]


@pytest.mark.parametrize("message", FITS, ids=lambda m: type(m).__name__)
def test_just_within_the_limits(message: Message) -> None:
    assert parse_message(encode_message(message)) == message


def test_the_size_limit_is_the_callers() -> None:
    data = encode_message(HELLO)
    assert parse_message(data, limit=len(data)) == HELLO
    with pytest.raises(BadMessage, match="limit"):
        parse_message(data, limit=len(data) - 1)


def test_a_full_batch_fits_a_message() -> None:
    share = limits.BATCH_BYTES // limits.BATCH_ENVELOPES
    full = Batch(stream=bytes(8), first=2**64 - 1, envelopes=[bytes(share)] * limits.BATCH_ENVELOPES)
    assert parse_message(encode_message(full)) == full


@pytest.mark.spec("wire-19")
def test_an_unknown_error_code_reads_as_unexpected() -> None:
    message = parse_message(spell(MessageType.REFUSE, {1: 4711, 2: ""}))
    assert message == Refuse(code=ErrorCode.UNEXPECTED, text="")


@pytest.mark.spec("wire-17")
def test_envelopes_are_carried_as_they_are() -> None:
    odd = b"\x18\x00 not deterministic, not even CBOR"
    assert parse_message(encode_message(Submit(envelopes=[odd]))) == Submit(envelopes=[odd])


def test_code_points_are_numbers_on_the_wire() -> None:
    for message in (Refuse(code=ErrorCode.BUSY, text=""), Ack(stream=bytes(8), cursor=1)):
        assert not any(isinstance(v, enum.Enum) for v in codec.decode(encode_message(message)).values())  # type: ignore[union-attr] # a message is a map


# --- by search -----------------------------------------------------------------------------------------------------

ANY: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9), inner, max_size=4),
    max_leaves=6,
)


def only_bad_message(parse: Callable[[], Message]) -> None:
    try:
        message = parse()
    except BadMessage:
        return
    assert parse_message(encode_message(message)) == message


@settings(deadline=None)
@given(st.sampled_from(TYPES), st.dictionaries(st.integers(1, 8), ANY, max_size=4))
def test_any_field_may_hold_anything(kind: MessageType, change: dict[int, Any]) -> None:
    only_bad_message(lambda: parse_message(spell(kind, SAMPLES[kind] | change)))


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 8), ANY, max_size=6))
def test_any_map_is_a_message_or_bad_message(fields: dict[int, Any]) -> None:
    only_bad_message(lambda: parse_message(codec.encode(fields)))


@settings(deadline=None)
@given(st.sampled_from(TYPES), st.data())
def test_any_damage_is_a_message_or_bad_message(kind: MessageType, draw: st.DataObject) -> None:
    data = bytearray(spell(kind, SAMPLES[kind]))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, min(len(data) - 1, 60)))] = draw.draw(st.integers(0, 255))
    only_bad_message(lambda: parse_message(bytes(data[: draw.draw(st.integers(0, len(data)))])))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_bad_message(data: bytes) -> None:
    only_bad_message(lambda: parse_message(data))
