"""Links on which the other end breaks one rule: the cases of violation.json."""

from tests.session.cases import FRESH, HEARD, NONE, OURS, OVERLOADED, START, THEIRS, UNDELIVERABLE, E
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

VIOLATIONS: list[tuple[str, list[Step], object, str]] = [
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
"""Name, what came before, the message that breaks a rule, and the code of the CLOSE that answers it."""
