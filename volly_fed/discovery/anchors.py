"""Trust anchors: the DS sets where chains of trust begin.

in: zone-file text of DS or DNSKEY lines, or IANA's root-anchors.xml; out: a mapping from zone to DS set, and whether
the keys a zone shows are still those. Built in: the anchors of the IANA root.
Never: follows RFC 5011 roll-overs by itself; both root keys of 2026 are here, and a file can replace them.
Source: RFC 4035 §5, RFC 9718 (root-anchors.xml, from which the built-in values come), RFC 5011 §2 and §4.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import attrs
import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rrset
import dns.zonefile
from dns.dnssectypes import DSDigest
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.dnskeybase import Flag

from volly_fed import limits
from volly_fed.discovery.anchors_xml import read_xml
from volly_fed.discovery.keys import Key
from volly_fed.discovery.signature import is_supported, matches_ds
from volly_fed.errors import BadMessage, ConfigError

Anchors: TypeAlias = Mapping[dns.name.Name, tuple[DS, ...]]

IANA_ROOT: Final = """\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""

_NOTE: Final = "note: write lines like `. IN DS 20326 8 2 E06D…`, or give a root.key or root-anchors.xml file"
_STATE: Final = re.compile(r";;state=(\d+)")
_TRUSTED_STATES: Final = ("2", "3")
"""VALID and MISSING (RFC 5011 §4.2) in files that unbound keeps: not a key still on probation, or revoked."""


@attrs.frozen(kw_only=True)
class Drift:
    """How the keys that a zone shows compare with its anchors."""

    matched: bool
    """Some anchor names a key that is shown: the chain of trust can begin."""
    unknown: tuple[int, ...]
    """Tags of keys that may become the only ones after a roll-over, and that no anchor names; in ascending order."""


def read_anchors(text: str, source: str = "trust anchors", *, now: float | None = None) -> Anchors:
    """The anchors in `text`. Raises ConfigError naming `source`, also where a zone has no usable one.

    Zone-file lines (DS; DNSKEY of secure entry points, which are digested; other types are no error) with comments
    after ";", or the XML of RFC 9718. Of that, keys count that are valid at `now` (seconds since 1970); without `now`,
    those whose end is not announced.
    """
    if len(text) > limits.DNS_ANCHORS:
        raise ConfigError([f"{source}: longer than {limits.DNS_ANCHORS} characters\n{_NOTE}"])
    try:
        found = _from_xml(text, now) if text.lstrip().startswith("<") else _from_lines(text)
    except (dns.exception.DNSException, ValueError, BadMessage) as error:
        raise ConfigError([f"{source}: {error}\n{_NOTE}"]) from error
    # a zone whose anchors say nothing that can be checked would be taken for unsigned: nobody means that
    useless = [zone.to_text() for zone, ds_set in found.items() if not any(map(is_supported, ds_set))]
    if useless or not found:
        raise ConfigError([f"{source}: no usable anchor{f' for {useless[0]}' if useless else ''}\n{_NOTE}"])
    return {zone: tuple(ds_set) for zone, ds_set in found.items()}


def compare(anchors: Anchors, zone: dns.name.Name, keys: Iterable[dns.rdata.Rdata]) -> Drift:
    """How the live DNSKEY set `keys` of `zone` compares with its anchors; other rdata among them is no error.

    Only secure entry points (the SEP flag) count that may sign: not revoked ones.
    """
    named = anchors.get(zone, ())
    live = [key for key in keys if isinstance(key, DNSKEY) and key.flags & Flag.SEP and Key.may_sign(key)]
    unknown = {dns.dnssec.key_id(key) for key in live if not any(matches_ds(zone, key, ds) for ds in named)}
    matched = any(is_supported(ds) and matches_ds(zone, key, ds) for key in live for ds in named)
    return Drift(matched=matched, unknown=tuple(sorted(unknown)))


_Found: TypeAlias = dict[dns.name.Name, list[DS]]


def _from_lines(text: str) -> _Found:
    lines = [line for line in text.splitlines() if _is_trusted(line)]
    found: _Found = {}
    for rrset in dns.zonefile.read_rrsets("\n".join(lines), rdclass=None, default_ttl=0, relativize=False):
        if rrset.rdtype in (RdataType.DS, RdataType.DNSKEY):
            found.setdefault(rrset.name, []).extend(_ds_of(rrset))
    return {zone: ds_set for zone, ds_set in found.items() if ds_set}


def _is_trusted(line: str) -> bool:
    state = _STATE.search(line)
    return state is None or state[1] in _TRUSTED_STATES


def _ds_of(rrset: dns.rrset.RRset) -> list[DS]:
    keys = [rdata for rdata in rrset if isinstance(rdata, DNSKEY)]
    made = [
        dns.dnssec.make_ds(rrset.name, key, DSDigest.SHA256)
        for key in keys
        if key.flags & Flag.SEP and Key.may_sign(key)
    ]
    return [rdata for rdata in rrset if isinstance(rdata, DS)] + made


def _from_xml(text: str, now: float | None) -> _Found:
    origin, digests = read_xml(text)
    zone = dns.name.from_text(origin)
    return {zone: [digest.ds for digest in digests if digest.valid_at(now)]}
