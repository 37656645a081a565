"""Which addresses a name from outside may lead to.

in: A and AAAA rdata; out: literals, IPv6 first. Never: looks anything up.
Source: RFC 6890 (special-purpose addresses), RFC 4291 §2.4, RFC 6052 and RFC 3056 (IPv4 inside IPv6).
Whoever controls a zone can point it at our own network (request forgery), so addresses that are not global are refused,
except in test networks.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

import dns.rdata
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from volly_fed import limits

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is global in IPv6. Outside are ::127.0.0.1, fec0::1 and others that Python 3.11 calls global."""
_DOCUMENTATION: Final = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, younger than Python 3.11
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
_IPV4_BITS: Final = 0xFFFFFFFF


def is_public(address: Address) -> bool:
    """Whether `address` is a global unicast one, and so is the IPv4 address it carries, where it carries one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _carried(address)
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST or address in _DOCUMENTATION:
            return False
    return address.is_global and not address.is_multicast  # [discovery-24]


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour


def sort_addresses(rdatas: Iterable[dns.rdata.Rdata], *, allow_private: bool) -> tuple[tuple[str, ...], int]:
    """The literals that may be dialled, IPv6 first, at most limits.DNS_ADDRESSES; and how many were refused."""
    addresses = [ipaddress.ip_address(rdata.address) for rdata in rdatas if isinstance(rdata, A | AAAA)]
    allowed = [address for address in addresses if allow_private or is_public(address)]
    allowed.sort(key=lambda address: -address.version)
    return tuple(map(str, allowed))[: limits.DNS_ADDRESSES], len(addresses) - len(allowed)
