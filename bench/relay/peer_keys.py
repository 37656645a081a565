"""Other domains: keys and records, and no homeserver behind them but a generator.

in: a number; out: a seed that can be handed to another process, and what grows from it.
"""

import os
from datetime import UTC, datetime

import attrs

from volly_fed.config.records import Published, identity_text, quoted, tlsa_owner
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.crypto.sizes import IDENTITY_SEED, MLDSA65_SEED
from volly_fed.daemon.tls import TlsIdentity
from volly_fed.handshake import Party
from volly_fed.names import DomainName

_PER_NET = 250


@attrs.frozen(kw_only=True)
class PeerKeys:
    """One domain."""

    seed: "PeerSeed"
    identity: IdentityKey
    tls: TlsKey

    @property
    def party(self) -> Party:
        """Who it says that it is."""
        return Party(name=self.seed.name, key=self.identity)

    def tls_identity(self) -> TlsIdentity:
        """What it shows."""
        return TlsIdentity.from_key(self.tls, self.seed.name, datetime.now(UTC))

    def records(self) -> list[str]:
        """What its zone holds."""
        name, port = self.seed.name, self.seed.port
        host = DomainName(f"fed.{name}")
        published = Published(identity=fingerprint(self.identity.public), tls=(self.tls.spki_sha256,))
        return [
            f"_volly-fed._tcp.{name}. IN SRV 0 5 {port} {host}.",
            f"_volly-fed.{name}. IN TXT {quoted(identity_text(published))}",
            f"{tlsa_owner(host, port)} IN TLSA 3 1 1 {self.tls.spki_sha256.hex()}",
            f"{host}. IN A 127.0.0.1",
        ]


@attrs.frozen(kw_only=True)
class PeerSeed:
    """What a domain's keys are made from; `port` is published, `listens` is where it really listens, if it does."""

    number: int
    port: int
    listens: int
    identity: bytes = attrs.field(repr=False)
    tls: bytes = attrs.field(repr=False)

    @property
    def name(self) -> DomainName:
        """The domain."""
        return DomainName(f"peer{self.number}.test")

    @property
    def address(self) -> str:
        """Where it calls from: its own address, as homeservers have."""
        return f"127.1.{self.number // _PER_NET}.{self.number % _PER_NET + 1}"

    def keys(self) -> PeerKeys:
        """Takes a few milliseconds."""
        identity, tls = IdentityKey.from_seed(Secret(self.identity)), TlsKey.from_seed(Secret(self.tls))
        return PeerKeys(seed=self, identity=identity, tls=tls)


def seed(number: int, port: int, listens: int) -> PeerSeed:
    """A new one."""
    return PeerSeed(
        number=number,
        port=port,
        listens=listens,
        identity=os.urandom(IDENTITY_SEED),
        tls=os.urandom(MLDSA65_SEED),
    )
