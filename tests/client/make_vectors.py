"""Writes spec/vectors/client: python -m tests.client.make_vectors. A test compares what is there.

Sealing is written out here (RFC 9180 with AES-256-GCM), under the one shared secret that a published ciphertext holds.
Signatures have randomness of their signer's: they are recorded, and made when a case is new.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.making import RECORDED, Vectors, case, cbor, expand, recorded, rejected, vectors, write
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey

XWING = recorded()
SEED, PUBLIC, CIPHERTEXT, SHARED = (XWING[f"xwing_{name}"] for name in ("seed", "public", "ciphertext", "shared"))
MAILBOX = hashlib.sha256(b"volly-fed mailbox v1\0" + PUBLIC).digest()
HOME, FAR = "home.example", "far.example"
ALICE = IdentityKey.from_seed(Secret(expand("alice", 64)))
MALLORY = IdentityKey.from_seed(Secret(expand("mallory", 64)))
IDENTITY, CAPABILITY = expand("envelope", 16), expand("capability", 16)
NOW = 1_800_000_000
ROOM = [size - 1 - 1136 - 4 for size in (1024, 2048, 4096, 8192, 16384, 32768, 65536)]
"""Of the bodies' sizes, what a version byte, HPKE and a length leave."""


def fingerprint(key: IdentityKey) -> bytes:
    return hashlib.sha256(b"volly-fed identity v1\0" + key.public).digest()


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


# --- cards ---------------------------------------------------------------------------------------------------------


def card(**changes: Any) -> list[Any]:
    fields = {
        "version": 1,
        "domain": FAR,
        "key": PUBLIC,
        "capability": CAPABILITY,
        "identity": fingerprint(ALICE),
        "name": "Alice",
    }
    return [*(fields | changes).values()]


def spelled(value: object) -> str:
    return "volly:" + base64.urlsafe_b64encode(cbor(value)).decode().rstrip("=")


def cards() -> Vectors:
    cases = []
    for name, fields in {
        "plain": card(),
        "no-name": card(name=""),
        "longest-name": card(name="\u00e4" * 64),
        "another-domain": card(domain="xn--bcher-kva.example"),
    }.items():
        accept = {
            "domain": fields[1],
            "mailbox": hashlib.sha256(b"volly-fed mailbox v1\0" + fields[2]).hexdigest(),
            "capability": fields[3].hex(),
            "identity": fields[4].hex(),
            "name": fields[5],
        }
        cases.append(case(name, {"text": spelled(fields)}, accept=accept))
        if name == "plain":
            cases.append(case("white-space-around", {"text": f" \n{spelled(fields)}\n"}, accept=accept))
    plain = spelled(card())
    for name, text in {
        "empty": "",
        "another-scheme": plain.replace("volly:", "folly:"),
        "cut-off": plain[:-1],
        "padded": plain + "=",
        "longer": plain + "A",
        "not-base64url": plain[:50] + "!" + plain[51:],
        "base64-of-the-other-kind": plain[:50] + "+" + plain[51:],
        "white-space-inside": plain[:50] + " " + plain[50:],
        "another-version": spelled(card(version=2)),
        "domain-not-canonical": spelled(card(domain="Far.example")),
        "short-key": spelled(card(key=PUBLIC[:-1])),
        "short-capability": spelled(card(capability=CAPABILITY[:-1])),
        "short-identity": spelled(card(identity=bytes(31))),
        "name-too-long": spelled(card(name="a" * 65)),
        "name-with-control-characters": spelled(card(name="a\x1b[2Jb")),
        "field-too-many": spelled([*card(), 1]),
        "not-deterministic": "volly:" + base64.urlsafe_b64encode(b"\x98\x06" + cbor(card())[1:]).decode().rstrip("="),
    }.items():
        cases.append(case(name, {"text": text}, reject=rejected("MALFORMED")))
    return vectors("client", "card-codec", "1 2 3", cases)


# --- sealed contents -----------------------------------------------------------------------------------------------

SUITE = b"HPKE" + bytes.fromhex("647a00010002")


def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + SUITE + label + material, "sha256")


def expand_one(key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + SUITE + label + info
    return hmac.digest(key, labelled + b"\1", "sha256")[:size]


def hpke(plaintext: bytes, aad: bytes) -> bytes:
    """The ciphertext of the key, then of the text."""
    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", b"volly-pq-signaling-v1")
    secret = extract(SHARED, b"secret", b"")
    key, nonce = expand_one(secret, b"key", context, 32), expand_one(secret, b"base_nonce", context, 12)
    return CIPHERTEXT + AESGCM(key).encrypt(nonce, plaintext, aad)


def padded(inner: bytes) -> bytes:
    room = next(room for room in ROOM if room >= len(inner))
    return len(inner).to_bytes(4, "big") + inner.ljust(room, b"\0")


def signature(key: IdentityKey, content: bytes, *, mailbox: bytes, domain: str) -> bytes:
    """By `key` over what is signed: recorded, or else made and recorded."""
    message = b"volly-fed content v1\0" + framed(mailbox, domain.encode(), IDENTITY, content)
    name = "signature_" + hashlib.sha256(key.public + message).hexdigest()[:16]
    known = recorded()
    if name not in known:
        known[name] = key.sign(message, b"volly-fed/content/v1")
        text = json.dumps({each: value.hex() for each, value in known.items()}, indent=1)
        RECORDED.write_text(text + "\n", encoding="utf-8")
    return known[name]


def inner(content: bytes, *, signer: IdentityKey = ALICE, mailbox: bytes = MAILBOX, domain: str = HOME) -> bytes:
    return cbor([signer.public, signature(signer, content, mailbox=mailbox, domain=domain), content])


def forged(content: bytes) -> bytes:
    """Signed by Alice, under Mallory's key."""
    return cbor([MALLORY.public, signature(ALICE, content, mailbox=MAILBOX, domain=HOME), content])


def envelope(plaintext: bytes, *, version: bytes = b"\1", urgency: int = 1, **changes: Any) -> bytes:
    fields = {
        "mailbox": MAILBOX,
        "domain": HOME,
        "id": IDENTITY,
        "expiry": NOW,
        "class": urgency,
        "capability": CAPABILITY,
    }
    bound = framed(MAILBOX, HOME.encode(), IDENTITY)
    return cbor([1, *(fields | changes).values(), version + hpke(plaintext, bound)])


def content(kind: int, payload: bytes, *, reply: bytes = b"", version: int = 1) -> bytes:
    return cbor([version, NOW, reply, kind, payload])


REPLY = cbor(card())
TEXT = content(1, "Gr\u00fc\u00dfe".encode(), reply=REPLY)


def contents() -> Vectors:
    key = expand("presence key", 32)
    given = {"seed": SEED.hex(), "domain": HOME}
    opened: dict[str, Any] = {"sender": fingerprint(ALICE).hex(), "sent_at": NOW, "reply": "", "id": IDENTITY.hex()}
    opened["key"] = hashlib.sha256(b"volly-fed message v1\0" + fingerprint(ALICE) + IDENTITY).hexdigest()
    sealed = padded(inner(TEXT))
    text = envelope(sealed)
    handed = content(2, cbor([7, key, 1]))
    cases = [
        case(
            "text-and-a-card",
            given | {"envelope": text.hex()},
            accept=opened | {"text": "Gr\u00fc\u00dfe", "reply": REPLY.hex()},
        ),
        case(
            "data",
            given | {"envelope": envelope(padded(inner(content(0, b"\0\xff")))).hex()},
            accept=opened | {"data": "00ff"},
        ),
        case(
            "presence-key",
            given | {"envelope": envelope(padded(inner(handed))).hex()},
            accept=opened | {"presence": {"serial": 7, "key": key.hex(), "wants": True}},
        ),
        case(
            "outer-fields-changed-on-the-way",
            given | {"envelope": envelope(sealed, expiry=NOW + 5, capability=bytes(16), urgency=0).hex()},
            accept=opened | {"text": "Gr\u00fc\u00dfe", "reply": REPLY.hex()},
        ),
    ]
    length = len(inner(TEXT))
    half = bytearray(inner(TEXT))
    half[-len(TEXT) - 10] ^= 1  # in the Ed25519 half of the signature
    bad: list[tuple[str, bytes, Vectors, str]] = [
        ("another-mailbox", envelope(sealed, mailbox=bytes(32)), {}, "MALFORMED"),
        ("another-domain", text, {"domain": FAR}, "MALFORMED"),
        ("another-id", envelope(sealed, id=bytes(16)), {}, "MALFORMED"),
        ("another-key", text, {"seed": bytes(32).hex()}, "MALFORMED"),
        ("another-body-version", envelope(sealed, version=b"\2"), {}, "MALFORMED"),
        ("altered", text[:-1] + bytes([text[-1] ^ 1]), {}, "MALFORMED"),
        ("padding-not-zeros", envelope(sealed[:-1] + b"\1"), {}, "MALFORMED"),
        ("length-beyond-the-end", envelope(b"\xff" + sealed[1:]), {}, "MALFORMED"),
        ("length-too-short", envelope((length - 1).to_bytes(4, "big") + sealed[4:]), {}, "MALFORMED"),
        ("another-signer-named", envelope(padded(forged(TEXT))), {}, "BAD_SIGNATURE"),
        ("one-half-of-the-signature", envelope(padded(bytes(half))), {}, "BAD_SIGNATURE"),
        ("meant-for-another-mailbox", envelope(padded(inner(TEXT, mailbox=bytes(32)))), {}, "BAD_SIGNATURE"),
        ("meant-for-another-domain", envelope(padded(inner(TEXT, domain=FAR))), {}, "BAD_SIGNATURE"),
        ("card-of-another", envelope(padded(inner(TEXT, signer=MALLORY))), {}, "BAD_SIGNATURE"),
        ("another-content-version", envelope(padded(inner(content(1, b"", version=2)))), {}, "MALFORMED"),
        ("unknown-kind", envelope(padded(inner(content(3, b"")))), {}, "MALFORMED"),
        ("text-not-utf-8", envelope(padded(inner(content(1, b"\xff")))), {}, "MALFORMED"),
        ("presence-key-too-short", envelope(padded(inner(content(2, cbor([7, key[:-1], 0]))))), {}, "MALFORMED"),
        ("no-signature-at-all", envelope(padded(TEXT)), {}, "MALFORMED"),
    ]
    for name, data, changes, code in bad:
        flags = ["passed-on"] if name.startswith("meant-for") else []
        settings = given | changes | {"envelope": data.hex()}
        kind = "BadMessage" if code == "MALFORMED" else "BadSignature"
        cases.append(case(name, settings, flags=flags, reject=rejected(code, kind)))
    notes = {"passed-on": "a recipient must not be able to pass on what was signed for it as meant for somebody else"}
    return vectors("client", "sealed-content", "7 9 11", cases, notes)


# --- from hand to hand ----------------------------------------------------------------------------------------------


def by_hand() -> Vectors:
    key = expand("presence key", 32)
    plain = content(2, cbor([7, key, 1]))
    sealed = padded(inner(plain))
    handed = envelope(sealed)
    given = {"seed": SEED.hex(), "domain": HOME, "now": NOW + 648_000}
    accept = {"sender": fingerprint(ALICE).hex(), "presence": {"serial": 7, "key": key.hex(), "wants": True}}
    right = line(handed)
    cases = [
        case("a-key", given | {"text": right}, accept=accept),
        case("white-space-around", given | {"text": f" \n{right}\n"}, accept=accept),
        case("expiry-over", given | {"text": line(envelope(sealed, expiry=NOW - 1))}, accept=accept),
    ]
    message = envelope(padded(inner(TEXT)))
    for name, text, changes in (
        ("empty", "", {}),
        ("another-scheme", right.replace("sealed", "saeled"), {}),
        ("a-card", spelled(card()), {}),
        ("cut-off", right[:-1], {}),
        ("padded", right + "=", {}),
        ("white-space-inside", right[:50] + " " + right[50:], {}),
        ("base64-of-the-other-kind", right[:50] + "+" + right[51:], {}),
        ("too-long", line(handed + bytes(4096)), {}),
        ("no-envelope", line(cbor(1)), {}),
        ("bytes-after-the-envelope", line(handed + b"\0"), {}),
        ("another-device", right, {"seed": bytes(32).hex()}),
        ("another-domain", right, {"domain": FAR}),
        ("a-message", line(message), {}),
        ("sealed-too-long-ago", right, {"now": NOW + 648_001}),
    ):
        cases.append(case(name, given | changes | {"text": text}, reject=rejected("MALFORMED")))
    cases.append(
        case(
            "another-signer-named",
            given | {"text": line(envelope(padded(forged(plain))))},
            reject=rejected("BAD_SIGNATURE", "BadSignature"),
        )
    )
    return vectors("client", "sealed-by-hand", "21 22 23", cases)


def line(data: bytes) -> str:
    return "volly-sealed:" + base64.urlsafe_b64encode(data).decode().rstrip("=")


ALL: dict[str, Callable[[], Vectors]] = {"card": cards, "content": contents, "by-hand": by_hand}


if __name__ == "__main__":
    for each, make in ALL.items():
        write("client", each, make())
