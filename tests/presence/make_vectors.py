"""Writes spec/vectors/presence: python -m tests.presence.make_vectors. A test compares what is there.

What is expected comes from the plain formulas below, not from the package that is tested.
"""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

FOLDER = Path(__file__).parents[2] / "spec" / "vectors" / "presence"
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


def tags() -> Vectors:
    rows = [
        ("named", KEY, 991_000, "peer.example"),
        ("everybody", KEY, 991_000, "*"),
        ("next-epoch", KEY, 991_001, "*"),
    ]
    rows += [
        ("other-key", expand("other", 32), 991_000, "*"),
        ("largest-epoch", KEY, 2**64 - 1, "xn--bcher-kva.example"),
    ]
    cases = [
        case(i, {"key": k.hex(), "epoch": str(e), "scope": s}, accept={"tag": tag(k, e, s).hex()})
        for i, k, e, s in rows
    ]
    return vectors("presence-tag", cases)


def placements() -> Vectors:
    cases = []
    for number, name in enumerate(["zeros", "ones", "a", "b", "c", "d"]):
        member = {"zeros": bytes(16), "ones": b"\xff" * 16}.get(name, expand(name, 16))
        size = number % 5
        block, positions = place(KEY, size, member)
        given = {"key": KEY.hex(), "class": size, "tag": member.hex()}
        cases.append(case(f"{name}-class-{size}", given, accept={"block": block.hex(), "positions": positions}))
    return vectors("presence-placement", cases)


def filters() -> Vectors:
    cases: list[Vectors] = []
    for size, count in ((0, 0), (0, 3), (0, 4096), (1, 500)):
        members = [expand(f"member {number}", 16) for number in range(count)]
        data = filter_of(KEY, size, members).to_bytes(2 * CAPACITIES[size], "little")
        expect = {
            "size": len(data),
            "ones": sum(byte.bit_count() for byte in data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "first": data[:32].hex(),
            "filter_id": hashlib.sha256(b"volly-fed presence filter v1\0" + KEY).digest()[:8].hex(),
        }
        given = {"key": KEY.hex(), "class": size, "members": count}
        cases.append(case(f"class-{size}-with-{count}", given, accept=expect))
    for name, size, repeated, length in (
        ("half-full", 0, "55", 8192),
        ("short", 0, "00", 8191),
        ("long", 0, "00", 8193),
        ("of-another-class", 1, "00", 8192),
        ("no-such-class", 5, "00", 8388608),
    ):
        given = {"key": KEY.hex(), "class": size, "byte": repeated, "size": length}
        cases.append(case(name, given, reject=rejected("BAD_FILTER")))
    return vectors("presence-filter", cases)


def deltas() -> Vectors:
    cases: list[Vectors] = []
    bits = [16 * capacity for capacity in CAPACITIES]
    spread = sorted({int.from_bytes(expand(f"position {n}", 8), "little") % bits[2] for n in range(200)})
    for name, size, positions in (
        ("nothing", 0, []),
        ("first-and-last", 0, [0, bits[0] - 1]),
        ("two", 0, [5, 40_000]),
        ("neighbours", 1, list(range(100, 140))),
        ("one-of-the-largest", 4, [bits[4] - 1]),
        ("two-hundred", 2, spread),
    ):
        given: Vectors = {"class": size, "data": rice(positions, bits[size]).hex()}
        cases.append(case(name, given, accept={"positions": positions}))
    good = rice([5, 40_000], bits[0])
    for name, data in (
        ("empty", b""),
        ("no-size-class", good + b"\0"),
        ("padded-too-far", good + bytes(32)),
        ("count-too-high", b"\3" + good[1:]),
        ("count-too-low", b"\1" + good[1:]),
        ("count-beyond-reason", b"\xff\xff\xff\xff" + good[4:]),
        ("padding-not-zero", good[:-1] + b"\x80"),
        ("beyond-the-filter", b"\1\0\0\0" + (1 << (15 + 2)).to_bytes(60, "little")),
    ):
        cases.append(case(name, {"class": 0, "data": data.hex()}, reject=rejected("MALFORMED")))
    return vectors("presence-delta", cases)


ALL = {"tag": tags, "placement": placements, "filter": filters, "delta": deltas}


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(ALL[name](), indent=1) + "\n"


if __name__ == "__main__":
    for each in ALL:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
