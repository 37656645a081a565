"""TLS keys of homeservers and edges: ML-DSA-65, in self-signed certificates that only carry the key.

in: 32-byte seeds, certificates as DER; out: PKCS#8, SubjectPublicKeyInfo and certificates as DER.
Never: looks at a certificate's names or dates: DANE-EE says neither counts (RFC 7671 §5.1).
These are other keys than the identity's: composite components may not be used elsewhere.
Source: RFC 5280, RFC 9881 (ML-DSA in X.509).
"""

import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from volly_fed.crypto import sizes
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalError

_MLDSA65_OID = "2.16.840.1.101.3.4.3.18"
_SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "volly-fed")])
"""The same for all: a common name has at most 64 characters, a domain up to 253, so the name is in the extension."""


class TlsKey:
    """An ML-DSA-65 key for TLS."""

    __slots__ = ("_key", "_seed", "spki", "spki_sha256")

    def __init__(self, seed: Secret) -> None:
        if len(seed) != sizes.MLDSA65_SEED:
            raise LocalError("a TLS key's seed has 32 bytes; note: make a new TLS key, or restore it from a backup")
        self._seed = seed
        self._key = MLDSA65PrivateKey.from_seed_bytes(seed.reveal())
        self.spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        """1974 bytes of DER."""
        self.spki_sha256 = hashlib.sha256(self.spki).digest()
        """What a TLSA 3 1 1 record holds."""

    @classmethod
    def generate(cls) -> "TlsKey":
        """A new key, from OpenSSL's randomness."""
        return cls(Secret(MLDSA65PrivateKey.generate().private_bytes_raw()))

    @classmethod
    def from_seed(cls, seed: Secret) -> "TlsKey":
        """The key of `seed`. Raises LocalError unless it has 32 bytes."""
        return cls(seed)

    @property
    def seed(self) -> Secret:
        """What to store: 32 bytes."""
        return self._seed

    def pkcs8_der(self) -> bytes:
        """The private key for the TLS library, 54 bytes of DER, not encrypted: hand it over, do not keep it."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def self_signed(self, name: str, not_before: datetime, lifetime: timedelta) -> bytes:
        """A certificate (DER, 5.5 KB) for `name` in both TLS roles; `not_before` carries a time zone.

        Raises ValueError when `name` is not an ASCII domain name, or the dates are outside X.509's.
        """
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            x509.CertificateBuilder(subject_name=_SUBJECT, issuer_name=_SUBJECT)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_before + lifetime)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usages, critical=False)
        )
        return builder.sign(self._key, None).public_bytes(Encoding.DER)

    def __repr__(self) -> str:
        return f"TlsKey({self.spki_sha256.hex()})"


def spki_of(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate (DER): what TLSA selector 1 matches.

    Raises BadMessage for anything that is no certificate or holds a key of an unknown kind.
    """
    try:
        key = _parse(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # [crypto-19]
    except (ValueError, UnsupportedAlgorithm, Warning):
        raise BadMessage("the certificate's key cannot be read") from None


def is_mldsa65(certificate: bytes) -> bool:
    """Whether `certificate` (DER) holds an ML-DSA-65 key. Bytes that are no certificate are False, not an error."""
    try:
        return _parse(certificate).public_key_algorithm_oid.dotted_string == _MLDSA65_OID
    except BadMessage:
        return False  # [crypto-20]


def _parse(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion, Warning):
        # Warning: the library warns about odd certificates (once, on stderr), which `python -W error` turns into errors
        raise BadMessage("not a certificate") from None
