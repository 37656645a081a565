"""Two knotd for the tests of dynamic updates: a primary that signs by itself, and a secondary that lags on request.

in: zones; out: running servers on two loopback addresses and one port, and the DS records to trust.
The primary takes updates signed with one key, of the names and types that a homeserver publishes and of no others; the
secondary is told of nothing: it has what it transferred last, until `catch_up`.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdataclass
import dns.tsig
from dns.rdatatype import RdataType

from tests.discovery.debian import STARTING, STOPPING, free_port, tool

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
TTL = 2
KEY_NAME = "volly-fed.update"
SECRET = "dm9sbHktZmVkIHRlc3RzIGR5bmFtaWMgdXBkYXRlcw=="
KEY = dns.tsig.Key(KEY_NAME, SECRET, "hmac-sha256")
KEY_FILE = f'key "{KEY_NAME}" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n'

SERVER = """\
server:
    rundir: "{folder}"
    listen: {address}@{port}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 2
database:
    storage: "{folder}/db"
log:
  - target: stderr
    any: info
"""
PRIMARY = """\
key:
  - id: {name}
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: transfer
    address: 127.0.0.0/8
    action: transfer
{acls}
policy:
  - id: short
    algorithm: ecdsap256sha256
    single-type-signing: on
    dnskey-ttl: {ttl}
    zone-max-ttl: {ttl}
    propagation-delay: 0
    nsec3: {nsec3}
template:
  - id: default
    storage: "{folder}"
    dnssec-signing: on
    dnssec-policy: short
zone:
"""
ACL = """\
  - id: tlsa-{zone}
    key: {name}
    action: update
    update-type: [TLSA]
    update-owner: name
    update-owner-match: sub
    update-owner-name: [fed]
  - id: domain-{zone}
    key: {name}
    action: update
    update-type: [SRV, TXT]
    update-owner: name
    update-owner-match: equal
    update-owner-name: [_volly-fed, _volly-fed._tcp, _volly._tcp]
"""
SECONDARY = """\
remote:
  - id: primary
    address: {first}@{port}
template:
  - id: default
    storage: "{folder}"
    master: primary
    refresh-max-interval: 1d
    refresh-min-interval: 1d
zone:
"""
ZONE = """\
@ {ttl} IN SOA ns1 hostmaster 1 86400 86400 864000 {ttl}
@ {ttl} IN NS ns1
@ {ttl} IN NS ns2
ns1 {ttl} IN A {first}
ns2 {ttl} IN A {second}
fed {ttl} IN A {first}
signal {ttl} IN A {first}
"""


@attrs.frozen(kw_only=True)
class Knot:
    """The pair of servers."""

    folder: Path
    port: int
    zones: tuple[str, ...]

    @property
    def anchors(self) -> str:
        """DS lines of the keys that the primary has made."""
        keys = [(dns.name.from_text(zone), key) for zone in self.zones for key in ask(FIRST, self.port, zone, "DNSKEY")]
        return "".join(f"{name} IN DS {dns.dnssec.make_ds(name, key, 'SHA256')}\n" for name, key in keys)

    def catch_up(self) -> None:
        """The secondary fetches what is new, and has it."""
        for zone in self.zones:
            command = [tool("knotc"), "-b", "-c", str(self.folder / "second" / "knot.conf"), "zone-refresh", zone]
            subprocess.run(command, check=True, capture_output=True, timeout=STARTING)
            serial = [ask(address, self.port, zone, "SOA")[0].serial for address in (FIRST, SECOND)]
            assert serial[0] == serial[1], serial

    def shown(self, owner: str, rdtype: str) -> tuple[set[str], set[str]]:
        """The records that the primary and the secondary have."""
        first, second = ({rdata.to_text() for rdata in ask(at, self.port, owner, rdtype)} for at in (FIRST, SECOND))
        return first, second


def ask(address: str, port: int, owner: str, rdtype: str) -> list[Any]:
    """The records there, none if it has none."""
    query = dns.message.make_query(owner, rdtype)
    response = dns.query.tcp(query, address, port=port, timeout=STARTING)
    name = dns.name.from_text(owner)
    return list(response.get_rrset(response.answer, name, dns.rdataclass.IN, RdataType.make(rdtype)) or [])


@contextlib.contextmanager
def signing_knot(folder: Path, zones: Sequence[str], *, nsec3: bool = False) -> Iterator[Knot]:
    """Both servers, as long as the block runs; signed, transferred and answering when it begins."""
    port = free_port()
    first, second = folder / "first", folder / "second"
    for home in (first, second):
        (home / "db").mkdir(parents=True)
    for zone in zones:
        (first / f"{zone}.zone").write_text(ZONE.format(ttl=TTL, first=FIRST, second=SECOND))
    acls = "".join(ACL.format(zone=zone, name=KEY_NAME) for zone in zones)
    values = {"name": KEY_NAME, "secret": SECRET, "acls": acls, "ttl": TTL, "nsec3": "on" if nsec3 else "off"}
    zone_lines = "".join(
        f"  - domain: {zone}\n    file: {zone}.zone\n    acl: [transfer, tlsa-{zone}, domain-{zone}]\n"
        for zone in zones
    )
    (first / "knot.conf").write_text(
        SERVER.format(folder=first, address=FIRST, port=port) + PRIMARY.format(folder=first, **values) + zone_lines
    )
    (second / "knot.conf").write_text(
        SERVER.format(folder=second, address=SECOND, port=port)
        + SECONDARY.format(folder=second, first=FIRST, port=port)
        + "".join(f"  - domain: {zone}\n" for zone in zones)
    )
    with _running(first, FIRST, port, zones), _running(second, SECOND, port, zones):
        yield Knot(folder=folder, port=port, zones=tuple(zones))


@contextlib.contextmanager
def _running(home: Path, address: str, port: int, zones: Sequence[str]) -> Iterator[None]:
    log = home / "knot.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tool("knotd"), "-c", str(home / "knot.conf")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TZ": "UTC"},
            start_new_session=True,
        )
    try:
        for zone in zones:
            _wait_signed(process, log, address, port, zone)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOPPING)


def _wait_signed(process: "subprocess.Popen[bytes]", log: Path, address: str, port: int, zone: str) -> None:
    """Until the zone is there with its keys; waiting for the end of the process is the pause between two looks."""
    query = dns.message.make_query(zone, "DNSKEY", want_dnssec=True)
    for _ in range(int(STARTING / 0.1)):
        with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
            response = dns.query.tcp(query, address, port=port, timeout=1)
            if len(response.answer) == 2:  # the keys and their signature
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            break
    raise AssertionError(f"does not serve {zone}:\n{log.read_text()}")
