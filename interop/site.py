"""A homeserver's folder, as the contract has it: keys, certificate, and site.json with all that it is told.

in: a folder, a domain, addresses, whom it knows; out: files, and the records that make a domain reachable.
Never: publishes or starts anything.
"""

import json
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.tls import TlsIdentity
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

Address = tuple[str, int]

SITE: Final = "site.json"
DATA: Final = "data"
PRIORITY, WEIGHT = 0, 5
"""Of SRV records, and of the static map."""
_HALF: Final = 32
_PRIVATE: Final = 0o600


@attrs.frozen(kw_only=True)
class Keys:
    """What a homeserver, an edge or a stranger proves itself with."""

    identity: IdentityKey
    tls: TlsKey
    shown: TlsIdentity
    """The TLS key with its certificate."""

    @classmethod
    def new(cls, name: str) -> "Keys":
        """Fresh ones, with a certificate for `name`."""
        tls = TlsKey.generate()
        shown = TlsIdentity.from_key(tls, name, datetime.now(UTC))
        return cls(identity=IdentityKey.generate(os.urandom), tls=tls, shown=shown)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the identity."""
        return fingerprint(self.identity.public)


@attrs.define(kw_only=True)
class PeerEntry:
    """What a homeserver is told of another domain: the trust, and what discovery would find."""

    level: str
    presence: str
    identity: Fingerprint
    host: DomainName
    address: Address
    tls: tuple[bytes, ...]
    """SHA-256 of SubjectPublicKeyInfo."""
    published: bool = True
    """Whether there is anything to be discovered."""

    @classmethod
    def of(cls, domain: DomainName, keys: Keys, address: Address, level: str, presence: str = "") -> "PeerEntry":
        """The entry of a domain that is reached at `address`; at `full`, presence is prompt unless told otherwise."""
        return cls(
            level=level,
            presence=presence or pace_of(level),
            identity=keys.fingerprint,
            host=host_of(domain),
            address=address,
            tls=(keys.tls.spki_sha256,),
        )

    def as_json(self) -> dict[str, Any]:
        """As it stands in site.json."""
        target = {
            "host": self.host,
            "address": self.address[0],
            "port": self.address[1],
            "priority": PRIORITY,
            "weight": WEIGHT,
            "tls": [digest.hex() for digest in self.tls],
        }
        return {
            "level": self.level,
            "presence": self.presence,
            "identity": self.identity.hex(),
            "targets": [target] if self.published else [],
        }


@attrs.define(kw_only=True)
class Site:
    """One homeserver: change what it is to know, `write`, and tell the program."""

    folder: Path
    domain: DomainName
    keys: Keys
    federation: Address
    edges: Address
    dns: Address
    anchors: str
    enrolled: dict[str, Fingerprint] = attrs.field(factory=dict)
    default_level: str = "none"
    peers: dict[DomainName, PeerEntry] = attrs.field(factory=dict)

    @property
    def host(self) -> DomainName:
        """The target of its SRV record."""
        return host_of(self.domain)

    @property
    def path(self) -> Path:
        """Of site.json."""
        return self.folder / SITE

    def create(self) -> None:
        """The folder, with the files that never change."""
        (self.folder / DATA).mkdir(parents=True)
        _write_private(self.folder / "tls.key", _pkcs8_pem(self.keys.tls))
        (self.folder / "tls.crt").write_text(ssl.DER_cert_to_PEM_cert(self.keys.shown.certificate))
        (self.folder / "anchors.ds").write_text(self.anchors)
        self.write()

    def write(self) -> None:
        """site.json as it is to be from now on, all of it at once."""
        part = self.path.with_suffix(".part")
        _write_private(part, json.dumps(self.as_json(), indent=2).encode() + b"\n")
        part.replace(self.path)

    def as_json(self) -> dict[str, Any]:
        """The document of interop/README.md."""
        seed = self.keys.identity.seed.reveal()
        enrolled = {name: known.hex() for name, known in self.enrolled.items()}
        return {
            "domain": self.domain,
            "host": self.host,
            "federation": {"address": self.federation[0], "port": self.federation[1]},
            "edges": {"address": self.edges[0], "port": self.edges[1], "enrolled": enrolled},
            "identity": {"ml_dsa_65": seed[:_HALF].hex(), "ed25519": seed[_HALF:].hex()},
            "tls": {"certificate": "tls.crt", "key": "tls.key"},
            "dns": {"server": f"{self.dns[0]}:{self.dns[1]}", "anchors": "anchors.ds"},
            "default_level": self.default_level,
            "peers": {domain: entry.as_json() for domain, entry in self.peers.items()},
            "data": DATA,
        }


def host_of(domain: DomainName) -> DomainName:
    """The host name of the homeserver of `domain`."""
    return DomainName(f"fed.{domain}")


def pace_of(level: str) -> str:
    """When presence is told at this level, unless somebody says otherwise."""
    return "prompt" if level == "full" else "tick"


def records_of(keys: Keys, address: Address) -> list[str]:
    """The lines of the zone of a domain whose homeserver is reached at `address`, relative to the domain."""
    host, port = address
    return [
        f"_volly-fed._tcp IN SRV {PRIORITY} {WEIGHT} {port} fed",
        f'_volly-fed IN TXT "v=vf1 id={fingerprint_text(keys.fingerprint)}"',
        f"fed IN A {host}",
        f"_{port}._tcp.fed IN TLSA 3 1 1 {keys.tls.spki_sha256.hex()}",
    ]


def _pkcs8_pem(key: TlsKey) -> bytes:
    private = load_der_private_key(key.pkcs8_der(), None)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=_PRIVATE)
    path.write_bytes(content)
