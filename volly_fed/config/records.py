"""The DNS records that make a homeserver reachable: which there are, and how a zone file writes each.

in: the configuration's names and the public digests of the keys; out: records (`record_text` prints them).
Never: sees a private key or asks the DNS. Source: RFC 2782 (SRV), RFC 6698 §2 (TLSA), RFC 3597 §5 (generic form),
RFC 1035 §3.3 (character strings).
"""

from itertools import chain, repeat
from typing import Final

import attrs

from volly_fed.codepoints import IDENTITY_OWNER, SERVICE_DEVICE, SERVICE_FEDERATION
from volly_fed.config.model import HomeserverConfig
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

TTL: Final = 3600
SRV_PRIORITY: Final = 0
SRV_WEIGHT: Final = 5
_TLSA_PREFIX: Final = b"\x03\x01\x01"  # DANE-EE, public key, SHA-256 (RFC 7671 §5.1)
_STRING: Final = 255  # bytes in one character string, RFC 1035 §3.3
_KEYS: Final = ("the current TLS key", "the next TLS key, the spare")
_RETIRING: Final = "a retiring TLS key: `volly-fed dns roll` says when it may go"


@attrs.frozen(kw_only=True)
class Record:
    """One record: owner with its final dot, type, its data as a zone file writes it, and what it is for."""

    owner: str
    type: str
    data: str
    generic: str = ""
    """The data in the form of RFC 3597, where panels may not know the type."""
    purpose: str = ""
    ttl: int = TTL
    """Seconds."""

    def line(self, *, generic: bool = False) -> str:
        """The line of a zone file; with `generic`, TLSA in the RFC 3597 form for panels that do not know it."""
        use_generic = generic and bool(self.generic)
        kind, data = ("TYPE52", self.generic) if use_generic else (self.type, self.data)
        return f"{self.owner:<40} {self.ttl} IN {kind:<6} {data}"


@attrs.frozen(kw_only=True)
class Published:
    """The public digests of a homeserver's keys, 32 bytes each: what its records say."""

    identity: Fingerprint
    identity_next: Fingerprint | None = None
    tls: tuple[bytes, ...]
    """SHA-256 over the SPKI of the TLS keys: current, next; during a roll also those that retire."""
    device_tls: bytes | None = None


def records_of(
    config: HomeserverConfig,
    published: Published,
    *,
    ttl: int = TTL,
    priority: int = SRV_PRIORITY,
    weight: int = SRV_WEIGHT,
) -> list[Record]:
    """The records to publish, SRV and TXT in the domain's zone, TLSA below the hosts' names.

    `priority` and `weight` are those of the federation's SRV record (RFC 2782), `ttl` is of all records, in seconds.
    """
    domain, federation, devices = config.server.domain, config.federation, config.devices
    found = [
        Record(
            owner=f"{SERVICE_FEDERATION}.{domain}.",
            type="SRV",
            data=f"{priority} {weight} {federation.port} {federation.host}.",
            purpose="where other homeservers connect",
        ),
        Record(
            owner=f"{IDENTITY_OWNER}.{domain}.",
            type="TXT",
            data=quoted(identity_text(published)),
            purpose="the identity key",
        ),
    ]
    if devices.host is not None:
        data = f"{SRV_PRIORITY} {SRV_WEIGHT} {devices.port} {devices.host}."
        found.append(
            Record(owner=f"{SERVICE_DEVICE}.{domain}.", type="SRV", data=data, purpose="where devices connect")
        )
    for digest, purpose in zip(published.tls, chain(_KEYS, repeat(_RETIRING)), strict=False):
        found.append(_tlsa(federation.host, federation.port, digest, purpose))
    if devices.host is not None and published.device_tls is not None:
        found.append(_tlsa(devices.host, devices.port, published.device_tls, "the edge nodes' TLS key"))
    return [attrs.evolve(record, ttl=ttl) for record in found]


def opt_out(domain: DomainName, *, ttl: int = TTL) -> Record:
    """The record that says: this domain does not federate (RFC 2782, target "."). It replaces all others."""
    return Record(
        owner=f"{SERVICE_FEDERATION}.{domain}.",
        type="SRV",
        data="0 0 0 .",
        purpose="the domain does not federate; publish it in place of the other records",
        ttl=ttl,
    )


def tlsa_owner(host: DomainName, port: int) -> str:
    """Where the TLSA records of a port are, with the final dot (RFC 6698 §3): at the target of the SRV record."""
    return f"_{port}._tcp.{host}."


def identity_text(published: Published) -> str:
    """What the TXT record says."""
    following = f" next={fingerprint_text(published.identity_next)}" if published.identity_next else ""
    return f"v=vf1 id={fingerprint_text(published.identity)}{following}"


def quoted(text: str) -> str:
    """ASCII `text` as a TXT record's data in a zone file, in as many strings as it needs; readers join them."""
    pieces = [text[start : start + _STRING] for start in range(0, len(text), _STRING)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def _tlsa(host: DomainName, port: int, digest: bytes, purpose: str) -> Record:
    wire = _TLSA_PREFIX + digest
    return Record(
        owner=tlsa_owner(host, port),
        type="TLSA",
        data=f"3 1 1 {digest.hex()}",
        generic=f"\\# {len(wire)} {wire.hex()}",
        purpose=purpose,
    )
