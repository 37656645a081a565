"""What a homeserver shows of itself on every new connection: identity, continuity statement, TLS key, certificate.

in: the files in the data folder, the time; out: one frozen value that is replaced as a whole when the files change.
Never: half of it old and half of it new. Connections that exist keep what they were made with.
"""

from pathlib import Path

import attrs

from volly_fed.channel import EDGE, FEDERATION
from volly_fed.crypto.secret import Secret
from volly_fed.daemon import material
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.handshake import Party
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.continuity import parse_statement


def tls_identity(keys: material.Material) -> TlsIdentity:
    """The TLS side of `keys`."""
    return TlsIdentity(certificate=keys.tls.certificate, key=Secret(keys.tls.key.pkcs8_der()))


@attrs.frozen(kw_only=True)
class Credentials:
    """A homeserver's keys in the forms that its three kinds of connection take."""

    keys: material.Material
    party: Party
    for_peers: TlsContext
    """They call."""
    for_edges: TlsContext
    """They call."""
    to_peers: TlsContext
    """We call."""

    @classmethod
    def load(cls, domain: DomainName, data_dir: Path, now: float) -> "Credentials":
        """Read the files and see that OpenSSL takes them; raises LocalError. `now` is in seconds since 1970."""
        return cls.of(domain, material.load_material(data_dir), material.load_continuity(data_dir, now))

    @classmethod
    def of(cls, domain: DomainName, keys: material.Material, statement: bytes = b"") -> "Credentials":
        """`keys` in all their forms; raises LocalError if OpenSSL does not take them."""
        identity = tls_identity(keys)
        return cls(
            keys=keys,
            party=Party(name=domain, key=keys.identity, statement=statement),
            for_peers=make_context(FEDERATION, server=True, identity=identity),
            for_edges=make_context(EDGE, server=True, identity=identity),
            to_peers=make_context(FEDERATION, server=False, identity=identity),
        )

    @property
    def public(self) -> tuple[Fingerprint, bytes]:
        """What tells these keys from others."""
        return self.keys.fingerprint, self.keys.tls.key.spki_sha256

    @property
    def announces(self) -> bool:
        """Whether the statement that peers are shown names an identity to come."""
        statement = self.party.statement
        return bool(statement) and parse_statement(statement).new != self.keys.fingerprint
