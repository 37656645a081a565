"""The sites of the test network: for each domain its folder with configuration, keys, policy and edge nodes.

in: a folder, domains, levels, the address of the DNS server; out: files on disk as `init` would make them, and the
records to publish.
Never: starts anything.
"""

import random
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs

from volly_fed.codepoints import TrustLevel
from volly_fed.config.edges import Enrolment, format_edges
from volly_fed.config.records import records_of
from volly_fed.config.values import HostPort
from volly_fed.daemon import material
from volly_fed.daemon.files import write_text
from volly_fed.daemon.setup import create_edge, create_homeserver
from volly_fed.errors import LocalError
from volly_fed.names import DomainName

LOOPBACK = "127.0.0.1"
_PORTS = range(10_000, 32_768)
"""Below those that Linux gives to whoever asks for any."""
TLD = "test"
UNSIGNED = DomainName(f"unsigned.{TLD}")
FORGED = DomainName(f"forged.{TLD}")
"""Domains whose records are not signed, and signed wrongly: what a resolver is examined with, and what must fail."""
MAILBOX_ENVELOPES = 20_000
MAILBOX_BYTES = 512 << 20
"""Room for a whole measurement, so that what is measured is delivery and not the quota's refusals."""


@attrs.frozen(kw_only=True)
class EdgeSite:
    """One edge node: its configuration file and the address devices connect to."""

    name: DomainName
    config: Path
    port: int
    homeserver: HostPort

    @property
    def url(self) -> str:
        """Where devices of the test network connect, without TLS."""
        return f"ws://{LOOPBACK}:{self.port}"


@attrs.frozen(kw_only=True)
class Site:
    """One domain: its homeserver's configuration file, ports, edges and the records that make it reachable."""

    domain: DomainName
    folder: Path
    config: Path
    host: DomainName
    port: int
    edges: tuple[EdgeSite, ...]
    records: tuple[str, ...]


def domain_name(number: int) -> DomainName:
    """The `number`-th domain: a.test, b.test, and so on; after z.test comes s26.test."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return DomainName(f"{letters[number] if number < len(letters) else f's{number}'}.{TLD}")


def mixed_levels(domains: Sequence[DomainName]) -> dict[DomainName, dict[DomainName, TrustLevel]]:
    """Who trusts whom how far: full, but metadata between the first and the third, none between second and third."""
    levels: dict[DomainName, dict[DomainName, TrustLevel]] = {
        own: {peer: TrustLevel.FULL for peer in domains if peer != own} for own in domains
    }
    for first, second, level in ((0, 2, TrustLevel.METADATA), (1, 2, TrustLevel.NONE)):
        if max(first, second) < len(domains):
            levels[domains[first]][domains[second]] = level
            levels[domains[second]][domains[first]] = level
    return levels


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses now, in a row as far as possible.

    They are bound only seconds later, by other processes. So none is of those that the system gives to whoever asks for
    any port, and where two test networks begin at the same time, two rows meet less often than scattered ports.
    """
    found: list[int] = []
    first = random.choice(_PORTS)  # noqa: S311 - to be elsewhere than others, not secret
    for port in (*range(first, _PORTS.stop), *range(_PORTS.start, first)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            found.append(port)
        if len(found) == count:
            return found
    raise LocalError(f"fewer than {count} ports are free; note: stop other servers on {LOOPBACK}")


def make_site(
    folder: Path,
    domain: DomainName,
    *,
    levels: Mapping[DomainName, TrustLevel],
    edges: int,
    resolver: tuple[str, int],
    anchors: str,
    options: Mapping[str, object] | None = None,
) -> Site:
    """Create the files of one domain below `folder`; edges are enrolled. `options` of the homeserver go by key."""
    home = folder / domain
    federation, edges_port, *device_ports = free_ports(2 + edges)
    host = DomainName(f"fed.{domain}")
    config = home / "volly-fed.toml"
    values = {
        "server.domain": domain,
        "federation.listen": HostPort(LOOPBACK, federation),
        "federation.host": host,
        "federation.port": federation,
        "edges.listen": HostPort(LOOPBACK, edges_port),
        "devices.host": f"signal.{domain}",
        "devices.port": device_ports[0] if device_ports else 1,
        "dns.resolvers": [HostPort(*resolver)],
        "dns.anchors_file": "anchors.ds",
        "dns.allow_private_addresses": True,
        "dns.authoritative_port": resolver[1],
        "dns.probe_secure": TLD,
        "dns.probe_bogus": FORGED,
        "dns.probe_unsigned": UNSIGNED,
        "limits.mailbox_envelopes": MAILBOX_ENVELOPES,
        "limits.mailbox_bytes": MAILBOX_BYTES,
        "log.format": "json",
        **(options or {}),
    }
    made = create_homeserver(config, values, trust=_trust_text(levels))
    (home / "anchors.ds").write_text(anchors)
    identity = material.load_material(made.server.data_dir).fingerprint
    sites = [
        _make_edge(home, domain, number, port, HostPort(LOOPBACK, edges_port), identity)
        for number, port in enumerate(device_ports, 1)
    ]
    write_text(made.server.data_dir / material.EDGES, format_edges(dict(_enrolments(sites))))
    records = records_of(made, material.load_published(made))
    return Site(
        domain=domain,
        folder=home,
        config=config,
        host=host,
        port=federation,
        edges=tuple(sites),
        records=(
            *(record.line() for record in records),
            f"{host}. IN A {LOOPBACK}",
            f"signal.{domain}. IN A {LOOPBACK}",
        ),
    )


def _make_edge(
    home: Path, domain: DomainName, number: int, port: int, homeserver: HostPort, identity: object
) -> EdgeSite:
    name = DomainName(f"edge-{number}")
    config = home / name / "edge.toml"
    create_edge(
        config,
        {
            "edge.name": name,
            "edge.domain": domain,
            "edge.homeserver": homeserver,
            "edge.homeserver_identity": identity,
            "devices.listen": HostPort(LOOPBACK, port),
            "devices.allow_plain_loopback": True,
            "log.format": "json",
        },
    )
    return EdgeSite(name=name, config=config, port=port, homeserver=homeserver)


def _enrolments(sites: Iterable[EdgeSite]) -> Iterable[tuple[DomainName, Enrolment]]:
    for site in sites:
        data = material.read_edge_config(site.config).edge.data_dir
        fingerprint = material.load_material(data).fingerprint
        yield site.name, Enrolment(name=site.name, fingerprint=fingerprint, enrolled_at=datetime.now(UTC))


def _trust_text(levels: Mapping[DomainName, TrustLevel]) -> str:
    lines = [f'"{peer}" = "{level}"' for peer, level in sorted(levels.items())]
    return "\n".join(['default = "none"', "", "[levels]", *lines, ""])
