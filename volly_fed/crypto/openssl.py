"""The default provider: ML-DSA-65 and ML-KEM-768 by OpenSSL, through `cryptography`.

in: seeds, public keys, messages; out: key objects, signatures, verdicts, shared secrets.
Never: expands a seed twice (key objects hold the expanded key), or lets the library's errors out.
Signing is hedged (FIPS 204 §3.4), so two signatures differ. Randomness for encapsulation is OpenSSL's own.
Source: FIPS 203, FIPS 204.
"""

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage


class OpenSslSigningKey:
    """An expanded ML-DSA-65 private key."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: Secret) -> None:
        self._key = MLDSA65PrivateKey.from_seed_bytes(seed.reveal())
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes, context: bytes) -> bytes:
        """The signature (3309 B) over `message` under `context` (at most 255 B). About 1 ms; releases the GIL."""
        return self._key.sign(message, context)


class OpenSslDecapsulationKey:
    """An expanded ML-KEM-768 private key."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: Secret) -> None:
        self._key = MLKEM768PrivateKey.from_seed_bytes(seed.reveal())
        self.public = self._key.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> Secret:
        """The shared secret (32 B); a foreign ciphertext gives an unrelated one. Raises BadMessage on a wrong size."""
        try:
            return Secret(self._key.decapsulate(ciphertext))
        except ValueError:
            raise BadMessage("the ML-KEM-768 ciphertext has a wrong size") from None


@attrs.frozen(kw_only=True)
class OpenSslProvider:
    """ML-DSA-65 and ML-KEM-768 by OpenSSL. `note` says why it was chosen, where something else was asked first."""

    note: str = ""
    name: str = attrs.field(default="openssl", init=False)

    @property
    def description(self) -> str:
        """One line for people: the library's version, and why it was chosen."""
        return backend.openssl_version_text() + (f" ({self.note})" if self.note else "")

    def mldsa65_key(self, seed: Secret) -> OpenSslSigningKey:
        """The signing key of a 32-byte seed; raises ValueError for another size."""
        return OpenSslSigningKey(seed)

    def mldsa65_verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        """Whether `signature` is right. Wrong sizes and a context over 255 bytes are False, not an error."""
        try:
            MLDSA65PublicKey.from_public_bytes(public).verify(signature, message, context)
        except (InvalidSignature, ValueError):
            return False
        return True

    def mlkem768_key(self, seed: Secret) -> OpenSslDecapsulationKey:
        """The decapsulation key of a 64-byte seed; raises ValueError for another size."""
        return OpenSslDecapsulationKey(seed)

    def mlkem768_encapsulate(self, public: bytes) -> tuple[Secret, bytes]:
        """A fresh shared secret (32 B) and its ciphertext (1088 B).

        Raises BadMessage when `public` has a wrong size or a coefficient out of range (FIPS 203 §7.2).
        """
        try:
            shared, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError:
            raise BadMessage("not an ML-KEM-768 public key") from None
        return Secret(shared), ciphertext
