"""Mailbox keys: X-Wing (ML-KEM-768 with X25519), and HPKE to them.

in: 32-byte seeds, public keys (1216 B), ciphertexts (1120 B); out: 32-byte Secrets, mailbox ids, sealed bodies.
Never: expands a seed twice, or says why a sealed body did not open.
The combiner is X-Wing's own, without a label of ours; labels come in where its output becomes keys.
Source: draft-connolly-cfrg-xwing-kem, draft-ietf-hpke-pq, RFC 9180.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from volly_fed.codepoints import Label
from volly_fed.crypto import hpke, sizes
from volly_fed.crypto.kdf import digest
from volly_fed.crypto.provider import Provider, current
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalError
from volly_fed.machine import RandomSource
from volly_fed.names import MailboxId, mailbox_text

_XWING_LABEL = rb"\.//^" + b"\\"


class MailboxKey:
    """A device's X-Wing key, expanded once from its seed, so that decapsulating costs about 90 us."""

    __slots__ = ("_classical", "_post_quantum", "_seed", "public")

    def __init__(self, seed: Secret, provider: Provider) -> None:
        if len(seed) != sizes.MAILBOX_SEED:
            raise LocalError("a mailbox seed has 32 bytes; note: restore the device's key file from a backup")
        size = sizes.MLKEM768_SEED + sizes.X25519
        expanded = Secret(hashlib.shake_256(seed.reveal()).digest(size))
        self._seed = seed
        self._post_quantum = provider.mlkem768_key(Secret(expanded.reveal()[: sizes.MLKEM768_SEED]))
        self._classical = X25519PrivateKey.from_private_bytes(expanded.reveal()[sizes.MLKEM768_SEED :])
        self.public = self._post_quantum.public + self._classical.public_key().public_bytes_raw()  # [crypto-7]

    @classmethod
    def generate(cls, random: RandomSource, *, provider: Provider | None = None) -> "MailboxKey":
        """A new mailbox key from 32 bytes of `random`."""
        return cls.from_seed(Secret(random(sizes.MAILBOX_SEED)), provider=provider)

    @classmethod
    def from_seed(cls, seed: Secret, *, provider: Provider | None = None) -> "MailboxKey":
        """The mailbox key of `seed`. Raises LocalError unless it has 32 bytes."""
        return cls(seed, provider or current())

    @property
    def seed(self) -> Secret:
        """What to store: 32 bytes, from which everything else follows."""
        return self._seed

    def decapsulate(self, ciphertext: bytes) -> Secret:
        """The 32-byte secret in `ciphertext`; one made for another key gives an unrelated secret, not an error.

        Raises BadMessage unless it has 1120 bytes and a usable X25519 half.
        """
        if len(ciphertext) != sizes.MAILBOX_CIPHERTEXT:
            raise BadMessage("an X-Wing ciphertext has 1120 bytes")  # [crypto-10]
        ephemeral = ciphertext[sizes.MLKEM768_CIPHERTEXT :]
        post_quantum = self._post_quantum.decapsulate(ciphertext[: sizes.MLKEM768_CIPHERTEXT])
        classical = _exchange(self._classical, ephemeral)
        return _combined(post_quantum, classical, ephemeral, self.public[sizes.MLKEM768_PUBLIC :])  # [crypto-12]

    def __repr__(self) -> str:
        return f"MailboxKey({mailbox_text(mailbox_id(self.public))})"


def encapsulate(public: bytes, *, provider: Provider | None = None) -> tuple[Secret, bytes]:  # [crypto-9]
    """A fresh 32-byte secret and the ciphertext (1120 B) that gives it to the holder of `public`.

    The randomness is the libraries' own: they offer no other way. Raises BadMessage when `public` is not a valid key.
    """
    if len(public) != sizes.MAILBOX_PUBLIC:
        raise BadMessage("a mailbox key has 1216 bytes")
    theirs = public[sizes.MLKEM768_PUBLIC :]
    post_quantum, ciphertext = (provider or current()).mlkem768_encapsulate(public[: sizes.MLKEM768_PUBLIC])
    key = X25519PrivateKey.generate()
    ephemeral = key.public_key().public_bytes_raw()
    return _combined(post_quantum, _exchange(key, theirs), ephemeral, theirs), ciphertext + ephemeral


def mailbox_id(public: bytes) -> MailboxId:
    """The self-certifying name of a mailbox key. Raises BadMessage unless `public` has 1216 bytes."""
    if len(public) != sizes.MAILBOX_PUBLIC:
        raise BadMessage("a mailbox key has 1216 bytes")
    return MailboxId(digest(Label.MAILBOX, public))  # [crypto-8]


def hpke_seal(
    public: bytes, plaintext: bytes, info: bytes, aad: bytes = b"", *, provider: Provider | None = None
) -> bytes:
    """`plaintext` for the holder of `public`: ciphertext of the key, then of the text; 1136 bytes longer.

    Raises BadMessage when `public` is not a valid key.
    """
    shared, ciphertext = encapsulate(public, provider=provider)  # [client-10]
    return ciphertext + hpke.seal(shared, plaintext, info, aad)


def hpke_open(key: MailboxKey, sealed: bytes, info: bytes, aad: bytes = b"") -> bytes:
    """What `hpke_seal` was given, under the same `info` and `aad`. Raises BadMessage and nothing else."""
    if len(sealed) < sizes.HPKE_OVERHEAD:
        raise BadMessage("a sealed body has at least 1136 bytes")  # [crypto-15]
    shared = key.decapsulate(sealed[: sizes.MAILBOX_CIPHERTEXT])
    return hpke.open_(shared, sealed[sizes.MAILBOX_CIPHERTEXT :], info, aad)


def _exchange(key: X25519PrivateKey, public: bytes) -> Secret:
    try:
        return Secret(key.exchange(X25519PublicKey.from_public_bytes(public)))
    except ValueError:  # an all-zero result (RFC 7748 §6.1)
        raise BadMessage("the X25519 half is not usable") from None  # [crypto-9] [crypto-10]


def _combined(post_quantum: Secret, classical: Secret, ephemeral: bytes, public: bytes) -> Secret:
    parts = (post_quantum.reveal(), classical.reveal(), ephemeral, public, _XWING_LABEL)
    return Secret(hashlib.sha3_256(b"".join(parts)).digest())  # [crypto-11]
