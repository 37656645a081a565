"""The vectors of presence that are conversations: filters in pieces, and both machines step by step.

Like tests.presence.make_vectors, which writes them, this knows nothing of the package that is tested: messages are put
together here, byte by byte. Of what the showing side draws by chance only what everybody must do alike is expected.
"""

import hashlib
from typing import Any

from tests.presence.plain import CAPACITIES, KEY, Vectors, case, expand, filter_of, rejected, rice

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


# --- the viewing side ----------------------------------------------------------------------------------------------


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
FIRST = [5, 40_000]


def viewing() -> list[Vectors]:
    large = bits_of(KEY, 2, 3)
    wide: Step = {"size": 2}
    taken: list[tuple[str, list[Step], str, Vectors | None]] = [
        (
            "a-filter-and-two-steps",
            [*BEGUN, comes(delta(1, FIRST)), comes(delta(2, [5])), state("FOLLOWING")],
            "FOLLOWING",
            held(KEY, 2, flipped(BITS, [40_000])),
        ),
        ("a-step-that-changes-nothing", [*BEGUN, comes(delta(1, []))], "FOLLOWING", held(KEY, 1, BITS)),
        (
            "a-filter-in-two-pieces",
            [*link(), piece(**wide), state("RECEIVING"), piece(offset=PIECE, **wide)],
            "FOLLOWING",
            held(KEY, 0, large),
        ),
        (
            "a-filter-that-begins-anew-before-it-is-complete",
            [*link(), piece(**wide), piece(key=OTHER)],
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
            [*link(), piece(**wide), {"t": WALL, "do": "lose"}, *link()],
            "ASKING",
            None,
        ),
        ("withdrawn", [*BEGUN, comes(WITHDRAW)], "ASKING", None),
        (
            "asked-anew-what-still-comes-of-the-former-is-passed-over",
            [
                *link(),
                piece(**wide),
                {"t": WALL, "do": "ask"},
                {"t": WALL, "out": REQUEST.hex()},
                piece(offset=PIECE, **wide),
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
    cases = [
        case(name, {"steps": steps}, accept={"state": after, "filter": kept}) for name, steps, after, kept in taken
    ]
    return cases + viewing_hostile()


def refusal(code: str) -> Vectors:
    """Of a message that cannot be, or of one that is out of place."""
    return rejected(code) if code in {"BAD_FILTER", "MALFORMED"} else rejected(code) | {"class": "RemoteError"}


def viewing_hostile() -> list[Vectors]:
    """The last step is refused, and the filter stays as it was."""
    wide: Step = {"size": 2}
    kept = held(KEY, 0, BITS)
    full = list(range(0, 65_536, 2))  # half of all bits, in a filter that has three tags
    seventeen = [piece(key=expand(f"key {n}", 32)) for n in range(17)]
    refused: list[tuple[str, list[Step], str, Vectors | None]] = [
        ("over-full", [*link(), piece(fill="55")], "BAD_FILTER", None),
        ("everybody", [*BEGUN, piece(key=OTHER, fill="ff")], "BAD_FILTER", kept),
        ("over-full-by-a-step", [*BEGUN, comes(delta(1, full))], "BAD_FILTER", kept),
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
            kept,
        ),
        ("a-step-replayed", [*BEGUN, comes(delta(1, FIRST)), comes(delta(1, FIRST))], "OUT_OF_STEP", None),
        ("a-step-left-out", [*BEGUN, comes(delta(2, FIRST))], "OUT_OF_STEP", kept),
        ("a-step-of-another-filter", [*BEGUN, comes(delta(1, FIRST, key=OTHER))], "OUT_OF_STEP", kept),
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
            [*link(), piece(**wide), piece(offset=PIECE, key=OTHER, **wide)],
            "OUT_OF_STEP",
            None,
        ),
        ("a-piece-of-no-filter", [*link(), piece(offset=PIECE, **wide)], "OUT_OF_STEP", None),
        ("the-seventeenth-filter", [*link(), *seventeen], "BUSY", None),
        ("a-step-among-pieces", [*link(), piece(**wide), comes(delta(1, FIRST))], "UNEXPECTED", None),
        ("anything-before-it-was-asked-for", [comes(WITHDRAW)], "UNEXPECTED", None),
        ("a-question-is-not-for-this-side", [*link(), comes(REQUEST)], "UNEXPECTED", None),
        ("changes-that-are-none", [*BEGUN, comes(message(0x53, filter_id(KEY), 1, bytes(63)))], "MALFORMED", kept),
    ]
    after_one = held(KEY, 1, flipped(BITS, FIRST))
    last = held(expand("key 15", 32), 0, bits_of(expand("key 15", 32), 0, 3))
    stays = {"a-step-replayed": after_one, "the-same-filter-as-it-was": after_one, "the-seventeenth-filter": last}
    return [
        case(
            name,
            {"steps": steps},
            reject=refusal(code) | {"filter": stays.get(name, filter_kept)},
        )
        for name, steps, code, filter_kept in refused
    ]


# --- the showing side ----------------------------------------------------------------------------------------------


def asks(data: bytes, t: float) -> Step:
    return {"t": t, "in": data.hex()}


def filter_out(t: float, *, epoch: int = EPOCH, sequence: int = 0, key: str) -> Step:
    """`key`: "new" where it must be another than all before, "same" where it must be the last one."""
    wanted = {"type": "PRESENCE_SNAPSHOT", "epoch": epoch, "class": 0, "sequence": sequence, "key": key}
    return {"t": t, "out": wanted}


def step_out(t: float, sequence: int) -> Step:
    return {"t": t, "out": {"type": "PRESENCE_DELTA", "sequence": sequence}}


def quiet(t: float) -> Step:
    return {"t": t, "out": None}


def someone(what: str, number: int, t: float) -> Step:
    return {"t": t, "do": what, "tag": expand(f"member {number}", 16).hex()}


SHOWN = [
    {"t": 0, "do": "show", "epoch": EPOCH, "members": 3},
    {"t": 0, "do": "link"},
    asks(REQUEST, 0),
    filter_out(0, key="new"),
    quiet(0),
]


def showing() -> list[Vectors]:
    """`resume` in a step stands for PRESENCE_RESUME, with that sequence number, of the filter that was shown last."""
    away = {"t": 5, "do": "lose"}
    back = {"t": 8, "do": "link"}
    accepted: list[tuple[str, str, list[Step], str, list[int]]] = [
        (
            "nothing-unasked",
            "tick",
            [*SHOWN[:2], quiet(0), quiet(100), someone("online", 3, 100), quiet(102)],
            "SILENT",
            [],
        ),
        (
            "a-step-at-every-tick",
            "tick",
            [*SHOWN, quiet(1.9), step_out(2, 1), quiet(2), someone("online", 3, 3), quiet(3.5), step_out(4, 2)],
            "FOLLOWING",
            [0, 1, 2, 3],
        ),
        (
            "prompt-leaves-at-once-and-only-when-something-happens",
            "prompt",
            [
                *SHOWN,
                quiet(1),
                someone("online", 3, 1),
                step_out(1, 1),
                someone("offline", 0, 1.001),
                quiet(1.004),
                step_out(1.005, 2),
                quiet(3),
            ],
            "FOLLOWING",
            [1, 2, 3],
        ),
        (
            "who-comes-and-goes-between-two-steps-was-never-there",
            "prompt",
            [*SHOWN, someone("online", 3, 1), someone("offline", 3, 1.001), quiet(10)],
            "FOLLOWING",
            [0, 1, 2],
        ),
        (
            "resumed",
            "tick",
            [
                *SHOWN,
                step_out(2, 1),
                someone("online", 3, 3),
                step_out(4, 2),
                away,
                back,
                {"t": 8, "in": {"resume": 1}},
                step_out(8, 2),
                step_out(8, 3),
            ],
            "FOLLOWING",
            [0, 1, 2, 3],
        ),
        (
            "resumed-with-a-filter-that-is-not-known",
            "tick",
            [*SHOWN, away, back, asks(resume(0, OTHER), 8), quiet(9.9), filter_out(10, key="same"), quiet(11)],
            "FOLLOWING",
            [0, 1, 2],
        ),
        (
            "resumed-ahead-of-what-is-shown",
            "tick",
            [*SHOWN, away, back, {"t": 8, "in": {"resume": 7}}, filter_out(8, key="new")],
            "FOLLOWING",
            [0, 1, 2],
        ),
        (
            "away-for-too-long",
            "tick",
            [
                *SHOWN,
                away,
                {"t": 100, "do": "link"},
                {"t": 100, "in": {"resume": 0}},
                filter_out(100, key="new"),
            ],
            "FOLLOWING",
            [0, 1, 2],
        ),
        (
            "asked-again-and-again",
            "prompt",
            [*SHOWN, asks(REQUEST, 1), quiet(1), asks(REQUEST, 2), quiet(9.9), filter_out(10, key="same"), quiet(19)],
            "FOLLOWING",
            [0, 1, 2],
        ),
        (
            "a-new-epoch",
            "tick",
            [
                *SHOWN,
                {"t": 1, "do": "show", "epoch": EPOCH + 1, "members": 2},
                filter_out(1, epoch=EPOCH + 1, key="new"),
            ],
            "FOLLOWING",
            [0, 1],
        ),
        (
            "withdrawn",
            "tick",
            [*SHOWN, {"t": 1, "do": "withdraw"}, {"t": 1, "out": {"type": "PRESENCE_WITHDRAW"}}, quiet(100)],
            "OWING",
            [],
        ),
        (
            "withdrawn-while-the-peer-was-away",
            "tick",
            [
                *SHOWN,
                away,
                {"t": 6, "do": "withdraw"},
                back,
                asks(resume(0, OTHER), 8),
                {"t": 8, "out": {"type": "PRESENCE_WITHDRAW"}},
                quiet(100),
            ],
            "OWING",
            [],
        ),
    ]
    cases = [
        case(
            name,
            {"pace": pace, "steps": steps},
            accept={"state": after, "found": [expand(f"member {n}", 16).hex() for n in found]},
        )
        for name, pace, steps, after, found in accepted
    ]
    for name, steps in (
        ("resumed-twice", [*SHOWN[:2], asks(resume(0, OTHER), 0), asks(resume(0, OTHER), 0)]),
        ("resumed-after-a-request", [*SHOWN, asks(resume(0), 1)]),
        ("a-step-from-the-viewing-side", [*SHOWN, asks(delta(1, FIRST), 1)]),
        ("withdrawn-by-the-viewing-side", [*SHOWN, asks(WITHDRAW, 1)]),
    ):
        cases.append(case(name, {"pace": "tick", "steps": steps}, reject=refusal("UNEXPECTED")))
    return cases


# --- filters in pieces ---------------------------------------------------------------------------------------------


def snapshots() -> list[Vectors]:
    cases = []
    for size, members, sequence in ((0, 3, 0), (1, 3, 23), (2, 3, 24), (3, 1, 70_000)):
        bits = bits_of(KEY, size, members)
        pieces = []
        for offset in range(0, len(bits), PIECE):
            whole = message(0x52, EPOCH, KEY, size, sequence, offset, bits[offset : offset + PIECE])
            pieces.append(
                {
                    "offset": offset,
                    "size": len(whole),
                    "head": whole[:48].hex(),
                    "sha256": hashlib.sha256(whole).hexdigest(),
                }
            )
        given = {"epoch": EPOCH, "key": KEY.hex(), "class": size, "sequence": sequence, "members": members}
        cases.append(case(f"class-{size}-in-{len(pieces)}", given, accept={"pieces": pieces}))
    return cases
