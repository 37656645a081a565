"""Writes spec/vectors/session: python -m tests.session.make_vectors. A test compares what is there.

Messages are spelled here by hand, field by field, so that a mistake of the package does not become a vector.
"""

from collections.abc import Callable

from tests.making import Vectors, case, rejected, vectors, write
from tests.session.acknowledgements import ACKNOWLEDGEMENTS
from tests.session.cases import FRESH, HEARD, NONE, OURS, OVERLOADED, START, THEIRS, UNDELIVERABLE, E
from tests.session.credit import CREDIT
from tests.session.ends import ENDS
from tests.session.spelling import (
    Step,
    ack,
    batch,
    close,
    durable,
    grant,
    into,
    offer,
    opened,
    opens,
    out,
    ping,
    pong,
    received,
    settled,
    tick,
    zeros,
)
from tests.session.streams import STREAMS

SENT = [*START, offer(*E[:2]), out(batch(OURS, 1, E[0], E[1]))]
AGAIN = [[1, OVERLOADED, ""]]
SETTLED = [into(ack(OURS, 1)), settled(E[0])]
RECONNECT: Step = {"reconnect": True}
LOST = [*SENT, *SETTLED, RECONNECT, out(opens(OURS)), into(ack(OURS, 0))]
"""The other end has lost our cursor."""
OPEN = [*START, *HEARD]
ANEW = [into(opens(FRESH)), opened(FRESH), durable(FRESH, 0)]
PINGED = [*START, tick(20), out(ping(1))]
ONLY_CLOSED: list[Step] = [into(close()), {"closing": NONE}]
CLOSED = [*OPEN, *ONLY_CLOSED]


def accepted() -> list[Vectors]:
    rows = STREAMS | ACKNOWLEDGEMENTS | CREDIT | ENDS
    return [case(name, given(steps), accept={}) for name, steps in rows.items()]


def given(steps: list[Step]) -> Vectors:
    beside = {"beside": [0x54]} if any("send" in step for step in steps) else {}
    return {"streams": [OURS.hex(), FRESH.hex()]} | beside | {"steps": steps}


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
        ("batch-before-the-cursor-has-left", [*START, *HEARD[:3]], batch(THEIRS, 1, E[0]), "UNEXPECTED"),
        ("batch-of-another-stream", OPEN, batch(FRESH, 1, E[0]), "UNEXPECTED"),
        ("batch-without-envelopes", OPEN, batch(THEIRS, 1), "MALFORMED"),
        ("batch-from-zero", OPEN, batch(THEIRS, 0, E[0]), "MALFORMED"),
        ("batch-after-a-gap", OPEN, batch(THEIRS, 2, E[0]), "UNEXPECTED"),
        ("batch-of-too-many", OPEN, batch(THEIRS, 1, *[b""] * 257), "MALFORMED"),
        ("batch-after-close", CLOSED, batch(THEIRS, 1, E[0]), "UNEXPECTED"),
        ("open-twice", OPEN, opens(THEIRS), "UNEXPECTED"),
        ("open-before-the-cursor", [*START, *HEARD[:2]], opens(FRESH), "UNEXPECTED"),
        ("close-twice", CLOSED, close(), "UNEXPECTED"),
        ("ack-before-open", [], ack(OURS, 0), "UNEXPECTED"),
        ("ack-of-another-stream", SENT, ack(FRESH, 0), "UNEXPECTED"),
        ("ack-of-what-was-not-sent", SENT, ack(OURS, 3), "UNEXPECTED"),
        ("ack-goes-back", [*SENT, into(ack(OURS, 2)), settled(E[0], E[1])], ack(OURS, 1), "UNEXPECTED"),
        ("first-ack-beyond-the-stream", [out(opens(OURS))], ack(OURS, 1), "UNEXPECTED"),
        ("refusal-beyond-the-cursor", SENT, ack(OURS, 1, refusals=[[2, UNDELIVERABLE, ""]]), "UNEXPECTED"),
        ("refusal-twice", SENT, ack(OURS, 2, refusals=[[1, OVERLOADED, ""], [1, OVERLOADED, ""]]), "UNEXPECTED"),
        ("ack-of-what-is-to-be-opened-next", [*LOST], ack(FRESH, 0), "UNEXPECTED"),
        ("ack-beyond-the-stream-after-a-reconnect", [*SENT, RECONNECT, out(opens(OURS))], ack(OURS, 3), "UNEXPECTED"),
        (
            "refusal-below-what-is-settled",
            [*SENT, *SETTLED],
            ack(OURS, 2, refusals=AGAIN),
            "UNEXPECTED",
        ),
        ("refusal-of-number-0", SENT, ack(OURS, 1, refusals=[[0, OVERLOADED, ""]]), "UNEXPECTED"),
        ("pong-without-ping", OPEN, pong(1), "UNEXPECTED"),
        ("pong-of-a-later-ping", PINGED, pong(2), "UNEXPECTED"),
        ("pong-of-number-0", PINGED, pong(0), "UNEXPECTED"),
        ("open-after-close", CLOSED, opens(FRESH), "UNEXPECTED"),
        (
            "batch-after-close-and-nothing-else",
            [into(close()), {"closing": NONE}],
            batch(THEIRS, 1, E[0]),
            "UNEXPECTED",
        ),
        ("open-after-nothing-but-close", ONLY_CLOSED, opens(THEIRS), "UNEXPECTED"),
        ("withdrawal-where-none-is-expected", OPEN, {0: 0x54}, "UNEXPECTED"),
        (
            "beyond-a-window-of-nothing",
            [*START, grant(window=0), *HEARD[:3], out(ack(THEIRS, 0, window=0))],
            batch(THEIRS, 1, E[0]),
            "UNEXPECTED",
        ),
        (
            "beyond-a-window-of-nothing-on-a-fresh-stream",
            [*OPEN, grant(window=0), out(ack(THEIRS, 0, window=0)), *ANEW, out(ack(FRESH, 0, window=0))],
            batch(FRESH, 1, E[0]),
            "UNEXPECTED",
        ),
        (
            "beyond-the-bytes-and-half-a-mebibyte",
            [*START, grant(window_bytes=4096), *HEARD[:3], out(ack(THEIRS, 0, window_bytes=4096))],
            zeros(THEIRS, 1, *[65_536] * 8, 4097),
            "UNEXPECTED",
        ),
        (
            "beyond-the-bytes-after-some-were-settled",
            [
                *START,
                grant(window_bytes=4096),
                *HEARD[:3],
                out(ack(THEIRS, 0, window_bytes=4096)),
                into(zeros(THEIRS, 1, 4096, 16)),
                received(THEIRS, 1, 4096, 16),
                durable(THEIRS, 1),
                tick(1),
                out(ack(THEIRS, 1, window_bytes=4096)),
                into(zeros(THEIRS, 3, *[65_536] * 7)),
                received(THEIRS, 3, *[65_536] * 7),
            ],
            zeros(THEIRS, 10, 65_536, 1),
            "UNEXPECTED",
        ),
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
            given([*steps, into(message)]),
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
