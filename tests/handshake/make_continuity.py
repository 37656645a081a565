"""Statements of continuity, right and wrong ones.

in: the keys of the recorded run; out: the file continuity.json. Signatures are never the same twice: those statements
that are in the file already, and hold, stay.
"""

import json
from typing import Any

from tests.handshake.make_messages import FOLDER, Vectors, case, document
from tests.spec.run import NOW, A, B, Server
from volly_fed.crypto.signature import BadSignature, fingerprint, verify_identity
from volly_fed.wire import codec

DAY = 86400
STATEMENT = {0: 1, 1: A.name, 2: NOW, 3: NOW, 4: NOW + 90 * DAY}
LABELS = (
    b"volly-fed identity continuity, by the old key v1\0",
    b"volly-fed identity continuity, by the new key v1\0",
)
CONTINUITY_CONTEXT = b"volly-fed/continuity/v1"


class _Signer:
    """Statements from the file that is there, where their signatures hold."""

    def __init__(self) -> None:
        path = FOLDER / "continuity.json"
        cases = json.loads(path.read_text())["cases"] if path.exists() else []
        self.kept = {m["id"]: bytes.fromhex(m["given"]["statement"]) for m in cases if "statement" in m["given"]}

    def make(self, name: str, body: bytes, keys: tuple[Server, Server], labels: tuple[bytes, bytes] = LABELS) -> bytes:
        if name in self.kept:
            try:
                decoded: Any = codec.decode(self.kept[name])
                kept, *signatures = decoded
                for key, signature, label in zip(keys, signatures, labels, strict=True):
                    verify_identity(key.identity.public, signature, label + body, CONTINUITY_CONTEXT)
                if kept == body:
                    return self.kept[name]
            except (BadSignature, TypeError, ValueError):
                pass
        signed = [k.identity.sign(lb + body, CONTINUITY_CONTEXT) for k, lb in zip(keys, labels, strict=True)]
        return codec.encode([body, *signed])


def continuity_file() -> Vectors:
    new = Server("a.example new", "2001:db8:a::1")
    signer = _Signer()
    cases: list[Vectors] = []
    pair = (A, new)

    def body(**changes: Any) -> bytes:
        numbers = {
            "version": 0,
            "domain": 1,
            "sequence": 2,
            "not_before": 3,
            "not_after": 4,
            "old": 5,
            "new": 6,
            "more": 9,
        }
        fields: dict[int, Any] = STATEMENT | {5: A.identity.public, 6: new.identity.public}
        return codec.encode(fields | {numbers[name]: value for name, value in changes.items()})

    right = {"domain": A.name, "now": NOW, "last_sequence": 0}
    right |= {"pinned": fingerprint(A.identity.public).hex(), "published": fingerprint(new.identity.public).hex()}

    def add(name: str, data: bytes, expect: Vectors, **changes: Any) -> None:
        shown = {"of": "good"} if name != "good" and data == good else {"statement": data.hex()}
        cases.append(case(name, shown | right | changes, **expect))

    good = signer.make("good", body(), pair)
    says: Vectors = {"accept": {"old": right["pinned"], "new": right["published"], "sequence": NOW, "proves": True}}
    add("good", good, says)
    add("unknown-field", signer.make("unknown-field", body(more=b"signed too"), pair), says)
    changes: dict[str, Vectors] = {
        "another-domain": {"domain": B.name},
        "pinned-to-another": {"pinned": "00" * 32},
        "another-published": {"published": "00" * 32},
        "not-yet": {"now": NOW - 301},
        "expired": {"now": NOW + 90 * DAY + 301},
        "sequence-used": {"last_sequence": NOW},
    }
    for name, change in changes.items():
        add(name, good, {"accept": says["accept"] | {"proves": False}}, **change)
    future = signer.make("sequence-in-the-future", body(sequence=NOW + 301), pair)
    proves_not = says["accept"] | {"proves": False, "sequence": NOW + 301}
    add("sequence-in-the-future", future, {"accept": proves_not})
    add(
        "skew",
        signer.make("skew", body(sequence=NOW + 300), pair),
        {"accept": says["accept"] | {"sequence": NOW + 300}},
    )
    bad = {"reject": {"class": "BadMessage", "code": "MALFORMED"}}
    wrong = {
        "version-2": body(version=2),
        "too-long-valid": body(not_after=NOW + 366 * DAY + 1),
        "never-valid": body(not_after=NOW),
        "no-change": body(new=A.identity.public),
        "domain-in-capitals": body(domain="A.example"),
    }
    for name, data in wrong.items():
        keys = (A, A) if name == "no-change" else pair
        add(name, signer.make(name, data, keys), bad)
    add("signatures-exchanged", signer.make("signatures-exchanged", body(), (new, A), (LABELS[1], LABELS[0])), bad)
    add("labels-exchanged", signer.make("labels-exchanged", body(), pair, (LABELS[1], LABELS[0])), bad)
    add("by-another-key", signer.make("by-another-key", body(), (A, B)), bad)
    add("flipped", good[:-1] + bytes([good[-1] ^ 1]), bad)
    return document("continuity", cases, [33, 35])
