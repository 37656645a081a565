"""Which library does ML-DSA-65 and ML-KEM-768: the interface, the choice, and the default.

in: the operator's setting; out: a Provider. Key objects keep the provider they were made with.
Whoever names none gets `current()`, which is OpenSSL until the process's start calls `use(choose_provider(setting))`.
Never: chooses liboqs before it agreed with OpenSSL on known answers, or downloads anything.
Ed25519, X25519, AES-GCM, HMAC and certificates are always OpenSSL's or the standard library's.
"""

from collections.abc import Callable
from typing import Protocol

from volly_fed.crypto.liboqs import load_liboqs
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.probe import Unavailable
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.selftest import disagreement
from volly_fed.errors import LocalError

SETTINGS = ("auto", "openssl", "liboqs")


class SigningKey(Protocol):
    """An ML-DSA-65 private key, expanded once."""

    @property
    def public(self) -> bytes:
        """The public key, 1952 bytes."""
        ...

    def sign(self, message: bytes, context: bytes) -> bytes:
        """The signature, 3309 bytes; `context` has at most 255."""
        ...


class DecapsulationKey(Protocol):
    """An ML-KEM-768 private key, expanded once."""

    @property
    def public(self) -> bytes:
        """The public key, 1184 bytes."""
        ...

    def decapsulate(self, ciphertext: bytes) -> Secret:
        """The shared secret, 32 bytes. Raises BadMessage when `ciphertext` has not 1088 bytes."""
        ...


class Provider(Protocol):
    """A library's ML-DSA-65 and ML-KEM-768. All calls may be made from any thread."""

    @property
    def name(self) -> str:
        """As in the setting: openssl or liboqs."""
        ...

    @property
    def description(self) -> str:
        """One line for people: the library's version, and what it is not used for."""
        ...

    def mldsa65_key(self, seed: Secret) -> SigningKey:
        """The signing key of a 32-byte seed."""
        ...

    def mldsa65_verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        """Whether `signature` is right; wrong sizes are False."""
        ...

    def mlkem768_key(self, seed: Secret) -> DecapsulationKey:
        """The decapsulation key of a 64-byte seed."""
        ...

    def mlkem768_encapsulate(self, public: bytes) -> tuple[Secret, bytes]:
        """A fresh shared secret (32 bytes) and its ciphertext (1088). Raises BadMessage for an invalid key."""
        ...


_current: Provider = OpenSslProvider()


def current() -> Provider:
    """The provider for keys that name none."""
    return _current


def use(provider: Provider) -> None:
    """Make `provider` the default of keys made from now on; existing keys keep theirs. Call it once, at start."""
    global _current  # one process, one library
    _current = provider


def choose_provider(setting: str, *, load: Callable[[OpenSslProvider], Provider] = load_liboqs) -> Provider:
    """The provider that `setting` (auto, openssl, liboqs) asks for. May block for seconds: it starts a child process.

    Raises LocalError when "liboqs" is asked for and is absent or gives wrong answers, and for an unknown setting.
    With "auto" neither is an error: the answer is then OpenSSL, and its `description` says why.
    `load` gives the untested liboqs or raises Unavailable.
    """
    if setting not in SETTINGS:
        raise LocalError(f"unknown crypto provider {setting!r}; note: write one of {', '.join(SETTINGS)}")
    openssl = OpenSslProvider()
    if (reason := disagreement(openssl, openssl)) is not None:
        raise LocalError(f"OpenSSL fails its self-test: {reason}; note: reinstall the cryptography package")
    if setting == "openssl":
        return openssl
    try:
        return _checked(load(openssl), openssl)
    except Unavailable as error:
        if setting == "auto":
            return OpenSslProvider(note=f"liboqs not used: {error}")
        raise LocalError(
            f"liboqs cannot be used: {error}; note: install the liboqs shared library and liboqs-python "
            'of the same version, or set crypto.provider to "auto" or "openssl"'
        ) from error


def _checked(liboqs: Provider, openssl: OpenSslProvider) -> Provider:
    if (reason := disagreement(liboqs, openssl)) is not None:
        raise Unavailable(f"it fails its self-test: {reason}")
    return liboqs
