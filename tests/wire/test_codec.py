"""One spelling for every value: what is refused, by example and by search."""

from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.errors import BadMessage
from volly_fed.wire.codec import Value, decode, encode

REFUSED = {
    "nothing": "",
    "trailing byte": "00 00",
    "trailing item": "a0 a0",
    "cut short: bytes": "42 00",
    "cut short: array": "82 00",
    "cut short: map": "a1 00",
    "cut short: length": "59 01",
    # not minimal (RFC 8949 §4.2.1)
    "0 in two bytes": "18 00",
    "23 in two bytes": "18 17",
    "255 in three bytes": "19 00ff",
    "65535 in five bytes": "1a 0000ffff",
    "2^32-1 in nine bytes": "1b 00000000ffffffff",
    "length of bytes": "58 01 00",
    "length of text": "78 01 61",
    "length of array": "98 01 00",
    "length of map": "b8 01 00 00",
    "key of map": "a1 18 00 00",
    # indefinite lengths
    "indefinite bytes": "5f 41 00 ff",
    "indefinite text": "7f 61 61 ff",
    "indefinite array": "9f 00 ff",
    "indefinite map": "bf 00 00 ff",
    "a break alone": "ff",
    "indefinite inside": "81 9f ff",
    # maps
    "duplicate keys": "a2 00 01 00 01",
    "duplicate keys, other value": "a2 00 01 00 02",
    "0 twice in two spellings": "a2 00 01 18 00 01",
    "unsorted keys": "a2 01 00 00 00",
    "unsorted keys inside": "81 a2 01 00 00 00",
    "text key": "a1 61 61 00",
    "bytes key": "a1 41 00 00",
    "negative key": "a1 20 00",
    "boolean key": "a1 f5 00",
    "false beside 0": "a2 00 00 f4 00",
    "array key": "a1 80 00",
    "map key": "a1 a0 00",
    "null key": "a1 f6 00",
    "big key": "a1 c2 49 010000000000000000 00",
    # types outside the profile
    "null": "f6",
    "null in a map": "a1 00 f6",
    "undefined": "f7",
    "simple value 0": "e0",
    "simple value 255": "f8 ff",
    "true in two bytes": "f8 15",
    "half float 1.0": "f9 3c00",
    "half float 1.5": "f9 3e00",
    "float 1.5": "fa 3fc00000",
    "double 1.1": "fb 3ff199999999999a",
    "NaN": "f9 7e00",
    "infinity": "f9 7c00",
    "-1": "20",
    "-2^64": "3b ffffffffffffffff",
    "-1 in an array": "81 20",
    # tags
    "date": "c0 74 323031332d30332d32315432303a30343a30305a",
    "time": "c1 00",
    "bignum": "c2 49 010000000000000000",
    "small bignum": "c2 41 01",
    "negative bignum": "c3 41 01",
    "decimal": "c4 82 20 01",
    "embedded CBOR": "d8 18 41 00",
    "shareable": "d8 1c 00",
    "shared reference": "d8 1d 00",
    "cyclic array": "d8 1c 81 d8 1d 00",
    "string reference": "d9 0100 81 d8 19 00",
    "URI": "d8 20 63 613a62",
    "regular expression": "d8 23 61 28",
    "MIME": "d8 24 60",
    "UUID": "d8 25 50 00000000000000000000000000000000",
    "set": "d9 0102 80",
    "IP address": "d9 0104 44 c0000201",
    "self-described": "d9 d9f7 00",
    "unknown tag": "da 00010000 00",
    "tag inside": "81 c1 00",
    "tag cut short": "c1",
    # text and reserved heads
    "not UTF-8": "61 ff",
    "surrogate": "63 eda080",
    "overlong NUL": "62 c080",
    "reserved head 1c": "1c",
    "reserved head 5e": "5e 00",
    "reserved head fc": "fc",
    # lengths that promise more than there is
    "2^64-1 bytes": "5b ffffffffffffffff",
    "2^63 bytes": "5b 8000000000000000",
    "2^64-1 characters": "7b ffffffffffffffff",
    "2^64-1 items": "9b ffffffffffffffff",
    "2^64-1 pairs": "bb ffffffffffffffff",
    "2^32 items": "9b 0000000100000000",
}


@pytest.mark.spec("wire-7")
@pytest.mark.parametrize("spelled", REFUSED.values(), ids=REFUSED)
def test_refused_encodings(spelled: str) -> None:
    with pytest.raises(BadMessage):
        decode(bytes.fromhex(spelled))


ACCEPTED: list[tuple[str, Value]] = [
    ("00", 0),
    ("17", 23),
    ("18 18", 24),
    ("1b ffffffffffffffff", 2**64 - 1),
    ("40", b""),
    ("60", ""),
    ("62 c3bc", "ü"),
    ("f4", False),
    ("f5", True),
    ("80", []),
    ("a0", {}),
    ("a3 00 01 17 02 18 18 03", {0: 1, 23: 2, 24: 3}),
    ("82 01 a1 00 81 41 ff", [1, {0: [b"\xff"]}]),
]


@pytest.mark.parametrize(("spelled", "value"), ACCEPTED)
def test_accepted_encodings(spelled: str, value: Value) -> None:
    decoded = decode(bytes.fromhex(spelled))
    assert decoded == value
    assert type(decoded) is type(value)
    assert encode(value) == bytes.fromhex(spelled)


TAGGED = [spelled for name, spelled in REFUSED.items() if int(spelled[:1] or "0", 16) in (0xC, 0xD)]


@pytest.mark.spec("wire-9")
@pytest.mark.parametrize("spelled", TAGGED)
def test_tags_are_refused_while_they_are_read(spelled: str) -> None:
    """Not when the value is there: what a tag makes of its content can cost what its sender likes."""
    with pytest.raises(BadMessage) as caught:
        decode(bytes.fromhex(spelled))
    assert isinstance(caught.value.__cause__, cbor2.CBORDecodeError)


@pytest.mark.parametrize("tags", [range(0x100), range(0x100, 0x10000)], ids=["short", "long"])
def test_there_is_no_tag_that_is_not_refused(tags: range) -> None:
    for tag in tags:
        head = b"\xd9" + tag.to_bytes(2, "big") if tag > 0xFF else bytes([0xD8, tag])
        for content in (b"\x00", b"\x80"):
            with pytest.raises(BadMessage) as caught:
                decode(head + content)
            assert isinstance(caught.value.__cause__, cbor2.CBORDecodeError), tag


def test_a_billion_laughs() -> None:
    """Shared references: a few bytes that spell 160 000 values, and 20 times as many with every row more."""
    rows = [bytes.fromhex("d81c 8100"), *(b"\xd8\x1c\x94" + bytes([0xD8, 0x1D, row]) * 20 for row in range(4))]
    with pytest.raises(BadMessage) as caught:
        decode(bytes([0x80 + len(rows)]) + b"".join(rows))
    assert isinstance(caught.value.__cause__, cbor2.CBORDecodeError)


def nested(depth: int, head: bytes = b"\x81", leaf: bytes = b"\x00") -> bytes:
    return head * depth + leaf


@pytest.mark.spec("wire-8")
@pytest.mark.parametrize("head", [b"\x81", b"\xa1\x00"])
def test_nesting_is_limited(head: bytes) -> None:
    decode(nested(limits.MAX_DEPTH, head))
    for depth in (limits.MAX_DEPTH + 1, 100, 10_000):
        with pytest.raises(BadMessage):
            decode(nested(depth, head))


def test_a_tower_without_a_leaf() -> None:
    with pytest.raises(BadMessage):
        decode(b"\x81" * limits.MAX_MESSAGE)


def test_size_is_limited_before_anything_is_read() -> None:
    decode(encode(bytes(95)), limit=97)
    with pytest.raises(BadMessage, match="97 bytes; the limit is 96"):
        decode(encode(bytes(95)), limit=96)
    with pytest.raises(BadMessage, match="limit"):
        decode(b"\xff" * (limits.MAX_MESSAGE + 1))


VALUES: st.SearchStrategy[Value] = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=100) | st.booleans(),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.integers(0, 2**64 - 1), inner, max_size=30),
    max_leaves=40,
)


def depth(value: object) -> int:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.spec("wire-6")
@settings(deadline=None)
@given(VALUES.filter(lambda value: depth(value) <= limits.MAX_DEPTH))
def test_a_value_has_one_spelling_and_comes_back(value: Value) -> None:
    data = encode(value)
    assert decode(data) == value
    assert encode(decode(data)) == data
    assert data == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("value", [-1, 2**64, [-1], {-1: 0}, 1.0, None, {"a": 1}, {1, 2}, bytearray(b"x")])
def test_what_is_outside_the_profile_is_not_encoded(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(value)


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"\xa1\x80\x00")
def test_any_bytes_are_one_value_or_bad_message(data: bytes) -> None:
    try:
        value = decode(data)
    except BadMessage:
        return
    assert encode(value) == data


@settings(deadline=None)
@given(VALUES.filter(lambda value: depth(value) <= limits.MAX_DEPTH), st.data())
def test_damaged_values_have_one_spelling_too(value: Value, draw: st.DataObject) -> None:
    data = bytearray(encode(value))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(data))
    except BadMessage:
        return
    assert encode(decoded) == data
