"""What was proved about a domain, by DNSSEC or by enrolment, and when.

in: an endpoint from discovery, put into these terms by the daemon; out: a frozen value that gates and pins read.
Never: fetches or renews anything.
"""

import hashlib
from collections.abc import Callable

import attrs

from volly_fed import limits
from volly_fed.names import DomainName, Fingerprint


@attrs.frozen(kw_only=True)
class Evidence:
    """The identities and TLS keys that `domain` publishes.

    `ttl` and `obtained_at` are seconds, on the clock that `fresh` is asked on. `spki_sha256` lists the digests that
    were accepted, for people to read: matching TLSA records is discovery's job.
    """

    domain: DomainName
    identity: Fingerprint
    identity_next: Fingerprint | None = None
    spki_sha256: tuple[bytes, ...] = ()
    ttl: float
    obtained_at: float
    text: str = ""
    proof: Callable[[], tuple[str, ...]] = attrs.field(default=tuple, repr=False, eq=False)
    """Makes the lines of the proof, signatures included; asked for only when it is stored."""

    @property
    def published(self) -> tuple[Fingerprint, Fingerprint | None]:
        """(current, next) identity fingerprints; either may be shown."""
        return (self.identity, self.identity_next)

    @property
    def expected(self) -> frozenset[Fingerprint]:
        """The same as a set, as the handshake wants it."""
        return frozenset(f for f in self.published if f is not None)

    def digest(self) -> bytes:
        """32 bytes over what it proves: the domain's identities and TLS keys. Signatures and times may differ."""
        parts = (self.domain.encode(), self.identity, self.identity_next or b"", *sorted(self.spki_sha256))
        return hashlib.sha256(b"".join(len(part).to_bytes(2, "big") + part for part in parts)).digest()

    @property
    def until(self) -> float:
        """When the first of its records runs out."""
        return self.obtained_at + self.ttl

    def fresh(self, now: float) -> bool:
        """Whether it may still be relied on at `now`; a TTL of 0 still serves the handshake it was obtained for."""
        return now <= self.obtained_at + max(self.ttl, limits.HANDSHAKE)
