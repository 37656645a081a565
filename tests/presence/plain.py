"""The formulas of presence as the spec has them, for the vectors: nothing of the package that is tested is used."""

import hashlib
import hmac
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

CAPACITIES = [4096, 16384, 65536, 262144, 1048576]
KEY = bytes(range(32))
Vectors = dict[str, Any]


def expand(label: str, size: int) -> bytes:
    """Bytes that look random: SHAKE-256 of the label."""
    return hashlib.shake_256(label.encode()).digest(size)


def tag(key: bytes, epoch: int, scope: str) -> bytes:
    return hmac.digest(key, b"volly/presence/v1" + epoch.to_bytes(8, "big") + scope.encode(), "sha256")[:16]


def place(key: bytes, size: int, member: bytes) -> tuple[bytes, list[int]]:
    block = Cipher(AES256(key), ECB()).encryptor().update(member)
    a, s = int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little") | 1
    return block, [(a + i * s) % (2 * CAPACITIES[size]) for i in range(8)]


def filter_of(key: bytes, size: int, members: list[bytes]) -> int:
    """The filter as one number: its bit p is the filter's."""
    bits = 0
    for member in members:
        for i, position in enumerate(place(key, size, member)[1]):
            bits |= 1 << (i * 2 * CAPACITIES[size] + position)
    return bits


def rice(positions: list[int], bits: int) -> bytes:
    n = len(positions)
    r = max(0, (11 * bits // (16 * n)).bit_length() - 1) if n else 0
    gaps = [p - q - 1 for p, q in zip(positions, [-1, *positions], strict=False)]
    stream, at = 0, 0
    for gap in gaps:
        stream |= (gap & ((1 << r) - 1)) << at
        at += r
    for gap in gaps:
        at += (gap >> r) + 1
        stream |= 1 << (at - 1)
    used = 4 + -(-at // 8)
    size = next(c for i in range(6, 19) for c in (1 << i, 3 << (i - 1)) if c >= used)
    return n.to_bytes(4, "little") + stream.to_bytes(size - 4, "little")


def vectors(kind: str, cases: list[Vectors]) -> Vectors:
    return {"spec": "presence v1", "kind": kind, "notes": {}, "cases": cases}


def case(identity: str, given: Vectors, **expect: Vectors) -> Vectors:
    return {"id": identity, "flags": [], "given": given, "expect": expect}


def rejected(name: str) -> Vectors:
    return {"class": "BadMessage", "code": name}
