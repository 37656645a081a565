"""Writes spec/vectors/presence: python -m tests.presence.make_vectors. A test compares what is there.

What is expected comes from the plain formulas (tests.presence.plain), not from the package that is tested.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from tests.presence.make_machines import showing, snapshots, viewing
from tests.presence.plain import CAPACITIES, KEY, Vectors, case, expand, filter_of, place, rejected, rice, tag, vectors

FOLDER = Path(__file__).parents[2] / "spec" / "vectors" / "presence"


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


ALL: dict[str, Callable[[], Vectors]] = {
    "tag": tags,
    "placement": placements,
    "filter": filters,
    "delta": deltas,
    "snapshot": lambda: vectors("presence-snapshot", snapshots()),
    "viewing": lambda: vectors("presence-viewing", viewing()),
    "showing": lambda: vectors("presence-showing", showing()),
}


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(ALL[name](), indent=1) + "\n"


if __name__ == "__main__":
    for each in ALL:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
