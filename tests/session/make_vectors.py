"""Writes spec/vectors/session: python -m tests.session.make_vectors. A test compares what is there.

Messages are spelled here by hand, field by field, so that a mistake of the package does not become a vector.
"""

from collections.abc import Callable

from tests.making import Vectors, case, rejected, vectors, write
from tests.session.acknowledgements import ACKNOWLEDGEMENTS
from tests.session.cases import FRESH, OURS
from tests.session.credit import CREDIT
from tests.session.ends import ENDS
from tests.session.spelling import Step, into
from tests.session.streams import STREAMS
from tests.session.violations import VIOLATIONS


def accepted() -> list[Vectors]:
    rows = STREAMS | ACKNOWLEDGEMENTS | CREDIT | ENDS
    return [case(name, given(steps), accept={}) for name, steps in rows.items()]


def given(steps: list[Step]) -> Vectors:
    beside = {"beside": [0x54]} if any("send" in step for step in steps) else {}
    return {"streams": [OURS.hex(), FRESH.hex()]} | beside | {"steps": steps}


def refused() -> list[Vectors]:
    return [
        case(
            name,
            given([*steps, into(message)]),
            reject=rejected(code, "BadMessage" if code == "MALFORMED" or name == "unknown-type" else "RemoteError"),
        )
        for name, steps, message, code in VIOLATIONS
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
