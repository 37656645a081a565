"""What liboqs-python 0.16 offers of what we use, made of `cryptography`, traps included.

Like the original it pads what is too short, raises ValueError for what is too long, and answers (ciphertext, secret)
where `cryptography` answers the other way round. `Faults` makes it give wrong answers.
"""

import ctypes
from typing import ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey


class Faults:
    """Which answers are wrong."""

    active: ClassVar[set[str]] = set()
    freed: ClassVar[int] = 0


def _sized(data: bytes, size: int) -> bytes:
    return bytes(ctypes.create_string_buffer(data, size))


def _flipped(data: bytes, fault: str) -> bytes:
    return data if fault not in Faults.active else bytes([data[0] ^ 1]) + data[1:]


class KeyEncapsulation:
    def __init__(self, alg_name: str) -> None:
        assert alg_name == "ML-KEM-768"
        if "absent kem" in Faults.active:
            raise LookupError(alg_name)

    def generate_keypair_seed(self, seed: bytes) -> bytes:
        self._key = MLKEM768PrivateKey.from_seed_bytes(seed)
        return _flipped(self._key.public_key().public_bytes_raw(), "public key")

    def encap_secret(self, public_key: bytes) -> tuple[bytes, bytes]:
        if "invalid key" in Faults.active and public_key.startswith(b"\xff"):
            return bytes(1088), bytes(32)
        try:
            shared, ciphertext = MLKEM768PublicKey.from_public_bytes(_sized(public_key, 1184)).encapsulate()
        except ValueError:
            raise RuntimeError("Can not encapsulate secret") from None
        return ciphertext, _flipped(shared, "encapsulation")

    def decap_secret(self, ciphertext: bytes) -> bytes:
        shared = self._key.decapsulate(_sized(ciphertext, 1088))
        foreign = ciphertext == bytes(1088)  # the known answer's ciphertext stays right, so that agreement is tested
        return shared if foreign else _flipped(shared, "decapsulation")

    def free(self) -> None:
        Faults.freed += 1


class Signature:
    def __init__(self, alg_name: str) -> None:
        assert alg_name == "ML-DSA-65"

    def verify_with_ctx_str(self, message: bytes, signature: bytes, context: bytes, public_key: bytes) -> bool:
        if "accepts" in Faults.active:
            return True
        if "refuses" in Faults.active:
            return False
        if "ignores context" in Faults.active:
            context = b"volly-fed/self-test/v1"
        if "raises" in Faults.active:
            raise RuntimeError("Verifying with context string not supported")
        public_key = _sized(public_key, 1952)
        try:
            MLDSA65PublicKey.from_public_bytes(public_key).verify(signature, message, context)
        except (InvalidSignature, ValueError):
            return False
        return True
