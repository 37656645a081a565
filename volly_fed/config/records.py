"""The DNS records that make a homeserver reachable, in the forms that zone files, panels and programs take.

in: the configuration's names and the public digests of the keys; out: records, and text.
Never: sees a private key or asks the DNS. Source: RFC 2782 (SRV), RFC 6698 §2 (TLSA), RFC 3597 §5 (generic form).
"""

from collections.abc import Sequence

import attrs

from volly_fed.codepoints import IDENTITY_OWNER, SERVICE_DEVICE, SERVICE_FEDERATION
from volly_fed.config.model import HomeserverConfig
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

TTL = 3600
_SRV_WEIGHT = 5
_TLSA_PREFIX = b"\x03\x01\x01"  # DANE-EE, public key, SHA-256 (RFC 7671 §5.1)


@attrs.frozen(kw_only=True)
class Record:
    """One record: owner with its final dot, type, its data as a zone file writes it, and what it is for."""

    owner: str
    type: str
    data: str
    generic: str = ""
    purpose: str = ""

    def line(self, *, generic: bool = False) -> str:
        """The line of a zone file; with `generic`, TLSA in the RFC 3597 form for panels that do not know it."""
        use_generic = generic and bool(self.generic)
        kind, data = ("TYPE52", self.generic) if use_generic else (self.type, self.data)
        return f"{self.owner:<40} {TTL} IN {kind:<6} {data}"


@attrs.frozen(kw_only=True)
class Published:
    """The public digests of a homeserver's keys, 32 bytes each: what its records say."""

    identity: Fingerprint
    identity_next: Fingerprint | None = None
    tls: tuple[bytes, ...]
    """SHA-256 over the SPKI of the TLS keys: current, next."""
    device_tls: bytes | None = None


def records_of(config: HomeserverConfig, published: Published) -> list[Record]:
    """The records to publish, SRV and TXT in the domain's zone, TLSA below the hosts' names."""
    domain, federation, devices = config.server.domain, config.federation, config.devices
    found = [
        _srv(SERVICE_FEDERATION, domain, federation.host, federation.port, "where other homeservers connect"),
        Record(owner=f"{IDENTITY_OWNER}.{domain}.", type="TXT", data=_identity(published), purpose="the identity key"),
    ]
    if devices.host is not None:
        found.append(_srv(SERVICE_DEVICE, domain, devices.host, devices.port, "where devices connect"))
    for digest, which in zip(published.tls, ("current", "next"), strict=False):
        found.append(_tlsa(federation.host, federation.port, digest, f"the {which} TLS key"))
    if devices.host is not None and published.device_tls is not None:
        found.append(_tlsa(devices.host, devices.port, published.device_tls, "the edge nodes' TLS key"))
    return found


def zone_text(config: HomeserverConfig, records: Sequence[Record], *, generic: bool = False) -> str:
    """`records` for a zone file, with what goes wrong most often, and the commands that check it, as comments."""
    host, port = config.federation.host, config.federation.port
    lines = [f"; records of {config.server.domain}: publish them in signed (DNSSEC) zones"]
    for record in records:
        lines += [f"; {record.purpose}", record.line(generic=generic)]
    lines += [
        f"; {host} needs A or AAAA records too, in a signed zone as well",
        f"; TLSA belongs to _{port}._tcp.{host}, not to {host} itself and not to {config.server.domain}",
        f"; check with: delv {SERVICE_FEDERATION}.{config.server.domain} SRV",
        f"; check with: delv {IDENTITY_OWNER}.{config.server.domain} TXT",
        f"; check with: delv _{port}._tcp.{host} TLSA",
    ]
    return "\n".join(lines) + "\n"


def json_records(records: Sequence[Record]) -> list[dict[str, str | int]]:
    """`records` as plain values for --json."""
    plain: list[dict[str, str | int]] = []
    for record in records:
        plain.append({"owner": record.owner, "ttl": TTL, "type": record.type, "data": record.data})
        if record.generic:
            plain[-1]["generic"] = f"TYPE52 {record.generic}"
        plain[-1]["purpose"] = record.purpose
    return plain


def _srv(service: str, domain: DomainName, host: DomainName, port: int, purpose: str) -> Record:
    data = f"0 {_SRV_WEIGHT} {port} {host}."
    return Record(owner=f"{service}.{domain}.", type="SRV", data=data, purpose=purpose)


def _identity(published: Published) -> str:
    following = f" next={fingerprint_text(published.identity_next)}" if published.identity_next else ""
    return f'"v=vf1 id={fingerprint_text(published.identity)}{following}"'


def _tlsa(host: DomainName, port: int, digest: bytes, purpose: str) -> Record:
    wire = _TLSA_PREFIX + digest
    return Record(
        owner=f"_{port}._tcp.{host}.",
        type="TLSA",
        data=f"3 1 1 {digest.hex()}",
        generic=f"\\# {len(wire)} {wire.hex()}",
        purpose=purpose,
    )
