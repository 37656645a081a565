"""The vectors of crypto: keys, signatures, encapsulation, sealing, derivations, certificates."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.vectors import registry
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.certificate import is_mldsa65, spki_of
from volly_fed.crypto.hpke import key_schedule
from volly_fed.crypto.kdf import digest, hkdf_sha256, mac
from volly_fed.crypto.kem import MailboxKey, encapsulate, hpke_open, mailbox_id
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint, verify_identity
from volly_fed.errors import RemoteError
from volly_fed.names import fingerprint_text, mailbox_text, parse_fingerprint, parse_mailbox

Case = dict[str, Any]


def outcome(do: Callable[[], Case]) -> Case:
    """What a vector expects, as it came out."""
    try:
        return {"accept": do()}
    except RemoteError as error:
        return {"reject": {"class": type(error).__name__, "code": ErrorCode(error.code).name}}


def check_identity(given: Case, expect: Case) -> None:
    """Kind `crypto-identity`."""
    key = IdentityKey.from_seed(Secret(bytes.fromhex(given["seed"])))
    made = fingerprint(key.public)
    assert expect == {"accept": {"public": key.public.hex(), "fingerprint": made.hex(), "text": fingerprint_text(made)}}
    assert parse_fingerprint(expect["accept"]["text"]) == made
    assert verify_identity(key.public, key.sign(b"message", b"context"), b"message", b"context") == made


def check_signature(given: Case, expect: Case) -> None:
    """Kind `crypto-signature`."""
    public, signature, message, context = (
        bytes.fromhex(given[k]) for k in ("public", "signature", "message", "context")
    )
    assert outcome(lambda: {"fingerprint": verify_identity(public, signature, message, context).hex()}) == expect


def check_mailbox(given: Case, expect: Case) -> None:
    """Kind `crypto-mailbox`."""
    key = MailboxKey.from_seed(Secret(bytes.fromhex(given["seed"])))
    made = mailbox_id(key.public)
    assert expect == {"accept": {"public": key.public.hex(), "mailbox": made.hex(), "text": mailbox_text(made)}}
    assert parse_mailbox(expect["accept"]["text"]) == made


def check_encapsulation(given: Case, expect: Case) -> None:
    """Kind `crypto-encapsulation`."""
    assert outcome(lambda: {"size": len(encapsulate(bytes.fromhex(given["public"]))[1])}) == expect


def check_decapsulation(given: Case, expect: Case) -> None:
    """Kind `crypto-decapsulation`."""
    key = MailboxKey.from_seed(Secret(bytes.fromhex(given["seed"])))
    ciphertext = bytes.fromhex(given["ciphertext"])
    assert outcome(lambda: {"shared": key.decapsulate(ciphertext).reveal().hex()}) == expect


def check_hpke(given: Case, expect: Case) -> None:
    """Kind `crypto-hpke`."""
    key = MailboxKey.from_seed(Secret(bytes.fromhex(given["seed"])))
    sealed, info, aad = (bytes.fromhex(given[name]) for name in ("sealed", "info", "aad"))
    assert outcome(lambda: {"plaintext": hpke_open(key, sealed, info, aad).hex()}) == expect


def check_key_schedule(given: Case, expect: Case) -> None:
    """Kind `crypto-key-schedule`."""
    key, nonce = key_schedule(Secret(bytes.fromhex(given["shared"])), bytes.fromhex(given["info"]))
    assert expect == {"accept": {"key": key.reveal().hex(), "nonce": nonce.hex()}}


def check_derivation(given: Case, expect: Case) -> None:
    """Kind `crypto-derivation`."""
    assert expect == {"accept": {"output": _derived(**given).hex()}}


def _derived(*, function: str, **given: Any) -> bytes:
    parts = [bytes.fromhex(part) for part in given.get("parts", ())]
    if function == "hkdf":
        secret, salt, info = (bytes.fromhex(given[name]) for name in ("secret", "salt", "info"))
        return hkdf_sha256(Secret(secret), salt=salt, info=info, size=given["size"]).reveal()
    if function == "mac":
        return mac(Secret(bytes.fromhex(given["key"])), *parts)
    assert function == "hash"
    (label,) = (entry["hex"] for entry in registry("labels") if entry["name"] == given["label"])
    return digest(bytes.fromhex(label), *parts)


def check_certificate(given: Case, expect: Case) -> None:
    """Kind `crypto-certificate`."""
    der = bytes.fromhex(given["certificate"])

    def read() -> Case:
        spki = spki_of(der)
        return {"spki": spki.hex(), "sha256": digest(b"", spki).hex(), "ml-dsa-65": is_mldsa65(der)}

    assert outcome(read) == expect
    if "reject" in expect:
        with pytest.raises(RemoteError):
            spki_of(der)
        assert not is_mldsa65(der)


CONSUMERS = {
    "crypto-identity": check_identity,
    "crypto-signature": check_signature,
    "crypto-mailbox": check_mailbox,
    "crypto-encapsulation": check_encapsulation,
    "crypto-decapsulation": check_decapsulation,
    "crypto-hpke": check_hpke,
    "crypto-key-schedule": check_key_schedule,
    "crypto-derivation": check_derivation,
    "crypto-certificate": check_certificate,
}
