"""What a showing side sends, and when, step by step: the cases of showing.json.

As make_machines, this knows nothing of the package that is tested. `resume` in a step stands for PRESENCE_RESUME, with
that sequence number, of the filter that was shown last.
"""

from tests.presence.plain import Vectors, case, expand
from tests.presence.spelling import EPOCH, FIRST, OTHER, REQUEST, WITHDRAW, Step, delta, refusal, resume


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
AWAY: Step = {"t": 5, "do": "lose"}
BACK: Step = {"t": 8, "do": "link"}

ACCEPTED: list[tuple[str, str, list[Step], str, list[int]]] = [
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
            AWAY,
            BACK,
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
        [*SHOWN, AWAY, BACK, asks(resume(0, OTHER), 8), quiet(9.9), filter_out(10, key="same"), quiet(11)],
        "FOLLOWING",
        [0, 1, 2],
    ),
    (
        "resumed-ahead-of-what-is-shown",
        "tick",
        [*SHOWN, AWAY, BACK, {"t": 8, "in": {"resume": 7}}, filter_out(8, key="new")],
        "FOLLOWING",
        [0, 1, 2],
    ),
    (
        "away-for-too-long",
        "tick",
        [
            *SHOWN,
            AWAY,
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
            AWAY,
            {"t": 6, "do": "withdraw"},
            BACK,
            asks(resume(0, OTHER), 8),
            {"t": 8, "out": {"type": "PRESENCE_WITHDRAW"}},
            quiet(100),
        ],
        "OWING",
        [],
    ),
]
"""Name, pace, steps, the state at the end, and the members that are found in the filter then."""

REFUSED: list[tuple[str, list[Step]]] = [
    ("resumed-twice", [*SHOWN[:2], asks(resume(0, OTHER), 0), asks(resume(0, OTHER), 0)]),
    ("resumed-after-a-request", [*SHOWN, asks(resume(0), 1)]),
    ("a-step-from-the-viewing-side", [*SHOWN, asks(delta(1, FIRST), 1)]),
    ("withdrawn-by-the-viewing-side", [*SHOWN, asks(WITHDRAW, 1)]),
]


def showing() -> list[Vectors]:
    cases = [
        case(
            name,
            {"pace": pace, "steps": steps},
            accept={"state": after, "found": [expand(f"member {n}", 16).hex() for n in found]},
        )
        for name, pace, steps, after, found in ACCEPTED
    ]
    for name, steps in REFUSED:
        cases.append(case(name, {"pace": "tick", "steps": steps}, reject=refusal("UNEXPECTED")))
    return cases
