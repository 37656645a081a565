"""What a viewing side does with right and wrong messages, step by step: the cases of viewing.json.

As make_machines, this knows nothing of the package that is tested.
"""

import hashlib

from tests.presence.plain import CAPACITIES, KEY, Vectors, case, expand
from tests.presence.spelling import (
    EPOCH,
    FIRST,
    OTHER,
    PIECE,
    REQUEST,
    WALL,
    WITHDRAW,
    Step,
    bits_of,
    delta,
    filter_id,
    message,
    refusal,
    resume,
)


def link(t: float = WALL, *, out: bytes = REQUEST) -> list[Step]:
    return [{"t": t, "do": "link"}, {"t": t, "out": out.hex()}]


def comes(data: bytes, t: float = WALL) -> Step:
    return {"t": t, "in": data.hex()}


def piece(
    *,
    t: float = WALL,
    epoch: int = EPOCH,
    key: bytes = KEY,
    size: int = 0,
    sequence: int = 0,
    offset: int = 0,
    members: int = 3,
    fill: str | None = None,
    length: int | None = None,
) -> Step:
    """A piece is long, so it stands there by its fields: `members` or `fill` say what the whole filter is."""
    whole = 2 * CAPACITIES[min(size, 4)]
    count = min(PIECE, whole - offset) if length is None else length
    bits: Step = {"members": members} if fill is None else {"byte": fill}
    fields = {"epoch": epoch, "key": key.hex(), "class": size, "sequence": sequence, "offset": offset, "size": count}
    return {"t": t, "in": fields | {"bits": bits}}


def held(key: bytes, sequence: int, bits: bytes, epoch: int = EPOCH) -> Vectors:
    return {
        "filter_id": filter_id(key).hex(),
        "epoch": epoch,
        "sequence": sequence,
        "sha256": hashlib.sha256(bits).hexdigest(),
    }


def state(name: str) -> Step:
    return {"state": name}


def flipped(bits: bytes, positions: list[int]) -> bytes:
    changed = bytearray(bits)
    for position in positions:
        changed[position >> 3] ^= 1 << (position & 7)
    return bytes(changed)


BITS = bits_of(KEY, 0, 3)
BEGUN = [*link(), piece(), state("FOLLOWING")]


LARGE = bits_of(KEY, 2, 3)
WIDE: Step = {"size": 2}
TAKEN: list[tuple[str, list[Step], str, Vectors | None]] = [
    (
        "a-filter-and-two-steps",
        [*BEGUN, comes(delta(1, FIRST)), comes(delta(2, [5])), state("FOLLOWING")],
        "FOLLOWING",
        held(KEY, 2, flipped(BITS, [40_000])),
    ),
    ("a-step-that-changes-nothing", [*BEGUN, comes(delta(1, []))], "FOLLOWING", held(KEY, 1, BITS)),
    (
        "a-filter-in-two-pieces",
        [*link(), piece(**WIDE), state("RECEIVING"), piece(offset=PIECE, **WIDE)],
        "FOLLOWING",
        held(KEY, 0, LARGE),
    ),
    (
        "a-filter-that-begins-anew-before-it-is-complete",
        [*link(), piece(**WIDE), piece(key=OTHER)],
        "FOLLOWING",
        held(OTHER, 0, bits_of(OTHER, 0, 3)),
    ),
    (
        "another-filter-unasked",
        [*BEGUN, piece(t=WALL + 900, epoch=EPOCH + 1, key=OTHER)],
        "FOLLOWING",
        held(OTHER, 0, bits_of(OTHER, 0, 3), EPOCH + 1),
    ),
    (
        "the-link-is-lost-and-resumed",
        [
            *BEGUN,
            comes(delta(1, FIRST)),
            {"t": WALL, "do": "lose"},
            state("AWAY"),
            *link(out=resume(1)),
            state("FOLLOWING"),
            comes(delta(2, FIRST)),
        ],
        "FOLLOWING",
        held(KEY, 2, BITS),
    ),
    (
        "half-a-filter-is-lost-with-the-link",
        [*link(), piece(**WIDE), {"t": WALL, "do": "lose"}, *link()],
        "ASKING",
        None,
    ),
    ("withdrawn", [*BEGUN, comes(WITHDRAW)], "ASKING", None),
    (
        "asked-anew-what-still-comes-of-the-former-is-passed-over",
        [
            *link(),
            piece(**WIDE),
            {"t": WALL, "do": "ask"},
            {"t": WALL, "out": REQUEST.hex()},
            piece(offset=PIECE, **WIDE),
            state("ASKING"),
            piece(key=OTHER),
        ],
        "FOLLOWING",
        held(OTHER, 0, bits_of(OTHER, 0, 3)),
    ),
    (
        "a-step-while-a-filter-is-awaited-is-passed-over",
        [*BEGUN, {"t": WALL, "do": "ask"}, {"t": WALL, "out": REQUEST.hex()}, comes(delta(1, FIRST))],
        "ASKING",
        held(KEY, 0, BITS),
    ),
    (
        "the-epoch-before-is-good-for-420-s",
        [*link(EPOCH * 1800 + 419), piece(t=EPOCH * 1800 + 419, epoch=EPOCH - 1)],
        "FOLLOWING",
        held(KEY, 0, BITS, EPOCH - 1),
    ),
    (
        "the-next-epoch-is-good-300-s-before",
        [*link(EPOCH * 1800 + 1500), piece(t=EPOCH * 1800 + 1500, epoch=EPOCH + 1)],
        "FOLLOWING",
        held(KEY, 0, BITS, EPOCH + 1),
    ),
    (
        "kept-until-240-s-after-the-epoch",
        [*BEGUN, {"t": EPOCH * 1800 + 2039, "do": "wait"}],
        "FOLLOWING",
        held(KEY, 0, BITS),
    ),
    ("forgotten-240-s-after-the-epoch", [*BEGUN, {"t": EPOCH * 1800 + 2040, "do": "wait"}], "ASKING", None),
]
"""Name, steps, the state at the end, and the filter that is held then."""

KEPT = held(KEY, 0, BITS)
FULL = list(range(0, 65_536, 2))  # half of all bits, in a filter that has three tags
SEVENTEEN = [piece(key=expand(f"key {n}", 32)) for n in range(17)]
REFUSED: list[tuple[str, list[Step], str, Vectors | None]] = [
    ("over-full", [*link(), piece(fill="55")], "BAD_FILTER", None),
    ("everybody", [*BEGUN, piece(key=OTHER, fill="ff")], "BAD_FILTER", KEPT),
    ("over-full-by-a-step", [*BEGUN, comes(delta(1, FULL))], "BAD_FILTER", KEPT),
    ("no-such-class", [*link(), piece(size=5, length=PIECE)], "BAD_FILTER", None),
    ("a-piece-too-short", [*link(), piece(length=8191)], "BAD_FILTER", None),
    ("a-piece-too-long", [*link(), piece(length=8193)], "BAD_FILTER", None),
    ("a-piece-of-nothing", [*link(), piece(length=0)], "BAD_FILTER", None),
    (
        "an-epoch-that-is-over",
        [*link(EPOCH * 1800 + 420), piece(t=EPOCH * 1800 + 420, epoch=EPOCH - 1)],
        "WRONG_EPOCH",
        None,
    ),
    (
        "an-epoch-that-is-far",
        [*link(EPOCH * 1800 + 1499), piece(t=EPOCH * 1800 + 1499, epoch=EPOCH + 1)],
        "WRONG_EPOCH",
        None,
    ),
    (
        "an-older-epoch-than-that-of-the-filter-held",
        [
            *link(EPOCH * 1800 + 100),
            piece(t=EPOCH * 1800 + 100),
            piece(t=EPOCH * 1800 + 100, epoch=EPOCH - 1, key=OTHER),
        ],
        "WRONG_EPOCH",
        KEPT,
    ),
    ("a-step-replayed", [*BEGUN, comes(delta(1, FIRST)), comes(delta(1, FIRST))], "OUT_OF_STEP", None),
    ("a-step-left-out", [*BEGUN, comes(delta(2, FIRST))], "OUT_OF_STEP", KEPT),
    ("a-step-of-another-filter", [*BEGUN, comes(delta(1, FIRST, key=OTHER))], "OUT_OF_STEP", KEPT),
    ("the-same-filter-as-it-was", [*BEGUN, comes(delta(1, FIRST)), piece()], "OUT_OF_STEP", None),
    (
        "a-piece-replayed",
        [*link(), *[piece(offset=offset, size=3) for offset in (0, PIECE, PIECE)]],
        "OUT_OF_STEP",
        None,
    ),
    ("a-piece-left-out", [*link(), piece(size=3), piece(offset=2 * PIECE, size=3)], "OUT_OF_STEP", None),
    (
        "a-piece-of-another-filter",
        [*link(), piece(**WIDE), piece(offset=PIECE, key=OTHER, **WIDE)],
        "OUT_OF_STEP",
        None,
    ),
    ("a-piece-of-no-filter", [*link(), piece(offset=PIECE, **WIDE)], "OUT_OF_STEP", None),
    ("the-seventeenth-filter", [*link(), *SEVENTEEN], "BUSY", None),
    ("a-step-among-pieces", [*link(), piece(**WIDE), comes(delta(1, FIRST))], "UNEXPECTED", None),
    ("anything-before-it-was-asked-for", [comes(WITHDRAW)], "UNEXPECTED", None),
    ("a-question-is-not-for-this-side", [*link(), comes(REQUEST)], "UNEXPECTED", None),
    ("changes-that-are-none", [*BEGUN, comes(message(0x53, filter_id(KEY), 1, bytes(63)))], "MALFORMED", KEPT),
]
"""Name, steps of which the last is refused, the code, and the filter that stays."""
AFTER_ONE = held(KEY, 1, flipped(BITS, FIRST))
LAST = held(expand("key 15", 32), 0, bits_of(expand("key 15", 32), 0, 3))
STAYS = {"a-step-replayed": AFTER_ONE, "the-same-filter-as-it-was": AFTER_ONE, "the-seventeenth-filter": LAST}


def viewing() -> list[Vectors]:
    cases = [
        case(name, {"steps": steps}, accept={"state": after, "filter": kept}) for name, steps, after, kept in TAKEN
    ]
    return cases + viewing_hostile()


def viewing_hostile() -> list[Vectors]:
    """The last step is refused, and the filter stays as it was."""
    return [
        case(
            name,
            {"steps": steps},
            reject=refusal(code) | {"filter": STAYS.get(name, filter_kept)},
        )
        for name, steps, code, filter_kept in REFUSED
    ]
