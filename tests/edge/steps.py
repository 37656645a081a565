"""The vectors of an edge node between its devices and its homeserver, step by step."""

import hashlib
from typing import Any

from tests.making import Vectors, case, cbor, expand, recorded, rejected, vectors

PUBLIC = recorded()["xwing_public"]
MAILBOX = hashlib.sha256(b"volly-fed mailbox v1\0" + PUBLIC).digest()
EDGE, HOME = expand("edge", 32), "home.example"
NOW = 1_800_000_000
Step = dict[str, Any]
MAC = expand("mac", 32)


def envelope(number: int, *, mailbox: bytes = MAILBOX, expiry: int = NOW + 60) -> bytes:
    return cbor([1, mailbox, "far.example", expand(f"id {number}", 16), expiry, 1, bytes(16), bytes(1024)])


def ident(number: int) -> bytes:
    return expand(f"id {number}", 16)


def says(device: int, message: object) -> Step:
    return {"device": device, "in": cbor(message).hex()}


def hears(device: int, message: object) -> Step:
    return {"device": device, "out": cbor(message).hex()}


def up(message: object) -> Step:
    return {"homeserver": "out", "message": cbor(message).hex()}


def down(message: object) -> Step:
    return {"homeserver": "in", "message": cbor(message).hex()}


def connects(device: int) -> list[Step]:
    return [{"device": device, "connects": True}, hears(device, {0: 0x40, 1: HOME, 2: EDGE})]


def claim(request: int) -> dict[int, Any]:
    return {0: 0x20, 1: request, 2: PUBLIC}


def challenge(request: int) -> dict[int, Any]:
    return {0: 0x21, 1: request, 2: bytes(1120), 3: bytes(32), 4: HOME, 5: EDGE, 6: NOW + 60}


def proof(request: int) -> dict[int, Any]:
    return {0: 0x22, 1: request, 2: MAC, 3: b"\x82\x01\x80"}


def claimed(request: int) -> dict[int, Any]:
    return {0: 0x23, 1: request, 2: MAILBOX}


def not_claimed(request: int, code: int) -> dict[int, Any]:
    return {0: 0x24, 1: request, 2: code, 3: ""}


def claims(device: int, request: int, number: int) -> list[Step]:
    """A claim as the device numbers it, and as the edge does."""
    return [
        says(device, claim(request)),
        up(claim(number)),
        down(challenge(number)),
        hears(device, challenge(request)),
        says(device, proof(request)),
        up(proof(number)),
        down(claimed(number)),
        hears(device, claimed(request)),
    ]


ACKNOWLEDGE = {0: 0x25, 1: MAILBOX, 2: [ident(0)], 3: MAC}
RELEASE = {0: 0x26, 1: MAILBOX}


def deliver(*numbers: int) -> dict[int, Any]:
    return {0: 0x43, 1: [envelope(n) for n in numbers]}


def submit(*envelopes: bytes) -> dict[int, Any]:
    return {0: 0x41, 1: list(envelopes)}


def good() -> dict[str, list[Step]]:
    return {
        "a-claim": [*connects(1), *claims(1, 5, 1)],
        "a-claim-that-is-not-proved": [
            *connects(1),
            says(1, claim(5)),
            up(claim(1)),
            down(challenge(1)),
            hears(1, challenge(5)),
            says(1, proof(5)),
            up(proof(1)),
            down(not_claimed(1, 36)),
            hears(1, not_claimed(5, 36)),
            up(RELEASE),
        ],
        "delivery-and-acknowledgement": [
            *connects(1),
            *claims(1, 1, 1),
            down(deliver(0, 1)),
            hears(1, deliver(0, 1)),
            says(1, ACKNOWLEDGE),
            up(ACKNOWLEDGE),
        ],
        "an-acknowledgement-of-who-holds-nothing-goes-nowhere": [*connects(1), says(1, ACKNOWLEDGE)],
        "the-device-goes": [*connects(1), *claims(1, 1, 1), {"device": 1, "gone": True}, up(RELEASE)],
        "the-claim-moves-to-another-connection": [
            *connects(1),
            *claims(1, 1, 1),
            *connects(2),
            says(2, claim(1)),
            up(claim(2)),
            down(challenge(2)),
            hears(2, challenge(1)),
            says(2, proof(1)),
            up(proof(2)),
            down(not_claimed(1, 13)),
            hears(1, not_claimed(1, 13)),
            down(claimed(2)),
            hears(2, claimed(1)),
            down(deliver(0)),
            hears(2, deliver(0)),
            {"device": 1, "gone": True},
        ],
        "the-homeserver-is-gone": [
            *connects(1),
            *claims(1, 1, 1),
            {"link": "down"},
            hears(1, not_claimed(1, 6)),
            says(1, claim(2)),
            hears(1, not_claimed(2, 6)),
        ],
        "submission": [
            *connects(1),
            says(1, submit(envelope(0), envelope(1))),
            {"offered": [envelope(0).hex(), envelope(1).hex()]},
            {"settled": {"done": [1, 2], "refused": [[2, 5]]}},
            hears(1, {0: 0x42, 1: [ident(0)], 2: [[ident(1), 5, ""]]}),
        ],
        "an-expired-one-goes-no-further": [
            *connects(1),
            says(1, submit(envelope(0, expiry=NOW - 301))),
            hears(1, {0: 0x42, 1: [], 2: [[ident(0), 33, ""]]}),
        ],
        "a-receipt-finds-its-connection": [
            *connects(1),
            *connects(2),
            says(2, submit(envelope(0))),
            {"offered": [envelope(0).hex()]},
            {"settled": {"done": [1], "refused": []}},
            hears(2, {0: 0x42, 1: [ident(0)]}),
            down({0: 0x27, 1: [[ident(0), 32, ""], [ident(1), 32, ""]]}),
            hears(2, {0: 0x27, 1: [[ident(0), 32, ""]]}),
        ],
        "ping": [*connects(1), says(1, {0: 0x14, 1: 3}), hears(1, {0: 0x15, 1: 3})],
    }


def bad() -> list[tuple[str, list[Step], Step, str]]:
    submits = [*connects(1), says(1, submit(envelope(0))), {"offered": [envelope(0).hex()]}]
    asked = [*connects(1), says(1, claim(1)), up(claim(1))]
    proved = [*asked, down(challenge(1)), hears(1, challenge(1)), says(1, proof(1)), up(proof(1))]
    return [
        ("claims-and-submits", [*connects(1), *claims(1, 1, 1)], says(1, submit(envelope(0))), "UNEXPECTED"),
        ("submits-and-claims", submits, says(1, claim(1)), "UNEXPECTED"),
        ("submits-and-announces", submits, says(1, {0: 0x29}), "UNEXPECTED"),
        ("request-number-twice", asked, says(1, claim(1)), "UNEXPECTED"),
        ("proof-twice", proved, says(1, proof(1)), "UNEXPECTED"),
        ("not-an-envelope", connects(1), says(1, submit(envelope(0), b"rubbish")), "MALFORMED"),
        ("a-device-speaks-the-session", connects(1), says(1, {0: 0x10, 1: bytes(8)}), "UNEXPECTED"),
        ("a-device-delivers", connects(1), says(1, deliver(0)), "UNEXPECTED"),
        ("confirmed-without-proof", asked, down(claimed(1)), "UNEXPECTED"),
        ("another-mailbox-confirmed", proved, down(claimed(1) | {2: bytes(32)}), "UNEXPECTED"),
        ("a-homeserver-submits", connects(1), down(submit(envelope(0))), "UNEXPECTED"),
    ]


def steps_of_an_edge() -> Vectors:
    cases = [case(name, {"now": NOW, "steps": steps}, accept={}) for name, steps in good().items()]
    for name, steps, last, code in bad():
        kind = "BadMessage" if code == "MALFORMED" else "RemoteError"
        flags = ["one-thing-each"] if name.startswith("submits-and") or name == "claims-and-submits" else []
        given = {"now": NOW, "steps": [*steps, last]}
        cases.append(case(name, given, flags=flags, reject=rejected(code, kind)))
    notes = {"one-thing-each": "a connection that did two things would show the edge that they belong to one device"}
    return vectors("edge", "edge-machine", "8 10 12 13 14 18 22 23 26 30 31 32", cases, notes)
