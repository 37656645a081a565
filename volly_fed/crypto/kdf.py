"""Key derivation and authentication codes with SHA-256.

in: Secrets, labels and public parts; out: Secrets, 32-byte codes and digests.
Never: joins parts of varying length without framing in a MAC, or compares codes in variable time.
Source: RFC 5869 (HKDF), RFC 2104 (HMAC).
"""

import hashlib
import hmac

from volly_fed.crypto import sizes
from volly_fed.crypto.secret import Secret

_HKDF_MAX = 255 * sizes.SHA256
_FRAME = 8


def hkdf_sha256(secret: Secret, *, salt: bytes, info: bytes, size: int) -> Secret:
    """HKDF-SHA256 of `secret`: `size` bytes (1 to 8160). An empty `salt` is RFC 5869's default of 32 zero bytes.

    Raises ValueError for another size.
    """
    if not 1 <= size <= _HKDF_MAX:
        raise ValueError("HKDF-SHA256 gives 1 to 8160 bytes")
    return Secret(hkdf_expand(hmac.digest(salt or bytes(sizes.SHA256), secret.reveal(), "sha256"), info, size))


def hkdf_expand(key: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 §2.3, the second half alone; `size` is the caller's to check. For key schedules in this package."""
    blocks = [b""]
    for counter in range(1, -(-size // sizes.SHA256) + 1):
        blocks.append(hmac.digest(key, blocks[-1] + info + bytes([counter]), "sha256"))
    return b"".join(blocks)[:size]


def framed(*parts: bytes) -> bytes:
    """The parts joined, each after its length as 8 bytes big-endian: no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(_FRAME, "big") + part for part in parts)


def mac(key: Secret, *parts: bytes) -> bytes:
    """HMAC-SHA256 (32 bytes) over the framed `parts`."""
    return hmac.digest(key.reveal(), framed(*parts), "sha256")  # [crypto-16]


def mac_equal(left: bytes, right: bytes) -> bool:
    """Whether two codes are the same, in a time that depends on their lengths only."""
    return hmac.compare_digest(left, right)  # [crypto-18]


def digest(label: bytes, *parts: bytes) -> bytes:
    """SHA-256(label | parts), 32 bytes. The parts are simply joined: frame them if more than one length may vary."""
    return hashlib.sha256(b"".join((label, *parts))).digest()  # [crypto-17]
