"""Writes spec/vectors/session: python -m tests.session.make_vectors. A test compares what is there.

Messages are spelled here by hand, field by field, so that a mistake of the package does not become a vector.
"""

from collections.abc import Callable

from tests.making import Vectors, case, rejected, vectors, write
from tests.session.spelling import (
    Step,
    ack,
    batch,
    close,
    durable,
    into,
    offer,
    opened,
    opens,
    out,
    ping,
    pong,
    quiet,
    received,
    settled,
)

OURS, FRESH, THEIRS = b"ourstr01", b"ourstr02", b"theirs01"
E = [bytes([0xE0 + n]) * 4 for n in range(8)]
"""Envelopes: to a session they are byte strings and nothing more."""
NONE, UNEXPECTED, SHUTTING_DOWN, UNDELIVERABLE, OVERLOADED = 0, 2, 12, 32, 34

START = [out(opens(OURS)), into(ack(OURS, 0))]
"""Our stream is open at 0."""
HEARD = [into(opens(THEIRS)), opened(THEIRS), durable(THEIRS, 0), out(ack(THEIRS, 0))]
"""And theirs."""


def accepted() -> list[Vectors]:
    rows: dict[str, list[Step]] = {
        "one-envelope-out": [
            *START,
            offer(E[0]),
            out(batch(OURS, 1, E[0])),
            quiet(),
            into(ack(OURS, 1)),
            settled(E[0]),
        ],
        "one-envelope-in": [
            *START,
            *HEARD,
            into(batch(THEIRS, 1, E[0]), at=1),
            received(THEIRS, 1, E[0]),
            quiet(),
            durable(THEIRS, 1),
            out(ack(THEIRS, 1)),
        ],
        "nothing-before-the-cursor": [
            offer(E[0]),
            out(opens(OURS)),
            quiet(),
            into(ack(OURS, 0)),
            out(batch(OURS, 1, E[0])),
        ],
        "classes-in-order": [
            *START,
            offer(E[0], urgency=2),
            offer(E[1], urgency=1),
            offer(E[2], urgency=0),
            out(batch(OURS, 1, E[2], E[1], E[0])),
        ],
        "acknowledgements-are-cumulative-and-paced": [
            *START,
            *HEARD,
            into(batch(THEIRS, 1, E[0]), at=1),
            received(THEIRS, 1, E[0]),
            durable(THEIRS, 1),
            out(ack(THEIRS, 1)),
            into(batch(THEIRS, 2, E[1]), at=1.001),
            received(THEIRS, 2, E[1]),
            durable(THEIRS, 2),
            quiet(),
            into(batch(THEIRS, 3, E[2]), at=1.002),
            received(THEIRS, 3, E[2]),
            durable(THEIRS, 3),
            quiet(at=1.004),
            {"t": 1.006, "tick": True},
            out(ack(THEIRS, 3)),
        ],
        "refusals": [
            *START,
            offer(*E[:4]),
            out(batch(OURS, 1, *E[:4])),
            into(ack(OURS, 4, refusals=[[2, UNDELIVERABLE, "no"], [3, OVERLOADED, "full"]])),
            settled(E[0], E[1], E[3], refused=[(E[1], UNDELIVERABLE)], later=[E[2]]),
        ],
        "an-unknown-code-is-a-refusal": [
            *START,
            offer(E[0]),
            out(batch(OURS, 1, E[0])),
            into(ack(OURS, 1, refusals=[[1, 60_000, "of a later version"]])),
            settled(E[0], refused=[(E[0], UNEXPECTED)]),
        ],
        "refusals-told": [
            *START,
            *HEARD,
            into(batch(THEIRS, 1, E[0], E[1]), at=1),
            received(THEIRS, 1, E[0], E[1]),
            durable(THEIRS, 2, (2, UNDELIVERABLE, "no")),
            out(ack(THEIRS, 2, refusals=[[2, UNDELIVERABLE, "no"]])),
        ],
        "credit-of-two": [
            out(opens(OURS)),
            into(ack(OURS, 0, window=2)),
            offer(*E[:4]),
            out(batch(OURS, 1, E[0], E[1])),
            quiet(),
            into(ack(OURS, 1, window=2)),
            settled(E[0]),
            out(batch(OURS, 3, E[2])),
            into(ack(OURS, 3, window=0)),
            settled(E[1], E[2]),
            quiet(),
            into(ack(OURS, 3, window=1)),
            out(batch(OURS, 4, E[3])),
        ],
        "credit-in-bytes": [
            out(opens(OURS)),
            into(ack(OURS, 0, window_bytes=10)),
            offer(*E[:5]),
            out(batch(OURS, 1, E[0])),
            out(batch(OURS, 2, E[1])),
            quiet(),
            into(ack(OURS, 1, window_bytes=70_000)),
            settled(E[0]),
            out(batch(OURS, 3, E[2], E[3], E[4])),
        ],
        "credit-is-changed": [
            *START,
            *HEARD,
            {"grant": {"window": 5, "window_bytes": 4096}},
            out(ack(THEIRS, 0, window=5, window_bytes=4096)),
            quiet(),
        ],
        "duplicates-below-the-cursor": [
            *START,
            into(opens(THEIRS)),
            opened(THEIRS),
            durable(THEIRS, 2),
            out(ack(THEIRS, 2)),
            into(batch(THEIRS, 1, *E[:3])),
            received(THEIRS, 3, E[2]),
            into(batch(THEIRS, 1, *E[:3])),
        ],
        "resume": [
            *START,
            offer(*E[:3]),
            out(batch(OURS, 1, *E[:3])),
            {"reconnect": True, "t": 5},
            out(opens(OURS)),
            into(ack(OURS, 1)),
            settled(E[0]),
            out(batch(OURS, 2, E[1], E[2])),
        ],
        "resume-tells-stored-refusals": [
            *START,
            into(opens(THEIRS)),
            opened(THEIRS),
            durable(THEIRS, 2000, (1999, UNDELIVERABLE, "no")),
            out(ack(THEIRS, 2000, refusals=[[1999, UNDELIVERABLE, "no"]])),
        ],
        "old-refusals-on-resume-are-no-news": [
            *START,
            offer(*E[:2]),
            out(batch(OURS, 1, *E[:2])),
            into(ack(OURS, 1, refusals=[[1, UNDELIVERABLE, "no"]])),
            settled(E[0], refused=[(E[0], UNDELIVERABLE)]),
            {"reconnect": True},
            out(opens(OURS)),
            into(ack(OURS, 2, refusals=[[1, UNDELIVERABLE, "no"], [2, UNDELIVERABLE, "no"]])),
            settled(E[1], refused=[(E[1], UNDELIVERABLE)]),
        ],
        "a-cursor-was-lost": [
            *START,
            offer(*E[:2]),
            out(batch(OURS, 1, *E[:2])),
            into(ack(OURS, 1)),
            settled(E[0]),
            {"reconnect": True},
            out(opens(OURS)),
            into(ack(OURS, 0)),
            out(opens(FRESH)),
            into(ack(OURS, 0)),
            into(ack(FRESH, 0)),
            out(batch(FRESH, 1, E[1])),
        ],
        "their-stream-begins-anew": [
            *START,
            *HEARD,
            into(batch(THEIRS, 1, E[0])),
            received(THEIRS, 1, E[0]),
            into(opens(FRESH)),
            opened(FRESH),
            durable(THEIRS, 1),
            durable(FRESH, 0),
            out(ack(FRESH, 0)),
            into(batch(FRESH, 1, E[0])),
            received(FRESH, 1, E[0]),
        ],
        "keepalive": [
            *START,
            {"t": 19, "tick": True},
            quiet(),
            {"t": 20, "tick": True},
            out(ping(1)),
            into(pong(1), at=21),
            {"t": 41, "tick": True},
            out(ping(2)),
        ],
        "ping-is-answered": [*START, into(ping(7)), into(ping(8)), out(pong(8)), quiet()],
        "silence": [*START, {"t": 20, "tick": True}, out(ping(1)), {"t": 30, "tick": True}, {"end": "lost"}],
        "close-by-us": [
            *START,
            *HEARD,
            offer(E[0]),
            out(batch(OURS, 1, E[0])),
            {"drain": {"code": SHUTTING_DOWN, "text": "bye"}},
            out(close(SHUTTING_DOWN, "bye")),
            quiet(),
            into(ack(OURS, 1)),
            settled(E[0]),
            into(close()),
            {"closing": NONE},
            {"end": "complete"},
        ],
        "close-by-them": [
            *START,
            *HEARD,
            into(batch(THEIRS, 1, E[0])),
            received(THEIRS, 1, E[0]),
            into(close(6, "later", 5)),
            {"closing": 6},
            out(close()),
            durable(THEIRS, 1),
            out(ack(THEIRS, 1)),
            {"end": "complete"},
        ],
        "close-has-an-end": [
            *START,
            offer(E[0]),
            out(batch(OURS, 1, E[0])),
            {"drain": {"code": NONE, "text": ""}},
            {"t": 1, "tick": True},
            out(close()),
            {"t": 11, "tick": True},
            {"end": "incomplete"},
        ],
        "unknown-fields-are-ignored": [
            *START,
            into({0: 0x10, 1: THEIRS, 9: [1, "x"]}),
            opened(THEIRS),
            durable(THEIRS, 0),
            out(ack(THEIRS, 0)),
        ],
    }
    return [
        case(name, {"streams": [OURS.hex(), FRESH.hex()], "steps": steps}, accept={}) for name, steps in rows.items()
    ]


SENT = [*START, offer(*E[:2]), out(batch(OURS, 1, E[0], E[1]))]
OPEN = [*START, *HEARD]


def refused() -> list[Vectors]:
    rows: list[tuple[str, list[Step], object, str]] = [
        ("not-cbor", OPEN, b"\xff", "MALFORMED"),
        ("not-deterministic", OPEN, bytes.fromhex("a20018110107"), "MALFORMED"),
        ("unknown-type", OPEN, {0: 0x1F}, "UNEXPECTED"),
        ("handshake-message", OPEN, {0: 0x01}, "MALFORMED"),
        ("claim-between-homeservers", OPEN, {0: 0x26, 1: bytes(32)}, "UNEXPECTED"),
        ("missing-field", OPEN, {0: 0x10}, "MALFORMED"),
        ("short-stream", OPEN, opens(b"short"), "MALFORMED"),
        ("close-with-control-characters", OPEN, close(0, "a\x1bb"), "MALFORMED"),
        ("batch-before-open", START, batch(THEIRS, 1, E[0]), "UNEXPECTED"),
        ("batch-before-cursor", [*START, *HEARD[:2]], batch(THEIRS, 1, E[0]), "UNEXPECTED"),
        ("batch-of-another-stream", OPEN, batch(FRESH, 1, E[0]), "UNEXPECTED"),
        ("batch-without-envelopes", OPEN, batch(THEIRS, 1), "MALFORMED"),
        ("batch-from-zero", OPEN, batch(THEIRS, 0, E[0]), "MALFORMED"),
        ("batch-after-a-gap", OPEN, batch(THEIRS, 2, E[0]), "UNEXPECTED"),
        ("batch-of-too-many", OPEN, batch(THEIRS, 1, *[b""] * 257), "MALFORMED"),
        ("batch-after-close", [*OPEN, into(close()), {"closing": NONE}], batch(THEIRS, 1, E[0]), "UNEXPECTED"),
        ("open-twice", OPEN, opens(THEIRS), "UNEXPECTED"),
        ("open-before-the-cursor", [*START, *HEARD[:2]], opens(FRESH), "UNEXPECTED"),
        ("close-twice", [*OPEN, into(close()), {"closing": NONE}], close(), "UNEXPECTED"),
        ("ack-before-open", [], ack(OURS, 0), "UNEXPECTED"),
        ("ack-of-another-stream", SENT, ack(FRESH, 0), "UNEXPECTED"),
        ("ack-of-what-was-not-sent", SENT, ack(OURS, 3), "UNEXPECTED"),
        ("ack-goes-back", [*SENT, into(ack(OURS, 2)), settled(E[0], E[1])], ack(OURS, 1), "UNEXPECTED"),
        ("first-ack-beyond-the-stream", [out(opens(OURS))], ack(OURS, 1), "UNEXPECTED"),
        ("refusal-beyond-the-cursor", SENT, ack(OURS, 1, refusals=[[2, UNDELIVERABLE, ""]]), "UNEXPECTED"),
        ("refusal-twice", SENT, ack(OURS, 2, refusals=[[1, OVERLOADED, ""], [1, OVERLOADED, ""]]), "UNEXPECTED"),
        ("pong-without-ping", OPEN, pong(1), "UNEXPECTED"),
        (
            "beyond-the-window",
            [
                *START,
                {"grant": {"window": 1, "window_bytes": 4096}},
                *HEARD[:3],
                out(ack(THEIRS, 0, window=1, window_bytes=4096)),
            ],
            batch(THEIRS, 1, E[0], E[1]),
            "UNEXPECTED",
        ),
    ]
    return [
        case(
            name,
            {"streams": [OURS.hex(), FRESH.hex()], "steps": [*steps, into(message)]},
            reject=rejected(code, "BadMessage" if code == "MALFORMED" or name == "unknown-type" else "RemoteError"),
        )
        for name, steps, message, code in rows
    ]


def flagged(cases: list[Vectors]) -> list[Vectors]:
    """The flags of those cases that show a mistake others have made."""
    flags = {
        "a-cursor-was-lost": "fresh-stream",
        "their-stream-begins-anew": "fresh-stream",
        "nothing-before-the-cursor": "cursor-first",
        "first-ack-beyond-the-stream": "cursor-first",
        "batch-after-a-gap": "no-gaps",
        "one-envelope-in": "durable-first",
        "resume-tells-stored-refusals": "refusals-survive",
    }
    return [each | {"flags": [flags[each["id"]]] if each["id"] in flags else []} for each in cases]


NOTES = {
    "fresh-stream": "sequence numbers of a stream whose cursor was lost are not used again",
    "cursor-first": "nothing is sent before the receiver has said where the stream stands",
    "no-gaps": "what is missing ends the link; it is not waited for",
    "durable-first": "an acknowledgement follows the disk, not the message",
    "refusals-survive": "refusals whose acknowledgement was lost with a link are told again on the next one",
}


def document(cases: list[Vectors], covers: str) -> Vectors:
    marked = flagged(cases)
    flags = {flag for each in marked for flag in each["flags"]}
    notes = {flag: note for flag, note in NOTES.items() if flag in flags}
    return vectors("session", "session-machine", covers, marked, notes)


ALL: dict[str, Callable[[], Vectors]] = {
    "conversation": lambda: document(accepted(), "4 5 6 7 8 12 16 17 23 24 25 27 28 29 30 33 34"),
    "violation": lambda: document(refused(), "1 9 10 11 13 20 21 26 31"),
}


if __name__ == "__main__":
    for each, make in ALL.items():
        write("session", each, make())
