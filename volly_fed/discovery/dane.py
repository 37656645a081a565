"""DANE: which TLSA records count, and whether a TLS key is one of those they name.

in: TLSA fields, the DER of a certificate and of its public key; out: booleans and reasons.
Never: looks at names or dates in certificates (RFC 7671 §5.1), or falls back to a public CA.
Source: RFC 6698, RFC 7671, RFC 7673. Decided here: only usage 3 (DANE-EE), and no digest agility.
"""

import enum
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import attrs

from volly_fed import limits


class Usage(enum.IntEnum):
    """RFC 7671 §2.1; the others name a CA, and federation has no CA names to check."""

    DANE_EE = 3


class Selector(enum.IntEnum):
    """RFC 6698 §2.1.2: what the record is a digest of."""

    CERTIFICATE = 0
    SPKI = 1


class Matching(enum.IntEnum):
    """RFC 6698 §2.1.3; type 0 (the whole key) is not used: an ML-DSA key makes answers that need TCP."""

    SHA256 = 1
    SHA512 = 2


_DIGEST_BYTES: Final = {Matching.SHA256: 32, Matching.SHA512: 64}


@attrs.frozen(kw_only=True)
class TlsaRecord:
    """One TLSA record with the fields' names of RFC 6698; numbers as they came, usable or not."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


def objection(record: TlsaRecord) -> str:
    """Why `record` cannot be used, or "" if it can. An unusable record is ignored, no error (RFC 6698 §4.1)."""
    if record.usage != Usage.DANE_EE:
        return f"usage {record.usage} is not 3 (DANE-EE)"
    if record.selector not in tuple(Selector):
        return f"selector {record.selector} is unknown"
    if record.matching not in tuple(Matching):
        return f"matching type {record.matching} is not 1 (SHA-256) or 2 (SHA-512)"
    wanted = _DIGEST_BYTES[Matching(record.matching)]
    if len(record.data) != wanted:
        return f"matching type {record.matching} needs {wanted} bytes of digest, not {len(record.data)}"
    return ""


def usable(records: Iterable[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """Those of `records` that can be used, in their order, at most limits.DNS_TLSA_RECORDS."""
    return tuple(record for record in records if not objection(record))[: limits.DNS_TLSA_RECORDS]  # [discovery-11]


def match(records: Iterable[TlsaRecord], *, spki: bytes, certificate: bytes) -> bool:
    """Whether any usable record names this key; every record is compared, in constant time.

    `spki` and `certificate` are DER. No usable record at all is a plain False.
    """
    subjects = {Selector.SPKI: spki, Selector.CERTIFICATE: certificate}  # [discovery-13]
    hit = False
    for record in usable(records):
        digest = _digest(Matching(record.matching), subjects[Selector(record.selector)])
        hit |= hmac.compare_digest(digest, record.data)  # [discovery-12]
    return hit


def _digest(matching: Matching, subject: bytes) -> bytes:
    if matching is Matching.SHA256:
        return hashlib.sha256(subject).digest()
    return hashlib.sha512(subject).digest()
