"""Trust anchors: the DS sets where chains of trust begin.

in: zone-file text of DS lines; out: a mapping from zone to DS set. Built in: those of the IANA root.
Never: follows RFC 5011 roll-overs by itself; both root keys of 2026 are here, and a file can replace them.
Source: RFC 4035 §5, RFC 9718 (root-anchors.xml, from which the built-in values come).
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import dns.exception
import dns.name
import dns.zonefile
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DS import DS

from volly_fed.discovery.signature import is_supported
from volly_fed.errors import ConfigError

Anchors: TypeAlias = Mapping[dns.name.Name, tuple[DS, ...]]

IANA_ROOT: Final = """\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""


def read_anchors(text: str, source: str = "trust anchors") -> Anchors:
    """The anchors in `text`: DS lines as in a zone file, comments with ";". Raises ConfigError naming `source`.

    Other record types are no error (root.key files hold DNSKEY lines too), but at least one DS must be usable.
    """
    try:
        rrsets = dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=0, relativize=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise ConfigError([f"{source}: {error}\nnote: write lines like `. IN DS 20326 8 2 E06D…`"]) from error
    anchors = {
        rrset.name: tuple(rdata for rdata in rrset if isinstance(rdata, DS))
        for rrset in rrsets
        if rrset.rdtype == RdataType.DS
    }
    if not any(is_supported(ds) for ds_set in anchors.values() for ds in ds_set):
        raise ConfigError([f"{source}: no usable DS line\nnote: write lines like `. IN DS 20326 8 2 E06D…`"])
    return anchors
