"""Debian's authoritative servers, each made to serve the zones of a test world exactly as they are signed.

in: the folder of zone files and the origins; out: `Prepare` functions for `debian.running`.
Never: lets a server sign, check or change anything: the bytes of the world's zones are what is served.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tests.discovery.debian import Prepare, data, tool, unconfined, zone_file

KNOT = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 2
database:
    storage: "{folder}/db"
log:
  - target: stderr
    any: info
template:
  - id: default
    storage: "{zones}"
    semantic-checks: off
    dnssec-signing: off
    journal-content: none
    zonefile-load: whole
zone:
"""

NSD = """\
server:
    server-count: 1
    ip-address: 127.0.0.1@{port}
    do-ip6: no
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    database: ""
    xfrdir: "{folder}"
    zonelistfile: "{folder}/zone.list"
    xfrdfile: "{folder}/xfrd.state"
    pidfile: "{folder}/nsd.pid"
    verbosity: 1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""

NAMED = """\
options {{
    directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
    managed-keys-directory "{folder}";
    recursion no;
    allow-query {{ any; }};
    notify no;
    dnssec-validation no;
    empty-zones-enable no;
    zone-statistics none;
    check-names primary ignore;
    check-integrity no;
    check-dup-records ignore;
    max-zone-ttl unlimited;
    max-records-per-type 0;
    max-types-per-name 0;
}};
controls {{ }};
"""

PDNS = """\
launch=bind
bind-config={folder}/named.conf
bind-dnssec-db={folder}/dnssec.sqlite3
local-address=127.0.0.1
local-port={port}
socket-dir={folder}
daemon=no
guardian=no
disable-syslog=yes
log-timestamp=no
loglevel=4
receiver-threads=1
distributor-threads=1
signing-threads=1
cache-ttl=0
query-cache-ttl=0
max-nsec3-iterations=500
expand-alias=no
security-poll-suffix=
webserver=no
"""


class Make(Protocol):
    """How one kind of server is configured for zones."""

    def __call__(self, zones: Path, origins: Sequence[str]) -> Prepare:
        """`zones` is the folder of zone files."""
        ...


def knot(zones: Path, origins: Sequence[str]) -> Prepare:
    def prepare(folder: Path, port: int) -> list[str]:
        lines = [f'  - domain: "{origin}"\n    file: "{zone_file(zones, origin)}"\n' for origin in origins]
        config = folder / "knot.conf"
        config.write_text(KNOT.format(folder=folder, port=port, zones=zones) + "".join(lines))
        return [tool("knotd"), "-c", str(config)]

    return prepare


def nsd(zones: Path, origins: Sequence[str]) -> Prepare:
    def prepare(folder: Path, port: int) -> list[str]:
        lines = [f'zone:\n    name: "{origin}"\n    zonefile: "{zone_file(zones, origin)}"\n' for origin in origins]
        config = folder / "nsd.conf"
        config.write_text(NSD.format(folder=folder, port=port) + "".join(lines))
        return [tool("nsd"), "-d", "-c", str(config)]

    return prepare


def _bind_zones(zones: Path, origins: Sequence[str]) -> str:
    return "".join(
        f'zone "{origin}" IN {{ type primary; file "{zone_file(zones, origin)}"; }};\n' for origin in origins
    )


def named(zones: Path, origins: Sequence[str]) -> Prepare:
    def prepare(folder: Path, port: int) -> list[str]:
        config = folder / "named.conf"
        config.write_text(NAMED.format(folder=folder, port=port) + _bind_zones(zones, origins))
        return [unconfined("named", folder), "-g", "-n", "1", "-c", str(config)]

    return prepare


def pdns(zones: Path, origins: Sequence[str]) -> Prepare:
    def prepare(folder: Path, port: int) -> list[str]:
        (folder / "named.conf").write_text(_bind_zones(zones, origins).replace("type primary", "type master"))
        (folder / "pdns.conf").write_text(PDNS.format(folder=folder, port=port))
        _mark_presigned(folder / "dnssec.sqlite3", zones, origins)
        return [tool("pdns_server"), f"--config-dir={folder}"]

    return prepare


SERVERS: Mapping[str, Make] = MappingProxyType({"knot": knot, "nsd": nsd, "bind": named, "pdns": pdns})

PDNS_SCHEMA = "/usr/share/pdns-backend-bind/schema/bind-dnssec.schema.sqlite3.sql"


def _mark_presigned(database: Path, zones: Path, origins: Sequence[str]) -> None:
    """What `pdnsutil set-presigned` and `set-nsec3` write, without a process for each zone."""
    database.unlink(missing_ok=True)
    connection = sqlite3.connect(database)
    with connection:
        connection.executescript(data(PDNS_SCHEMA, "pdns-backend-bind").read_text())
        for origin in origins:
            rows = _metadata(zone_file(zones, origin).read_text())
            connection.executemany(
                "INSERT INTO domainmetadata (domain, kind, content) VALUES (?, ?, ?)",
                [(origin.rstrip(".") or ".", *row) for row in rows],
            )
    connection.close()


def _metadata(text: str) -> list[tuple[str, str]]:
    """Presigned or not, and the NSEC3 parameters, with the opt-out flag that the NSEC3PARAM record never shows."""
    records = [line.split()[3:] for line in text.splitlines() if line]
    rows = [("PRESIGNED", "1")] if any(record[0] == "DNSKEY" for record in records) else []
    hashed = next((record[1:5] for record in records if record[0] == "NSEC3"), None)
    return [*rows, ("NSEC3PARAM", " ".join(hashed))] if hashed else rows
