"""Writes spec/vectors/wire: `python -m tests.wire.make_vectors`. A test compares what is there.

Bytes come from the plain encoder below, not from the package that is tested.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.vectors import SPEC
from tests.wire.test_codec import REFUSED
from tests.wire.test_messages import OVER, SAMPLES
from volly_fed.codepoints import MessageType

FOLDER: Final = SPEC / "vectors" / "wire"
ESTABLISHED, BEFORE = 1 << 20, 16384
HANDSHAKE: Final = {MessageType.HELLO, MessageType.AUTH, MessageType.REFUSE}
_LARGEST_SAFE: Final = 1 << 53
_LONGEST_CASE: Final = 20_000
Vectors = dict[str, Any]


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    width = next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
    return bytes([major << 5 | 24 + width.bit_length() - 1]) + number.to_bytes(width, "big")


def spell(item: Any) -> bytes:
    """Deterministic CBOR, by RFC 8949 §4.2.1."""
    if item is True or item is False:
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return head(0, item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, dict):
        return head(5, len(item)) + b"".join(spell(key) + spell(item[key]) for key in sorted(item))
    return head(4, len(item)) + b"".join(map(spell, item))


def as_json(item: Any) -> Any:
    """An item as the README of the vectors writes it."""
    if isinstance(item, bytes):
        return {"bytes": item.hex()}
    if isinstance(item, dict):
        return {"map": [[as_json(key), as_json(value)] for key, value in item.items()]}
    if isinstance(item, list | tuple):
        return [as_json(inner) for inner in item]
    if isinstance(item, int) and not isinstance(item, bool) and item >= _LARGEST_SAFE:
        return {"uint": str(int(item))}
    return int(item) if isinstance(item, int) and not isinstance(item, bool) else item


def case(name: str, given: Vectors, flags: tuple[str, ...] = (), **expect: Any) -> Vectors:
    return {"id": name, "flags": list(flags), "given": given, "expect": expect}


def rejected(code: str = "MALFORMED") -> Vectors:
    return {"class": "BadMessage", "code": code}


def encodings() -> Vectors:
    notes = {
        "spelling": "a second spelling of a value breaks hashes, signatures and the detection of duplicates",
        "tags": "what a tag makes of its content can cost what its sender likes",
        "length": "a length is not believed before the bytes are there",
    }
    rows = [
        ("zero", 0),
        ("largest-in-one-byte", 23),
        ("smallest-in-two-bytes", 24),
        ("largest-in-two-bytes", 255),
        ("smallest-in-three-bytes", 256),
        ("smallest-in-five-bytes", 1 << 16),
        ("smallest-in-nine-bytes", 1 << 32),
        ("largest", (1 << 64) - 1),
        ("no-bytes", b""),
        ("bytes", bytes(range(30))),
        ("no-text", ""),
        ("text", "zażółć 🦆"),
        ("false", False),
        ("true", True),
        ("no-items", []),
        ("items", [1, b"\xff", "a", [True]]),
        ("no-entries", {}),
        ("entries", {0: 1, 23: 2, 24: 3, 256: [{1: b""}]}),
        ("eight-deep", [[[[[[[[]]]]]]]]),
    ]
    cases = [case(name, {"data": spell(item).hex()}, accept={"item": as_json(item)}) for name, item in rows]
    for name, spelled in REFUSED.items():
        data = bytes.fromhex(spelled)
        flag = "tags" if data[:1] and data[0] >> 5 == 6 else "length" if name.startswith("2^") else "spelling"
        identity = name.replace(": ", "-").replace(" ", "-").replace(",", "")
        cases.append(case(identity, {"data": data.hex()}, (flag,), reject=rejected()))
    for name, data in (("nine-deep", b"\x81" * 9 + b"\x00"), ("nine-maps-deep", b"\xa1\x00" * 9 + b"\x00")):
        cases.append(case(name, {"data": data.hex()}, ("length",), reject=rejected()))
    return {
        "spec": "wire v1",
        "kind": "wire-encoding",
        "covers": ["wire-6", "wire-7", "wire-8", "wire-9"],
        "notes": notes,
        "cases": cases,
    }


def messages() -> Vectors:
    notes = {
        "extension": "fields of a later version must not break a receiver of this one",
        "default": "a default that is written out means what its absence means",
        "form": "a field of another form is refused, with the whole message",
        "type": "a type that nobody knows is refused, not ignored",
        "people": "texts reach terminals: no control characters, no end of line, no change of direction",
        "unknown-code": "a code of a later version is taken for UNEXPECTED",
    }
    cases = [case for kind in SAMPLES for case in variations(kind)]
    cases += over_the_limits()
    cases += [*of_no_type(), *of_no_map()]
    refuse = SAMPLES[MessageType.REFUSE]
    told = accepted(MessageType.REFUSE, refuse | {1: 2})
    cases.append(case("unknown-code", given(MessageType.REFUSE, refuse | {1: 4711}), ("unknown-code",), accept=told))
    longer = given(MessageType.REFUSE, refuse | {99: bytes(BEFORE)})
    cases.append(case("longer-than-the-limit", longer, ("form",), reject=rejected()))
    return {
        "spec": "wire v1",
        "kind": "wire-message",
        "covers": [f"wire-{number}" for number in (10, 11, 12, 13, 14, 16, 18, 19, 21)],
        "notes": notes,
        "cases": cases,
    }


def variations(kind: MessageType) -> Iterator[Vectors]:
    """The sample of a message, more and less of it, and something else in each field."""
    sample, name = SAMPLES[kind], kind.name.lower().replace("_", "-")
    told, defaults = accepted(kind, sample), DEFAULTS.get(kind, {})
    yield case(name, given(kind, sample), accept=told)
    yield case(f"{name}-and-more", given(kind, sample | {99: [b"news", {0: True}]}), ("extension",), accept=told)
    for number in sorted(sample):
        less = {key: value for key, value in sample.items() if key != number}
        if number in defaults:
            absent, written = accepted(kind, less), given(kind, less | {number: defaults[number]})
            yield case(f"{name}-{number}-absent", given(kind, less), ("default",), accept=absent)
            yield case(f"{name}-{number}-default", written, ("default",), accept=absent)
        else:
            yield case(f"{name}-without-{number}", given(kind, less), ("form",), reject=rejected())
        wrong = given(kind, sample | {number: True})
        yield case(f"{name}-with-true-in-{number}", wrong, ("form",), reject=rejected())


def over_the_limits() -> Iterator[Vectors]:
    for number, (kind, change) in enumerate(OVER):
        data = given(kind, SAMPLES[kind] | change)
        if len(data["data"]) <= _LONGEST_CASE:
            field = next(iter(change))
            flag = "people" if (kind, field) == (MessageType.REFUSE, 2) else "form"
            yield case(f"{kind.name.lower()}-{field}-bad-{number}", data, (flag,), reject=rejected())


def of_no_type() -> Iterator[Vectors]:
    items = {
        "0": {0: 0},
        "4": {0: 4},
        "largest": {0: (1 << 64) - 1},
        "true": {0: True},
        "text": {0: "1"},
        "none": {1: 1},
    }
    for name, item in items.items():
        yield case(f"type-{name}", plain(item), ("type",), reject=rejected("UNEXPECTED"))


def of_no_map() -> Iterator[Vectors]:
    for name, item in {"array": [1], "number": 1, "bytes": b"\x01", "text": "1", "boolean": True}.items():
        yield case(f"no-map-{name}", plain(item), ("form",), reject=rejected())


def plain(item: Any) -> Vectors:
    return {"data": spell(item).hex(), "limit": ESTABLISHED}


DEFAULTS: Final[dict[MessageType, dict[int, Any]]] = {
    MessageType.AUTH: {2: b""},
    MessageType.REFUSE: {3: 0},
    MessageType.ACK: {3: [], 4: 1024, 5: 1 << 20},
    MessageType.CLOSE: {3: 0},
    MessageType.SUBMITTED: {2: []},
    MessageType.ANNOUNCE: {1: 0},
    MessageType.RETRACT: {1: 0},
    MessageType.UNWATCH: {2: 0, 3: ""},
}


def given(kind: MessageType, fields: dict[int, Any]) -> Vectors:
    limit = BEFORE if kind in HANDSHAKE else ESTABLISHED
    return {"data": spell({0: int(kind)} | fields).hex(), "limit": limit}


def accepted(kind: MessageType, fields: dict[int, Any]) -> Vectors:
    whole = DEFAULTS.get(kind, {}) | fields
    return {"type": kind.name, "fields": as_json({number: whole[number] for number in sorted(whole)})}


ALL: Final[dict[str, Callable[[], Vectors]]] = {"encoding": encodings, "messages": messages}


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(ALL[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in ALL:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
