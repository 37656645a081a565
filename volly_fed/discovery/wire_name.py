"""Names from their wire form, each made once.

in: bytes of a name; out: dns.name.Name. Never: follows compression pointers. Source: RFC 1035 §3.1.
One discovery meets the same few names again and again, and making one takes dnspython longer than looking it up here.
What is made once is also the same object, so that most comparisons need not look at the labels.
"""

from functools import lru_cache
from typing import Final

import dns.name
import dns.wire

from volly_fed import limits

_MAX_LABEL: Final = 63


def name_end(wire: bytes, at: int) -> int:
    """Where the name at `at` ends. Raises ValueError for one with a pointer, and IndexError for one without an end."""
    while size := wire[at]:
        if size > _MAX_LABEL:
            raise ValueError("a pointer, or no label, in a name")
        at += 1 + size
    return at + 1


@lru_cache(limits.DNS_NAMES)
def name_of(wire: bytes) -> dns.name.Name:
    """The name that is written `wire`. Raises DNSException for one that is too long."""
    return dns.wire.Parser(wire).get_name()


@lru_cache(limits.DNS_NAMES)
def name_from(text: str) -> dns.name.Name:
    """The name `text`, taken from the root. Raises DNSException for what is no name."""
    return name_of(dns.name.from_text(text, dns.name.root).to_wire() or b"")


def above(name: dns.name.Name) -> dns.name.Name:
    """The name without its first label; `name` is not the root."""
    wire = name.to_wire() or b""
    return name_of(wire[1 + wire[0] :])


def same(one: dns.name.Name, other: dns.name.Name) -> bool:
    """Whether they are equal; quickly where they are one."""
    return one is other or one == other
