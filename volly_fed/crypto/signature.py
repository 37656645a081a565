"""Composite identity keys: ML-DSA-65 and Ed25519 over one message, both or nothing.

in: 64-byte seeds, messages, contexts; out: public keys (1984 B), signatures (3373 B), fingerprints (32 B).
Never: accepts one half alone. Whoever breaks one of the two algorithms still cannot sign.
The component keys are used nowhere else: the draft forbids it, and TLS has keys of its own.
Source: draft-ietf-lamps-pq-composite-sigs, id-MLDSA65-Ed25519-SHA512 (a draft: the version is in our labels).
"""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from volly_fed.codepoints import ErrorCode, Label
from volly_fed.crypto import sizes
from volly_fed.crypto.kdf import digest
from volly_fed.crypto.provider import Provider, current
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalError, RemoteError
from volly_fed.machine import RandomSource
from volly_fed.names import Fingerprint, fingerprint_text

_PREFIX = b"CompositeAlgorithmSignatures2025"
_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"


class BadSignature(RemoteError):
    """A composite signature, or the key it should be checked with, is not right."""

    code = ErrorCode.BAD_SIGNATURE


class IdentityKey:
    """A long-term identity: expanded once from its seed, so that signing costs one ML-DSA signature (about 1 ms)."""

    __slots__ = ("_classical", "_post_quantum", "_seed", "public")

    def __init__(self, seed: Secret, provider: Provider) -> None:
        if len(seed) != sizes.IDENTITY_SEED:
            raise LocalError("an identity seed has 64 bytes; note: restore the identity key file from a backup")
        self._seed = seed
        self._post_quantum = provider.mldsa65_key(Secret(seed.reveal()[: sizes.MLDSA65_SEED]))
        self._classical = Ed25519PrivateKey.from_private_bytes(seed.reveal()[sizes.MLDSA65_SEED :])
        self.public = self._post_quantum.public + self._classical.public_key().public_bytes_raw()  # [crypto-1]

    @classmethod
    def generate(cls, random: RandomSource, *, provider: Provider | None = None) -> "IdentityKey":
        """A new identity from 64 bytes of `random`."""
        return cls.from_seed(Secret(random(sizes.IDENTITY_SEED)), provider=provider)

    @classmethod
    def from_seed(cls, seed: Secret, *, provider: Provider | None = None) -> "IdentityKey":
        """The identity of `seed` (ML-DSA-65 seed, then Ed25519 seed). Raises LocalError unless it has 64 bytes."""
        return cls(seed, provider or current())

    @property
    def seed(self) -> Secret:
        """What to store: 64 bytes, from which everything else follows."""
        return self._seed

    def sign(self, message: bytes, context: bytes) -> bytes:
        """The signature (3373 B) over `message` under `context`; two signatures over the same message differ.

        Raises ValueError when `context` has more than 255 bytes.
        """
        prepared = _prepared(message, context)
        return self._post_quantum.sign(prepared, _LABEL) + self._classical.sign(prepared)  # [crypto-2]

    def __repr__(self) -> str:
        return f"IdentityKey({fingerprint_text(fingerprint(self.public))})"


def verify_identity(
    public: bytes, signature: bytes, message: bytes, context: bytes, *, provider: Provider | None = None
) -> Fingerprint:
    """The fingerprint of the key that signed `message` under `context`.

    Raises BadSignature unless both halves are right; wrong sizes are wrong signatures. Both halves are always
    checked, and the error does not say which one failed. Raises ValueError when `context` has more than 255 bytes.
    """
    prepared = _prepared(message, context)
    if len(public) != sizes.IDENTITY_PUBLIC or len(signature) != sizes.IDENTITY_SIGNATURE:  # [crypto-4]
        raise BadSignature("an identity key has 1984 bytes and its signatures 3373")
    post_quantum = (provider or current()).mldsa65_verify(
        public[: sizes.MLDSA65_PUBLIC], signature[: sizes.MLDSA65_SIGNATURE], prepared, _LABEL
    )
    classical = _ed25519_verify(public[sizes.MLDSA65_PUBLIC :], signature[sizes.MLDSA65_SIGNATURE :], prepared)
    if not (post_quantum and classical):  # [crypto-3]
        raise BadSignature("the identity signature is wrong")
    return fingerprint(public)


def fingerprint(public: bytes) -> Fingerprint:
    """What stands for an identity in DNS records, pins and logs. Raises BadMessage unless `public` has 1984 bytes."""
    if len(public) != sizes.IDENTITY_PUBLIC:
        raise BadMessage("an identity key has 1984 bytes")
    return Fingerprint(digest(Label.IDENTITY, public))  # [crypto-6]


def _prepared(message: bytes, context: bytes) -> bytes:
    """M' of the draft: what each half signs."""
    if len(context) > sizes.MAX_CONTEXT:
        raise ValueError("a signature context has at most 255 bytes")
    return b"".join((_PREFIX, _LABEL, bytes([len(context)]), context, hashlib.sha512(message).digest()))


def _ed25519_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
