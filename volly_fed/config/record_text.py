"""DNS records as text: zone file, generic form, JSON, a script for nsupdate, and the commands that check them.

in: records; out: text for zone files, panels, programs and people.
Never: knows where zones begin; it takes the domain for one unless told otherwise, and says so.
Source: RFC 1035 §5 (zone files), RFC 2136 §3.4.2 (an update replaces an RRset at once), RFC 3597 §5.
"""

from collections.abc import Sequence

from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import Record, opt_out, tlsa_owner
from volly_fed.config.values import DNS_PORT, HostPort
from volly_fed.names import DomainName


def zone_text(config: HomeserverConfig, records: Sequence[Record], *, generic: bool = False) -> str:
    """`records` for a zone file, with what goes wrong most often, and the commands that check it, as comments."""
    lines = [f"; records of {config.server.domain}: publish them in signed (DNSSEC) zones"]
    for record in records:
        lines += [f"; {record.purpose}", record.line(generic=generic)]
    if any(record.type == "TLSA" for record in records):
        lines += _advice(config)
    lines.append(
        '; check with `volly-fed dns check`, or one by one: each prints "; fully validated" and the lines above'
    )
    lines += [f"; {_delv(owner, kind)}" for owner, kind in _rrsets(records)]
    return "\n".join(lines) + "\n"


def _advice(config: HomeserverConfig) -> list[str]:
    """What goes wrong most often."""
    domain, host, port = config.server.domain, config.federation.host, config.federation.port
    return [
        f"; {host} needs A or AAAA records too, in a signed zone as well, and must not be a CNAME (RFC 2782)",
        f"; TLSA belongs to {tlsa_owner(host, port)[:-1]}, not to {host} itself and not to {domain}:",
        "; port and name are those in the SRV record (RFC 7673)",
        "; a panel that adds the zone's name by itself wants owners without it",
        f"; to leave the federation instead: {_plain(opt_out(domain))}",
    ]


def json_records(records: Sequence[Record]) -> list[dict[str, str | int]]:
    """`records` as plain values for --json."""
    plain: list[dict[str, str | int]] = []
    for record in records:
        plain.append({"owner": record.owner, "ttl": record.ttl, "type": record.type, "data": record.data})
        if record.generic:
            plain[-1]["generic"] = f"TYPE52 {record.generic}"
        plain[-1]["purpose"] = record.purpose
    return plain


def nsupdate_text(records: Sequence[Record], zones: Sequence[DomainName], server: HostPort | None = None) -> str:
    """A script for `nsupdate` and `knsupdate` that replaces every RRset among `records`, one update for each zone.

    A record goes into the closest of `zones` above it; one that is below none, into the zone of its host's parent.
    """
    by_zone: dict[str, list[Record]] = {}
    for record in records:
        by_zone.setdefault(_zone_of(record, zones), []).append(record)
    lines = ["; run with: nsupdate -k KEYFILE THIS, or knsupdate -k KEYFILE THIS"]
    if server is not None:
        port = "" if server.port == DNS_PORT else f" {server.port}"
        lines.append(f"server {server.host}{port}")
    for zone, members in by_zone.items():
        lines += [f"; the zone is taken to be {zone} (--zone changes that)", f"zone {zone}"]
        lines += [f"update delete {owner} {kind}" for owner, kind in _rrsets(members)]
        lines += [f"update add {record.owner} {record.ttl} IN {record.type} {record.data}" for record in members]
        lines.append("send")
    return "\n".join(lines) + "\n"


def check_text(records: Sequence[Record]) -> str:
    """Shell commands that show whether `records` are published and validate, each with what it must print."""
    lines: list[str] = []
    for owner, kind in _rrsets(records):
        lines.append(_delv(owner, kind))
        lines.append('#   prints "; fully validated", then these (hex digits in capitals) and their RRSIG:')
        lines += [f"#   {_plain(record)}" for record in records if (record.owner, record.type) == (owner, kind)]
    lines += [f"kdig +dnssec {owner} {kind}" for owner, kind in _rrsets(records)]
    lines.append('#   prints the same, with "ad" among the flags if your resolver validates')
    return "\n".join(lines) + "\n"


def _delv(owner: str, kind: str) -> str:
    return f"delv +nosplit {owner} {kind}"


def _plain(record: Record) -> str:
    return f"{record.owner} IN {record.type} {record.data}"


def _rrsets(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Owner and type of each RRset, once, in order."""
    return list(dict.fromkeys((record.owner, record.type) for record in records))


def _zone_of(record: Record, zones: Sequence[DomainName]) -> str:
    above = [f"{zone}." for zone in zones if record.owner.endswith(f".{zone}.") or record.owner == f"{zone}."]
    if above:
        return max(above, key=len)
    host = record.owner.split("._tcp.", 1)[-1]
    return host.split(".", 1)[-1] or "."
