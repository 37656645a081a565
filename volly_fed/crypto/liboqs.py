"""The provider for an installed liboqs, through liboqs-python: ML-KEM-768, and checking ML-DSA-65 signatures.

in: seeds, public keys, messages; out: key objects, verdicts, shared secrets.
Never: imports liboqs-python before the probe loaded its library in a child process, or hands it a wrong length
(it pads what is too short).
Signing stays with OpenSSL: our stored keys are seeds, and liboqs makes no ML-DSA key from a seed. Better would be a
seed call in liboqs (it signs four times as fast); a node signs once per link, so little is lost.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from volly_fed.crypto import sizes
from volly_fed.crypto.openssl import OpenSslProvider, OpenSslSigningKey
from volly_fed.crypto.probe import Unavailable, probe_liboqs
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage

_KEM, _SIGNATURE = "ML-KEM-768", "ML-DSA-65"


class LiboqsDecapsulationKey:
    """An expanded ML-KEM-768 private key inside liboqs; wiped and freed with this object."""

    __slots__ = ("__weakref__", "_kem", "public")

    def __init__(self, oqs: Any, seed: Secret) -> None:
        if len(seed) != sizes.MLKEM768_SEED:
            raise ValueError("an ML-KEM-768 seed has 64 bytes")
        self._kem = oqs.KeyEncapsulation(_KEM)
        weakref.finalize(self, self._kem.free).atexit = False  # at exit the library may be gone before us
        self.public = bytes(self._kem.generate_keypair_seed(seed.reveal()))

    def decapsulate(self, ciphertext: bytes) -> Secret:
        """The shared secret (32 B); a foreign ciphertext gives an unrelated one. Raises BadMessage on a wrong size."""
        if len(ciphertext) != sizes.MLKEM768_CIPHERTEXT:
            raise BadMessage("the ML-KEM-768 ciphertext has a wrong size")
        return Secret(bytes(self._kem.decap_secret(ciphertext)))


@attrs.frozen(kw_only=True)
class LiboqsProvider:
    """ML-KEM-768 and ML-DSA-65 verification by liboqs; signing by `openssl`."""

    _oqs: Any
    _openssl: OpenSslProvider
    version: str
    _kem: Any = attrs.field(init=False)
    _signature: Any = attrs.field(init=False)
    name: str = attrs.field(default="liboqs", init=False)

    # made once: both calls only read the library's tables, so threads may share them
    @_kem.default
    def _make_kem(self) -> Any:
        return self._oqs.KeyEncapsulation(_KEM)

    @_signature.default
    def _make_signature(self) -> Any:
        return self._oqs.Signature(_SIGNATURE)

    @property
    def description(self) -> str:
        """One line for people: the library's version, and what it is not used for."""
        return f"liboqs {self.version} (signing by {self._openssl.description})"

    def mldsa65_key(self, seed: Secret) -> OpenSslSigningKey:
        """The signing key of a 32-byte seed, which is OpenSSL's."""
        return self._openssl.mldsa65_key(seed)

    def mldsa65_verify(self, public: bytes, signature: bytes, message: bytes, context: bytes) -> bool:
        """Whether `signature` is right. Wrong sizes and a context over 255 bytes are False, not an error."""
        sized = len(public) == sizes.MLDSA65_PUBLIC and len(signature) == sizes.MLDSA65_SIGNATURE
        if not sized or len(context) > sizes.MAX_CONTEXT:
            return False
        return bool(self._signature.verify_with_ctx_str(message, signature, context, public))

    def mlkem768_key(self, seed: Secret) -> LiboqsDecapsulationKey:
        """The decapsulation key of a 64-byte seed; raises ValueError for another size."""
        return LiboqsDecapsulationKey(self._oqs, seed)

    def mlkem768_encapsulate(self, public: bytes) -> tuple[Secret, bytes]:
        """A fresh shared secret (32 B) and its ciphertext (1088 B); the randomness is liboqs's own.

        Raises BadMessage when `public` has a wrong size or a coefficient out of range (FIPS 203 §7.2).
        """
        if len(public) != sizes.MLKEM768_PUBLIC:
            raise BadMessage("not an ML-KEM-768 public key")
        try:
            ciphertext, shared = self._kem.encap_secret(public)
        except RuntimeError:
            raise BadMessage("not an ML-KEM-768 public key") from None
        return Secret(bytes(shared)), bytes(ciphertext)


def load_liboqs(openssl: OpenSslProvider, *, probe: Callable[[], str] = probe_liboqs) -> LiboqsProvider:
    """liboqs, not yet tested against anything. Blocks: it starts a child process (`probe`) and imports a library.

    Raises Unavailable, with the reason, when liboqs-python or the library is absent or does not work.
    """
    if importlib.util.find_spec("oqs") is None:
        raise Unavailable("liboqs-python is not installed")
    version = probe()
    try:
        with _caged():
            return LiboqsProvider(oqs=importlib.import_module("oqs"), openssl=openssl, version=version)
    except (Exception, SystemExit) as error:
        # liboqs-python ends the process (SystemExit) where its installation of liboqs fails
        raise Unavailable(f"liboqs-python does not load ({type(error).__name__})") from error


@contextlib.contextmanager
def _caged() -> Iterator[None]:
    """No programs to start (git, cmake), nothing written to stdout, no warnings about versions."""
    path = os.environ.get("PATH")
    os.environ["PATH"] = os.devnull
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if path is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = path
