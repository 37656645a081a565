"""The constructions of spec/crypto.md in plain formulas, apart from the package that is tested.

in: seeds, keys, messages; out: what the specification says follows. Only the primitives are a library's.
"""

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

COMPOSITE_LABEL: Final = b"COMPSIG-MLDSA65-Ed25519-SHA512"
SUITE: Final = bytes.fromhex("48504b45 647a 0001 0002")


def expand(label: str, size: int) -> bytes:
    """Bytes that look random: SHAKE-256 of the label."""
    return hashlib.shake_256(label.encode()).digest(size)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


# --- identities ------------------------------------------------------------------------------------------------------


def identity(seed: bytes) -> bytes:
    post_quantum = MLDSA65PrivateKey.from_seed_bytes(seed[:32]).public_key().public_bytes_raw()
    return post_quantum + Ed25519PrivateKey.from_private_bytes(seed[32:]).public_key().public_bytes_raw()


def fingerprint(public: bytes) -> bytes:
    return sha256(b"volly-fed identity v1\0" + public)


def prepared(message: bytes, context: bytes) -> bytes:
    digest = hashlib.sha512(message).digest()
    return b"CompositeAlgorithmSignatures2025" + COMPOSITE_LABEL + bytes([len(context)]) + context + digest


def sign(seed: bytes, message: bytes, context: bytes) -> bytes:
    """Differs each time: the library's ML-DSA is hedged."""
    whole = prepared(message, context)
    post_quantum = MLDSA65PrivateKey.from_seed_bytes(seed[:32]).sign(whole, COMPOSITE_LABEL)
    return post_quantum + Ed25519PrivateKey.from_private_bytes(seed[32:]).sign(whole)


# --- mailbox keys ----------------------------------------------------------------------------------------------------


def mailbox_keys(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


def mailbox(seed: bytes) -> bytes:
    post_quantum, classical = mailbox_keys(seed)
    return post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()


def mailbox_id(public: bytes) -> bytes:
    return sha256(b"volly-fed mailbox v1\0" + public)


def combine(ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
    return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + b"\\.//^\\").digest()


def decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    post_quantum, classical = mailbox_keys(seed)
    ss_m = post_quantum.decapsulate(ciphertext[:1088])
    ss_x = classical.exchange(X25519PublicKey.from_public_bytes(ciphertext[1088:]))
    return combine(ss_m, ss_x, ciphertext[1088:], classical.public_key().public_bytes_raw())


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """(shared secret, ciphertext); differs each time."""
    ss_m, ct_m = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    ephemeral = X25519PrivateKey.generate()
    ct_x = ephemeral.public_key().public_bytes_raw()
    ss_x = ephemeral.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    return combine(ss_m, ss_x, ct_x, public[1184:]), ct_m + ct_x


# --- HPKE ------------------------------------------------------------------------------------------------------------


def _extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + SUITE + label + material, "sha256")


def _expand(key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + SUITE + label + info
    return HKDFExpand(SHA256(), size, labelled).derive(key)


def key_schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\0" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    secret = _extract(shared, b"secret", b"")
    return _expand(secret, b"key", context, 32), _expand(secret, b"base_nonce", context, 12)


def seal(public: bytes, plaintext: bytes, info: bytes, aad: bytes) -> bytes:
    """Differs each time."""
    shared, ciphertext = encapsulate(public)
    key, nonce = key_schedule(shared, info)
    return ciphertext + AESGCM(key).encrypt(nonce, plaintext, aad)


# --- derivations -----------------------------------------------------------------------------------------------------


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt or None, info).derive(secret)


def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, framed(*parts), "sha256")
