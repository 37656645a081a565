"""Publishing by dynamic update: the records of this homeserver, and nothing else, brought to what they must be.

in: the configuration and the records; out: the changes, made or only shown.
Never: touches what others keep at the same names: TXT records of other purposes, SRV records of other hosts. The TLSA
set is this homeserver's alone: a record there whose key it does not have is removed.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import dns.name
import dns.rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.config.model import DnsUpdate, HomeserverConfig
from volly_fed.config.records import Record, tlsa_owner
from volly_fed.daemon.files import read_private_text
from volly_fed.daemon.upkeep.rfc2136 import Change, ChangedMeanwhile, Primary, RRset
from volly_fed.daemon.upkeep.tsig import parse_tsig_key
from volly_fed.discovery.records import is_identity, parse_srv, txt_strings
from volly_fed.errors import BadMessage, LocalError

_FIRST: Final = (RdataType.TLSA, RdataType.TXT, RdataType.SRV)
"""What is needed first is published first: whoever finds the SRV record finds the others."""


def load_primary(config: DnsUpdate) -> Primary:
    """The server and key of [dns_update]; raises LocalError, also where there is none."""
    if config.server is None or config.tsig_key_file is None:
        raise LocalError(
            "[dns_update] names no server to send updates to\n"
            "note: set dns_update.server and dns_update.tsig_key_file, or publish what `volly-fed dns print` prints"
        )
    text = read_private_text(config.tsig_key_file, "TSIG key file", "correct dns_update.tsig_key_file")
    key = parse_tsig_key(text, config.tsig_key_file, name=config.tsig_name, algorithm=config.tsig_algorithm)
    return Primary(address=config.server, port=config.port, key=key)


def federation_tlsa(config: HomeserverConfig, records: Iterable[Record]) -> list[Record]:
    """Of `records`, those that a roll of the TLS key changes."""
    owner = tlsa_owner(config.federation.host, config.federation.port)
    return [record for record in records if record.type == "TLSA" and record.owner == owner]


async def differences(config: DnsUpdate, primary: Primary, records: Iterable[Record]) -> list[Change]:
    """What must change so that the server has `records`; nothing is changed. RRsets that exist keep their TTL.

    Raises LocalError and Indeterminate as the server's answers require.
    """
    changes = []
    for wanted in _rrsets(records):
        zone = await _zone(config, primary, wanted.owner)
        before = await primary.read(wanted.owner, wanted.rdtype, wanted.ttl)
        after = attrs.evolve(before, rdatas=_merged(wanted.rdtype, before.rdatas, wanted.rdatas))
        changes.append(Change(zone=zone, before=before, after=after))
    return [change for change in changes if change]


async def publish(config: DnsUpdate, primary: Primary, records: Sequence[Record]) -> list[Change]:
    """Make the server have `records`; returns what was changed, nothing if all was right. Raises like `differences`.

    Each RRset is changed in one step. What somebody else changes in between is read again.
    """
    done: list[Change] = []
    for _ in range(limits.DNS_UPDATE_ATTEMPTS):
        changes = await differences(config, primary, records)
        try:
            for change in changes:
                await primary.update(change)
                done.append(change)
        except ChangedMeanwhile:
            continue
        return done
    raise LocalError("the zone changes faster than it can be read\nnote: is another `volly-fed dns publish` running?")


def _rrsets(records: Iterable[Record]) -> list[RRset]:
    found: dict[tuple[str, str], RRset] = {}
    for record in records:
        owner, rdtype = dns.name.from_text(record.owner), RdataType.make(record.type)
        rdata = dns.rdata.from_text(IN, rdtype, record.data)
        rrset = found.get((record.owner, record.type), RRset(owner=owner, rdtype=rdtype, ttl=record.ttl))
        found[record.owner, record.type] = attrs.evolve(rrset, rdatas=rrset.rdatas | {rdata})
    return sorted(found.values(), key=lambda rrset: _FIRST.index(rrset.rdtype))


async def _zone(config: DnsUpdate, primary: Primary, owner: dns.name.Name) -> dns.name.Name:
    if config.zone is not None:
        zone = dns.name.from_text(config.zone)
        if owner.is_subdomain(zone):
            return zone
    return await primary.zone_of(owner)


def _merged(
    rdtype: RdataType, before: frozenset[dns.rdata.Rdata], wanted: frozenset[dns.rdata.Rdata]
) -> frozenset[dns.rdata.Rdata]:
    if rdtype == RdataType.TXT:
        return wanted | {rdata for rdata in before if not any(map(is_identity, txt_strings([rdata])))}
    if rdtype == RdataType.SRV:
        return _merged_srv(before, wanted)
    return wanted


def _merged_srv(before: frozenset[dns.rdata.Rdata], wanted: frozenset[dns.rdata.Rdata]) -> frozenset[dns.rdata.Rdata]:
    """Other hosts of the domain stay; so do priority and weight of ours, which are the operator's choice.

    A "." goes: it says that there is no such service, and must be alone (RFC 2782).
    """
    kept = {rdata: place for rdata in before if (place := _place(rdata)) is not None}
    return frozenset(kept) | {rdata for rdata in wanted if _place(rdata) not in kept.values()}


def _place(rdata: dns.rdata.Rdata) -> tuple[str, int] | None:
    """Target and port of an SRV record, or None if it leads nowhere."""
    try:
        srv = parse_srv(rdata)
    except BadMessage:
        return None
    return None if srv.target is None else (srv.target, srv.port)
