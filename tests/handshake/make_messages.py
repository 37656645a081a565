"""The messages of the vectors, right and wrong ones, and what those prove.

in: the recorded run; out: bytes by name, and the file messages.json.
What is signed comes from the plain formulas below, not from the package that is tested. Signatures are never the same
twice: those that are in messages.json already, and hold, stay.
"""

import hashlib
import json
from functools import cache
from typing import Any

from tests.spec.run import RECORDING, A, B, Server, recording
from volly_fed.crypto.signature import BadSignature, verify_identity
from volly_fed.wire import codec

FOLDER = RECORDING.parent
RUN = recording()
M_NAME = "m.example"
CONTEXT = b"volly-fed/s2s-auth/v1"
FULL = [1, 2]
Vectors = dict[str, Any]
Fields = dict[int, Any]


def channel() -> dict[str, str]:
    """The run's channel as the dialler sees it."""
    return {
        "exporter_dialler": RUN["exporters"]["1"],
        "exporter_listener": RUN["exporters"]["2"],
        "alpn": RUN["alpn"],
        "group": RUN["group"],
        "dialler_spki_sha256": RUN["dialler"]["spki_sha256"],
        "listener_spki_sha256": RUN["listener"]["spki_sha256"],
    }


def v(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def transcript(role: str, on: dict[str, str], dialler: bytes, listener: bytes) -> bytes:
    """What `role` signs, by the formula of the specification."""
    digests = [bytes.fromhex(on[f"{end}_spki_sha256"]) for end in ("dialler", "listener")]
    if role == "listener":
        digests.reverse()
    return b"".join(
        (
            b"volly-fed s2s hybrid authentication v1\0",
            b"\x01" if role == "dialler" else b"\x02",
            bytes.fromhex(on[f"exporter_{role}"]),
            v(2, on["alpn"].encode()),
            v(2, on["group"].encode()),
            *digests,
            hashlib.sha256(b"volly-fed hello v1\0" + v(4, dialler) + v(4, listener)).digest(),
        )
    )


# --- messages ------------------------------------------------------------------------------------------------------


def hello(own: Server, wanted: Server, **changes: Any) -> bytes:
    names = {"versions": 1, "own": 2, "wanted": 3, "identity": 4, "nonce": 5, "extensions": 6}
    fields: Fields = {
        0: 1,
        1: [1, 1],
        2: own.name,
        3: wanted.name,
        4: own.identity.public,
        5: own.draw("nonce", 32),
        6: {},
    }
    fields |= {names[name]: value for name, value in changes.items()}
    return codec.encode(fields)


@cache
def _kept() -> dict[str, bytes]:
    path = FOLDER / "messages.json"
    cases = json.loads(path.read_text())["cases"] if path.exists() else []
    return {case["id"]: bytes.fromhex(case["given"]["message"]) for case in cases}


def auth(name: str, own: Server, signed: bytes, context: bytes = CONTEXT, statement: bytes = b"") -> bytes:
    """AUTH over `signed`: the one there is, if its signature holds."""

    def of(signature: bytes) -> bytes:
        fields: Fields = {0: 2, 1: signature} | ({2: statement} if statement else {})
        return codec.encode(fields)

    kept = _kept().get(name, b"")
    signature = kept[7 : 7 + 3373]
    try:
        verify_identity(own.identity.public, signature, signed, context)
    except BadSignature:
        signature = own.identity.sign(signed, context)
    return of(signature)


def recorded(who: str, what: str) -> bytes:
    [message] = [sent["message"] for sent in RUN["sent"] if (sent["from"], sent["what"]) == (who, what)]
    return bytes.fromhex(message)


@cache
def messages() -> dict[str, bytes]:
    """By name; all of them are well-formed."""
    rich = {"versions": [1, 2], "extensions": {7: b"on", 0x1A1A: b""}}
    made = {f"{who}-{what}": recorded(who, what) for who in ("dialler", "listener") for what in ("hello", "auth")}
    made["rich-dialler-hello"] = hello(A, B, **rich)
    made["rich-listener-hello"] = hello(B, A, **rich)
    rich_hellos = made["rich-dialler-hello"], made["rich-listener-hello"]
    for who, server in (("dialler", A), ("listener", B)):
        name = f"rich-{who}-auth"
        made[name] = auth(name, server, transcript(who, channel(), *rich_hellos))
    made["mixed-dialler-auth"] = auth(
        "mixed-dialler-auth", A, transcript("dialler", channel(), made["rich-dialler-hello"], made["listener-hello"])
    )
    made["mixed-listener-auth"] = auth(
        "mixed-listener-auth", B, transcript("listener", channel(), made["rich-dialler-hello"], made["listener-hello"])
    )
    hellos = made["dialler-hello"], made["listener-hello"]
    signed = transcript("dialler", channel(), *hellos)
    made["dialler-auth-other-context"] = auth("dialler-auth-other-context", A, signed, b"volly-fed/content/v1")
    made["dialler-auth-by-listener-key"] = auth("dialler-auth-by-listener-key", B, signed)
    made["dialler-auth-with-statement"] = auth("dialler-auth-with-statement", A, signed, statement=b"not read here")
    made["probe-hello"] = hello(A, B, extensions={1: b""})
    made["unknown-field-hello"] = codec.encode(codec.decode(hello(A, B)) | {99: [b"news", {1: True}]})  # type: ignore[operator] # a map
    made["extension-hello"] = hello(A, B, extensions={7: b"on"})
    made["versions-2-hello"] = hello(A, B, versions=[2, 3])
    made["versions-reversed-hello"] = hello(A, B, versions=[2, 1])
    made["own-identity-hello"] = hello(A, B, identity=B.identity.public)
    made["refuse-busy"] = codec.encode({0: 3, 1: 6, 2: "too many", 3: 30})
    made["refuse-unknown-code"] = codec.encode({0: 3, 1: 999, 2: ""})
    made["ping"] = codec.encode({0: 0x14, 1: 1})
    return made


def malformed() -> dict[str, tuple[bytes, str]]:
    """Not messages, with the code that answers them."""
    good = messages()["dialler-hello"]
    fields: Any = codec.decode(good)

    def changed(number: int, value: Any) -> bytes:
        return codec.encode(fields | {number: value})

    wide = dict.fromkeys(range(17), b"")
    cases = {
        "empty": b"",
        "cut": good[:-1],
        "one-byte-more": good + b"\0",
        "not-a-map": codec.encode([1]),
        "not-shortest": good.replace(b"\x01\x82\x01\x01", b"\x01\x82\x18\x01\x01", 1),
        "no-nonce": codec.encode({n: f for n, f in fields.items() if n != 5}),
        "short-nonce": changed(5, bytes(31)),
        "short-identity": changed(4, bytes(1983)),
        "identity-as-text": changed(4, "x" * 1984),
        "one-version": changed(1, [1]),
        "own-in-capitals": changed(2, "A.example"),
        "own-with-final-dot": changed(2, "a.example."),
        "own-not-ascii": changed(2, "ä.example"),
        "own-empty": changed(2, ""),
        "seventeen-extensions": changed(6, wide),
        "long-extension": changed(6, {7: bytes(1025)}),
        "too-long": changed(99, bytes(16384)),
        "short-signature": codec.encode({0: 2, 1: bytes(3372)}),
        "long-statement": codec.encode({0: 2, 1: bytes(3373), 2: bytes(12289)}),
        "refuse-with-control-characters": codec.encode({0: 3, 1: 6, 2: "a\x1b[31m"}),
        "refuse-of-513-characters": codec.encode({0: 3, 1: 6, 2: "x" * 513}),
    }
    found = {name: (data, "MALFORMED") for name, data in cases.items()}
    found["unknown-type"] = (changed(0, 0x0F), "UNEXPECTED")
    found["type-as-text"] = (changed(0, "1"), "UNEXPECTED")
    return found


def plain(value: Any) -> Any:
    """CBOR as JSON: byte strings as text `h'…'`."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'" if len(value) <= 64 else f"SHA-256 {hashlib.sha256(value).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def message_file() -> Vectors:
    cases = [
        case(name, {"message": data.hex()}, accept={"fields": plain(codec.decode(data))})
        for name, data in messages().items()
    ]
    cases += [
        case(name, {"message": data.hex()}, reject={"class": "BadMessage", "code": code})
        for name, (data, code) in malformed().items()
    ]
    return document("handshake-message", cases, [3, 4])


def case(identity: str, given: Vectors, **expect: Vectors) -> Vectors:
    return {"id": identity, "flags": [], "given": given, "expect": expect}


def document(kind: str, cases: list[Vectors], covers: list[int], notes: dict[str, str] | None = None) -> Vectors:
    """A file; `covers` are the numbers of the requirements that it shows."""
    shown = [f"handshake-{number}" for number in covers]
    return {"spec": "handshake v1", "kind": kind, "covers": shown, "notes": notes or {}, "cases": cases}
