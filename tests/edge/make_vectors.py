"""Writes spec/vectors/edge: python -m tests.edge.make_vectors. A test compares what is there.

The formulas of a claim are written out here with the standard library, not taken from the package.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from tests.edge.steps import steps_of_an_edge
from tests.making import Vectors, case, cbor, expand, recorded, rejected, vectors, write

XWING = recorded()
SEED, PUBLIC, CIPHERTEXT, SHARED = (XWING[f"xwing_{name}"] for name in ("seed", "public", "ciphertext", "shared"))
MAILBOX = hashlib.sha256(b"volly-fed mailbox v1\0" + PUBLIC).digest()
NONCE, EDGE = expand("nonce", 32), expand("edge", 32)
NOW = 1_800_000_000
HOME = "home.example"


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def capability_hash(capability: bytes) -> bytes:
    return hashlib.sha256(b"volly-fed capability v1\0" + capability).digest()


OPEN, NAMED = sorted((expand("open", 16), expand("named", 16)), key=capability_hash)
H1, H2 = capability_hash(OPEN), capability_hash(NAMED)
REGISTRATION = cbor([1, [[H1, ["*"]], [H2, ["a.example", "b.example"]]]])


def registrations() -> Vectors:
    good: dict[str, Any] = {
        "nothing": [1, []],
        "one": [1, [[H1, ["*"]]]],
        "two": [1, [[H1, ["*"]], [H2, ["a.example", "b.example"]]]],
        "nobody": [1, [[H1, []]]],
        "anybody-and-one": [1, [[H1, ["*", "a.example"]]]],
    }
    bad: dict[str, Any] = {
        "another-version": [2, []],
        "grants-out-of-order": [1, [[H2, []], [H1, []]]],
        "capability-twice": [1, [[H1, []], [H1, []]]],
        "scopes-out-of-order": [1, [[H1, ["b.example", "a.example"]]]],
        "scope-twice": [1, [[H1, ["*", "*"]]]],
        "scope-not-canonical": [1, [[H1, ["A.example"]]]],
        "scope-with-a-wildcard": [1, [[H1, ["*.a.example"]]]],
        "short-hash": [1, [[H1[:-1], []]]],
        "field-too-many": [1, [[H1, ["*"], 0]]],
        "too-many-grants": [1, [[n.to_bytes(32, "big"), []] for n in range(257)]],
        "too-many-scopes": [1, [[H1, [f"d{n:03}.example" for n in range(65)]]]],
        "not-an-array": {0: 1},
    }
    cases = []
    for name, value in good.items():
        grants = [{"hash": grant[0].hex(), "scopes": grant[1]} for grant in value[1]]
        cases.append(case(name, {"data": cbor(value).hex()}, accept={"grants": grants}))
    for name, value in bad.items():
        cases.append(case(name, {"data": cbor(value).hex()}, reject=rejected("MALFORMED")))
    cases.append(case("not-cbor", {"data": "ff"}, reject=rejected("MALFORMED")))
    return vectors("edge", "registration-codec", "24", cases)


def challenge(**changes: Any) -> dict[int, Any]:
    names = {"request": 1, "ciphertext": 2, "nonce": 3, "domain": 4, "edge": 5, "expiry": 6}
    message = {0: 0x21, 1: 7, 2: CIPHERTEXT, 3: NONCE, 4: HOME, 5: EDGE, 6: NOW + 60}
    return message | {names[name]: value for name, value in changes.items()}


def bound(message: dict[int, Any]) -> tuple[bytes, ...]:
    return message[3], message[4].encode(), message[5], message[6].to_bytes(8, "big")


def keys(message: dict[int, Any], shared: bytes = SHARED) -> tuple[bytes, bytes]:
    """(key of the claim, key of the acknowledgements)."""
    salt = hashlib.sha256(framed(*bound(message))).digest()
    secret = hmac.digest(salt, shared, "sha256")
    labels = (b"volly-pq-signaling-v1/claim", b"volly-pq-signaling-v1/acknowledge")
    claim, acknowledge = (hmac.digest(secret, label + b"\1", "sha256") for label in labels)
    return claim, acknowledge


def proof(message: dict[int, Any], registration: bytes = REGISTRATION) -> dict[int, Any]:
    parts = framed(b"volly-fed mailbox claim v1\0", *bound(message), MAILBOX, registration)
    return {0: 0x22, 1: message[1], 2: hmac.digest(keys(message)[0], parts, "sha256"), 3: registration}


def answers() -> Vectors:
    """The device's side."""
    given = {"seed": SEED.hex(), "registration": REGISTRATION.hex(), "domain": HOME, "edge": EDGE.hex(), "now": NOW}
    rows: list[tuple[str, dict[int, Any], dict[str, Any]]] = [
        ("plain", challenge(), {}),
        ("clock-ahead", challenge(), {"now": NOW + 360}),
        ("clock-behind", challenge(), {"now": NOW - 100_000}),
        ("nothing-is-let-in", challenge(), {"registration": cbor([1, []]).hex()}),
    ]
    cases = []
    for name, message, changes in rows:
        settings = given | changes
        made = proof(message, bytes.fromhex(str(settings["registration"])))
        accept = {"mailbox": MAILBOX.hex(), "shared": SHARED.hex(), "proof": cbor(made).hex()}
        accept |= {"claim_key": keys(message)[0].hex(), "acknowledge_key": keys(message)[1].hex()}
        cases.append(case(name, settings | {"challenge": cbor(message).hex()}, accept=accept))
    bad: list[tuple[str, dict[int, Any], dict[str, Any], str]] = [
        ("another-domain", challenge(domain="other.example"), {}, "WRONG_NAME"),
        ("another-edge", challenge(edge=bytes(32)), {}, "WRONG_NAME"),
        ("expired", challenge(), {"now": NOW + 361}, "EXPIRED"),
        ("unusable-x25519-half", challenge(ciphertext=CIPHERTEXT[:1088] + bytes(32)), {}, "MALFORMED"),
    ]
    for name, message, changes, code in bad:
        kind = "BadMessage" if code == "MALFORMED" else "RemoteError"
        settings = given | changes | {"challenge": cbor(message).hex()}
        flags = ["bound-to-the-edge"] if code == "WRONG_NAME" else []
        cases.append(case(name, settings, flags=flags, reject=rejected(code, kind)))
    notes = {"bound-to-the-edge": "an edge that passes on another edge's challenge must get no proof"}
    return vectors("edge", "claim-answer", "16 17", cases, notes)


def proofs() -> Vectors:
    """The homeserver's side, which knows the shared secret from encapsulating."""
    message = challenge()
    good = proof(message)
    given = {"shared": SHARED.hex(), "mailbox": MAILBOX.hex(), "challenge": cbor(message).hex(), "now": NOW}
    accept = {"acknowledge_key": keys(message)[1].hex(), "grants": 2}
    cases = [
        case("plain", given | {"proof": cbor(good).hex()}, accept=accept),
        case("at-the-last-moment", given | {"proof": cbor(good).hex(), "now": NOW + 60}, accept=accept),
    ]
    junk = b"rubbish"
    bad: list[tuple[str, dict[int, Any], int, str]] = [
        ("late", good, NOW + 61, "BAD_PROOF"),
        ("altered-mac", good | {2: bytes(32)}, NOW, "BAD_PROOF"),
        ("altered-registration", good | {3: cbor([1, [[H1, ["*"]]]])}, NOW, "BAD_PROOF"),
        ("for-another-nonce", proof(challenge(nonce=bytes(32))), NOW, "BAD_PROOF"),
        ("for-another-domain", proof(challenge(domain="other.example")), NOW, "BAD_PROOF"),
        ("for-another-edge", proof(challenge(edge=bytes(32))), NOW, "BAD_PROOF"),
        ("for-another-expiry", proof(challenge(expiry=NOW + 59)), NOW, "BAD_PROOF"),
        ("unreadable-registration", proof(message, junk), NOW, "MALFORMED"),
    ]
    for name, shown, now, code in bad:
        kind = "BadMessage" if code == "MALFORMED" else "RemoteError"
        cases.append(case(name, given | {"proof": cbor(shown).hex(), "now": now}, reject=rejected(code, kind)))
    return vectors("edge", "claim-proof", "19", cases)


def acknowledgements() -> Vectors:
    key = keys(challenge())[1]
    ids = [expand(f"id {n}", 16) for n in range(3)]
    frames = [expand(f"envelope {n}", 40) for n in range(3)]
    digests = [hashlib.sha256(frame).digest() for frame in frames]

    def acknowledge(numbers: list[int], *, of: list[bytes] = digests, mailbox: bytes = MAILBOX) -> dict[int, Any]:
        some, hashes = [ids[n] for n in numbers], [of[n] for n in numbers]
        parts = framed(b"volly-fed acknowledge v1\0", mailbox, b"".join(some), b"".join(hashes))
        return {0: 0x25, 1: mailbox, 2: some, 3: hmac.digest(key, parts, "sha256")}

    given = {
        "key": key.hex(),
        "delivered": [{"id": ids[n].hex(), "envelope": frames[n].hex()} for n in range(2)],
    }
    good = {"both": [0, 1], "in-another-order": [1, 0], "one": [1], "none": []}
    cases = [
        case(
            name,
            given | {"acknowledge": cbor(acknowledge(numbers)).hex()},
            accept={"deleted": [ids[n].hex() for n in numbers]},
        )
        for name, numbers in good.items()
    ]
    bad = {
        "never-delivered": acknowledge([2]),
        "one-of-them-never-delivered": acknowledge([0, 2]),
        "twice": acknowledge([0, 0]),
        "altered-on-the-way": acknowledge([0], of=[bytes(32)] * 3),
        "another-id": acknowledge([0]) | {2: [ids[1]]},
        "made-by-the-edge": acknowledge([0]) | {3: bytes(32)},
        "another-mailbox": acknowledge([0]) | {1: bytes(32)},
    }
    for name, message in bad.items():
        flags = ["digest-under-the-mac"] if name == "altered-on-the-way" else []
        refused = rejected("BAD_PROOF", "RemoteError")
        cases.append(case(name, given | {"acknowledge": cbor(message).hex()}, flags=flags, reject=refused))
    notes = {"digest-under-the-mac": "an edge that alters an envelope must not get the original deleted"}
    return vectors("edge", "acknowledge", "28", cases, notes)


ALL: dict[str, Callable[[], Vectors]] = {
    "registration": registrations,
    "claim-answer": answers,
    "claim-proof": proofs,
    "acknowledge": acknowledgements,
    "edge-node": steps_of_an_edge,
}


if __name__ == "__main__":
    for each, make in ALL.items():
        write("edge", each, make())
