"""HPKE base mode, one message a key: the key schedule and the AEAD on top of a shared secret.

in: a KEM's shared secret, `info`, `aad`; out: ciphertext with tag, or plaintext.
Never: uses one shared secret for a second message (the nonce would repeat); the KEM makes a new one each time.
Suite: MLKEM768-X25519 (X-Wing, 0x647a), HKDF-SHA256, AES-256-GCM, which browsers have natively.
Why not the library's HPKE: it takes no `aad` and no other ML-KEM than OpenSSL's. The tests run it against ours.
Source: RFC 9180 §5.1 and §5.2, draft-ietf-hpke-pq (the KEM's code point may still move).
"""

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from volly_fed.crypto import sizes
from volly_fed.crypto.kdf import hkdf_expand
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage

KEM_ID: Final = 0x647A
KDF_HKDF_SHA256: Final = 0x0001
AEAD_AES_256_GCM: Final = 0x0002
_MODE_BASE: Final = b"\0"
_VERSION: Final = b"HPKE-v1"


def key_schedule(shared: Secret, info: bytes, *, aead: int = AEAD_AES_256_GCM) -> tuple[Secret, bytes]:  # [crypto-13]
    """Key (32 B) and base nonce (12 B) of the context. `aead` enters by its code point only."""
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (KEM_ID, KDF_HKDF_SHA256, aead))
    context = _MODE_BASE + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared.reveal(), b"secret", b"")
    nonce = _expand(suite, secret, b"base_nonce", context, sizes.AEAD_NONCE)
    return Secret(_expand(suite, secret, b"key", context, sizes.AEAD_KEY)), nonce


def seal(shared: Secret, plaintext: bytes, info: bytes, aad: bytes) -> bytes:  # [crypto-14]
    """`plaintext` encrypted, 16 bytes longer."""
    key, nonce = key_schedule(shared, info)
    return AESGCM(key.reveal()).encrypt(nonce, plaintext, aad)


def open_(shared: Secret, ciphertext: bytes, info: bytes, aad: bytes) -> bytes:
    """The plaintext; raises BadMessage unless `ciphertext` was made with the same secret, `info` and `aad`."""
    key, nonce = key_schedule(shared, info)
    try:
        return AESGCM(key.reveal()).decrypt(nonce, ciphertext, aad)
    except InvalidTag:  # [crypto-15]
        raise BadMessage("the sealed body cannot be opened with this key") from None


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(sizes.SHA256), _VERSION + suite + label + material, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return hkdf_expand(key, size.to_bytes(2, "big") + _VERSION + suite + label + info, size)
