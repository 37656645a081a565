"""Writes spec/vectors/crypto: `python -m tests.crypto.make_vectors`. A test compares what is there.

What is expected comes from tests/crypto/formulas. Signatures, ciphertexts and certificates differ each time they are
made, so one of each is recorded (recorded.json), and everything else follows from it: `… make_vectors record` makes
them anew.
"""

import base64
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.crypto import formulas as f
from tests.vectors import SPEC
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret

FOLDER: Final = SPEC / "vectors" / "crypto"
RECORDED: Final = Path(__file__).parent / "recorded.json"
Vectors = dict[str, Any]

A, B = f.expand("identity a", 64), f.expand("identity b", 64)
BOX, OTHER_BOX = f.expand("mailbox a", 32), f.expand("mailbox b", 32)
TLS: Final = f.expand("tls a", 32)
MESSAGE, CONTEXT = b"volly-fed, a message to be signed", b"volly-fed/vector/v1"
LONGEST: Final = b"c" * 255
INFO, AAD, TEXT = (
    b"volly-pq-signaling-v1",
    f.framed(f.expand("box", 32), b"a.example", bytes(16)),
    b"a body, not padded",
)
_DAY: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def record() -> dict[str, str]:
    """One of each of what differs each time."""
    classical = Ed25519PrivateKey.from_private_bytes(f.expand("classical", 32))
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, classical.public_key(), 1, _DAY, _DAY + datetime.timedelta(1))
    made = {
        "signature": f.sign(A, MESSAGE, CONTEXT),
        "by-b": f.sign(B, MESSAGE, CONTEXT),
        "empty": f.sign(A, b"", b""),
        "longest-context": f.sign(A, MESSAGE, LONGEST),
        "ciphertext": f.encapsulate(f.mailbox(BOX))[1],
        "sealed": f.seal(f.mailbox(BOX), TEXT, INFO, AAD),
        "sealed-nothing": f.seal(f.mailbox(BOX), b"", b"", b""),
        "certificate": TlsKey.from_seed(Secret(TLS)).self_signed("a.example", _DAY, datetime.timedelta(3650)),
        "classical": builder.sign(classical, None).public_bytes(Encoding.DER),
    }
    return {key: value.hex() for key, value in made.items()}


def recorded(key: str) -> bytes:
    return bytes.fromhex(json.loads(RECORDED.read_text(encoding="utf-8"))[key])


def vectors(kind: str, notes: dict[str, str], covers: list[int], cases: list[Vectors]) -> Vectors:
    ids = [f"crypto-{number}" for number in covers]
    return {"spec": "crypto v1", "kind": kind, "covers": ids, "notes": notes, "cases": cases}


def case(name: str, given: Vectors, *, flags: tuple[str, ...] = (), **expect: Any) -> Vectors:
    told = {key: value.hex() if isinstance(value, bytes) else value for key, value in given.items()}
    return {"id": name, "flags": list(flags), "given": told, "expect": expect}


def bad_signature() -> Vectors:
    return {"class": "BadSignature", "code": "BAD_SIGNATURE"}


def malformed() -> Vectors:
    return {"class": "BadMessage", "code": "MALFORMED"}


def flipped(data: bytes, at: int) -> bytes:
    damaged = bytearray(data)
    damaged[at] ^= 1
    return bytes(damaged)


def identities() -> Vectors:
    cases = []
    for name, seed in (("a", A), ("b", B), ("zeros", bytes(64)), ("counting", bytes(range(64)))):
        public = f.identity(seed)
        text = base64.urlsafe_b64encode(f.fingerprint(public)).decode().rstrip("=")
        made = {"public": public.hex(), "fingerprint": f.fingerprint(public).hex(), "text": text}
        cases.append(case(name, {"seed": seed}, accept=made))
    return vectors("crypto-identity", {}, [1, 6], cases)


def signatures() -> Vectors:
    notes = {
        "one-half": "both halves are checked: who breaks one algorithm must not be able to sign",
        "domain": "context and message are inside what both halves sign",
        "size": "a signature or key of another size is no signature, not a crash",
    }
    public, signature, by_b = f.identity(A), recorded("signature"), recorded("by-b")
    good = {"public": public, "context": CONTEXT, "message": MESSAGE, "signature": signature}
    accepted = {"fingerprint": f.fingerprint(public).hex()}
    rows: list[tuple[str, str, Vectors]] = [
        ("first-half-damaged", "one-half", {"signature": flipped(signature, 0)}),
        ("first-half-damaged-at-its-end", "one-half", {"signature": flipped(signature, 3308)}),
        ("second-half-damaged", "one-half", {"signature": flipped(signature, 3309)}),
        ("second-half-damaged-at-its-end", "one-half", {"signature": flipped(signature, 3372)}),
        ("first-half-of-another-signer", "one-half", {"signature": by_b[:3309] + signature[3309:]}),
        ("second-half-of-another-signer", "one-half", {"signature": signature[:3309] + by_b[3309:]}),
        ("another-signer", "one-half", {"signature": by_b}),
        ("key-of-two-owners", "one-half", {"public": public[:1952] + f.identity(B)[1952:]}),
        ("another-context", "domain", {"context": CONTEXT + b"x"}),
        ("no-context", "domain", {"context": b""}),
        ("another-message", "domain", {"message": MESSAGE + b"x"}),
        ("context-moved-into-message", "domain", {"context": CONTEXT[:-1], "message": CONTEXT[-1:] + MESSAGE}),
        ("halves-swapped", "size", {"signature": signature[3309:] + signature[:3309]}),
        ("one-byte-less", "size", {"signature": signature[:-1]}),
        ("one-byte-more", "size", {"signature": signature + b"\0"}),
        ("first-half-alone", "size", {"signature": signature[:3309]}),
        ("nothing", "size", {"signature": b""}),
        ("key-one-byte-less", "size", {"public": public[:-1]}),
    ]
    nothing = {"context": b"", "message": b"", "signature": recorded("empty")}
    whole_context = {"context": LONGEST, "signature": recorded("longest-context")}
    cases = [
        case("signed", good, accept=accepted),
        case("nothing-signed", good | nothing, accept=accepted),
        case("longest-context", good | whole_context, accept=accepted),
        *(case(name, good | change, flags=(flag,), reject=bad_signature()) for name, flag, change in rows),
    ]
    return vectors("crypto-signature", notes, [2, 3, 4], cases)


def mailboxes() -> Vectors:
    cases = []
    for name, seed in (("a", BOX), ("b", OTHER_BOX), ("zeros", bytes(32))):
        public = f.mailbox(seed)
        text = base64.b32encode(f.mailbox_id(public)).decode().rstrip("=").lower()
        made = {"public": public.hex(), "mailbox": f.mailbox_id(public).hex(), "text": text}
        cases.append(case(name, {"seed": seed}, accept=made))
    return vectors("crypto-mailbox", {}, [7, 8], cases)


def encapsulations() -> Vectors:
    notes = {"key-check": "an encapsulation to a key that is none gives away nothing, but must not be tried"}
    public = f.mailbox(BOX)
    second = public[1] & 0xF0  # four bits of the second coefficient
    rows = [
        ("one-byte-less", public[:-1]),
        ("one-byte-more", public + b"\0"),
        ("nothing", b""),
        ("coefficient-far-out-of-range", b"\xff\xff\xff" + public[3:]),
        ("coefficient-just-out-of-range", bytes([0x01, 0x0D | second]) + public[2:]),
        ("x25519-of-zeros", public[:1184] + bytes(32)),
        ("x25519-of-low-order", public[:1184] + b"\1" + bytes(31)),
    ]
    largest = {"public": bytes([0x00, 0x0D | second]) + public[2:]}
    cases = [
        case("right", {"public": public}, accept={"size": 1120}),
        case("largest-coefficient", largest, accept={"size": 1120}),
        *(case(name, {"public": data}, flags=("key-check",), reject=malformed()) for name, data in rows),
    ]
    return vectors("crypto-encapsulation", notes, [9], cases)


def decapsulations() -> Vectors:
    notes = {"implicit": "a ciphertext for another key gives an unrelated secret, not an error"}
    ciphertext = recorded("ciphertext")
    rows = [
        ("right", BOX, ciphertext, ()),
        ("of-another-mailbox", OTHER_BOX, ciphertext, ("implicit",)),
        ("first-half-damaged", BOX, flipped(ciphertext, 0), ("implicit",)),
        ("second-half-damaged", BOX, flipped(ciphertext, 1088), ("implicit",)),
    ]
    wrong = [
        ("one-byte-less", ciphertext[:-1]),
        ("one-byte-more", ciphertext + b"\0"),
        ("first-half-alone", ciphertext[:1088]),
        ("x25519-of-zeros", ciphertext[:1088] + bytes(32)),
        ("x25519-of-low-order", ciphertext[:1088] + b"\1" + bytes(31)),
    ]
    cases = [
        case(name, {"seed": seed, "ciphertext": data}, flags=flags, accept={"shared": f.decapsulate(seed, data).hex()})
        for name, seed, data, flags in rows
    ]
    cases += [case(name, {"seed": BOX, "ciphertext": data}, reject=malformed()) for name, data in wrong]
    return vectors("crypto-decapsulation", notes, [10, 11, 12], cases)


def sealings() -> Vectors:
    notes = {
        "bound": "info, additional data and recipient are all authenticated",
        "tag": "not one byte is released before the tag is right",
    }
    sealed = recorded("sealed")
    good = {"seed": BOX, "info": INFO, "aad": AAD, "sealed": sealed}
    rows: list[tuple[str, str, Vectors]] = [
        ("another-recipient", "bound", {"seed": OTHER_BOX}),
        ("another-info", "bound", {"info": INFO + b"."}),
        ("another-aad", "bound", {"aad": AAD + b"."}),
        ("no-aad", "bound", {"aad": b""}),
        ("tag-damaged", "tag", {"sealed": flipped(sealed, -1)}),
        ("text-damaged", "tag", {"sealed": flipped(sealed, 1120)}),
        ("cut-short", "tag", {"sealed": sealed[:-1]}),
        ("one-byte-more", "tag", {"sealed": sealed + b"\0"}),
        ("ciphertext-of-the-key-damaged", "tag", {"sealed": flipped(sealed, 5)}),
        ("no-text", "tag", {"sealed": sealed[:1136]}),
        ("shorter-than-any", "tag", {"sealed": sealed[:1135]}),
        ("nothing", "tag", {"sealed": b""}),
    ]
    nothing = good | {"info": b"", "aad": b"", "sealed": recorded("sealed-nothing")}
    cases = [
        case("sealed", good, accept={"plaintext": TEXT.hex()}),
        case("nothing-sealed", nothing, accept={"plaintext": ""}),
        *(case(name, good | change, flags=(flag,), reject=malformed()) for name, flag, change in rows),
    ]
    return vectors("crypto-hpke", notes, [13, 15], cases)


def schedules() -> Vectors:
    cases = []
    for name, shared, info in (
        ("root", f.expand("shared", 32), INFO),
        ("zeros", bytes(32), b""),
        ("other", bytes(32), INFO),
    ):
        key, nonce = f.key_schedule(shared, info)
        cases.append(case(name, {"shared": shared, "info": info}, accept={"key": key.hex(), "nonce": nonce.hex()}))
    return vectors("crypto-key-schedule", {}, [13], cases)


def derivations() -> Vectors:
    notes = {"framing": "no two lists of parts give the same bytes"}
    key, salt = f.expand("key", 32), f.expand("salt", 32)
    cases = [
        case(
            f"hkdf-{name}",
            {"function": "hkdf", "secret": key, "salt": used, "info": info, "size": size},
            accept={"output": f.hkdf(key, used, info, size).hex()},
        )
        for name, used, info, size in (
            ("claim-key", salt, b"volly-pq-signaling-v1/claim", 32),
            ("acknowledge-key", salt, b"volly-pq-signaling-v1/acknowledge", 32),
            ("no-salt", b"", b"", 32),
            ("three-blocks", salt, b"info", 80),
        )
    ]
    for name, parts in (("one", [b"ab"]), ("two", [b"a", b"b"]), ("with-an-empty-one", [b"ab", b""]), ("none", [])):
        given = {"function": "mac", "key": key.hex(), "parts": [part.hex() for part in parts]}
        cases.append(case(f"mac-{name}", given, flags=("framing",), accept={"output": f.mac(key, *parts).hex()}))
    for name, label in (
        ("identity", b"volly-fed identity v1\0"),
        ("mailbox", b"volly-fed mailbox v1\0"),
        ("capability", b"volly-fed capability v1\0"),
    ):
        given = {"function": "hash", "label": name.upper(), "parts": [key.hex()]}
        cases.append(case(f"hash-{name}", given, accept={"output": f.sha256(label + key).hex()}))
    return vectors("crypto-derivation", notes, [16, 17], cases)


def certificates() -> Vectors:
    key = TlsKey.from_seed(Secret(TLS))
    classical = Ed25519PrivateKey.from_private_bytes(f.expand("classical", 32)).public_key()
    spki = classical.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    rows = [("ml-dsa-65", recorded("certificate"), key.spki, True), ("ed25519", recorded("classical"), spki, False)]
    cases = [
        case(
            name, {"certificate": der}, accept={"spki": spki.hex(), "sha256": f.sha256(spki).hex(), "ml-dsa-65": right}
        )
        for name, der, spki, right in rows
    ]
    for name, der in (("nothing", b""), ("cut-short", recorded("classical")[:-1]), ("key-alone", spki)):
        cases.append(case(name, {"certificate": der}, reject=malformed()))
    return vectors("crypto-certificate", {}, [19], cases)


ALL: Final[dict[str, Callable[[], Vectors]]] = {
    "identity": identities,
    "signature": signatures,
    "mailbox": mailboxes,
    "encapsulation": encapsulations,
    "decapsulation": decapsulations,
    "hpke": sealings,
    "key-schedule": schedules,
    "derivation": derivations,
    "certificate": certificates,
}


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(ALL[name](), indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        RECORDED.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in ALL:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
