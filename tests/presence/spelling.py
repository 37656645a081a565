"""Messages of presence for the vectors, put together byte by byte."""

import hashlib
from typing import Any

from tests.presence.plain import CAPACITIES, KEY, Vectors, expand, filter_of, rejected, rice

EPOCH = 991_000
WALL = EPOCH * 1800 + 900
OTHER = expand("another filter", 32)
PIECE = 65_536
Step = dict[str, Any]


def head(major: int, number: int) -> bytes:
    for code, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 1 << (8 * width):
            return bytes([major << 5 | code]) + number.to_bytes(width, "big")
    raise ValueError(number)


def message(kind: int, *fields: int | bytes) -> bytes:
    """A map from 0, 1, … to the type and the fields."""
    parts = [head(5, len(fields) + 1), head(0, 0), head(0, kind)]
    for number, field in enumerate(fields, 1):
        parts.append(head(0, number))
        parts.append(head(0, field) if isinstance(field, int) else head(2, len(field)) + field)
    return b"".join(parts)


def filter_id(key: bytes) -> bytes:
    return hashlib.sha256(b"volly-fed presence filter v1\0" + key).digest()[:8]


REQUEST, WITHDRAW = message(0x51), message(0x54)


def resume(sequence: int, key: bytes = KEY) -> bytes:
    return message(0x50, filter_id(key), sequence)


def delta(sequence: int, positions: list[int], *, key: bytes = KEY, size: int = 0) -> bytes:
    return message(0x53, filter_id(key), sequence, rice(positions, 16 * CAPACITIES[size]))


def bits_of(key: bytes, size: int, members: int) -> bytes:
    return filter_of(key, size, [expand(f"member {n}", 16) for n in range(members)]).to_bytes(
        2 * CAPACITIES[size], "little"
    )


FIRST = [5, 40_000]


def refusal(code: str) -> Vectors:
    """Of a message that cannot be, or of one that is out of place."""
    return rejected(code) if code in {"BAD_FILTER", "MALFORMED"} else rejected(code) | {"class": "RemoteError"}
