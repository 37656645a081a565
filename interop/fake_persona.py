"""Whom a fake plays, and whom it plays with.

in: names, addresses; out: keys and certificates, fresh.
Never: keeps a key anywhere but in memory.
"""

import hashlib
import os
from datetime import UTC, datetime

import attrs

from volly_fed.crypto.certificate import TlsKey, spki_of
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.tls import TlsIdentity
from volly_fed.names import DomainName, Fingerprint


@attrs.frozen(kw_only=True)
class Persona:
    """Whom the fake plays: a domain with all of its keys."""

    domain: DomainName
    identity: IdentityKey = attrs.field(repr=False)
    tls: TlsIdentity = attrs.field(repr=False)

    @classmethod
    def create(cls, domain: str) -> "Persona":
        """Fresh keys for `domain`."""
        tls = TlsIdentity.from_key(TlsKey.generate(), f"fed.{domain}", datetime.now(UTC))
        return cls(domain=DomainName(domain), identity=IdentityKey.generate(os.urandom), tls=tls)

    @property
    def host(self) -> str:
        """The TLSA base domain."""
        return f"fed.{self.domain}"

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the identity."""
        return fingerprint(self.identity.public)

    @property
    def tls_digest(self) -> bytes:
        """What its TLSA records say."""
        return hashlib.sha256(spki_of(self.tls.certificate)).digest()


@attrs.frozen(kw_only=True)
class Target:
    """Where a homeserver listens, and as whom."""

    domain: DomainName
    host: str
    address: str
    port: int
