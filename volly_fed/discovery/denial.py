"""What a denial of existence proves: the value both kinds of proof come to, and what they share.

in: type bitmaps and names; out: frozen values. Source: RFC 4035 §5.4, RFC 6840 §4.
"""

import enum
from typing import Final, Protocol

import attrs
import dns.name
import dns.rdatatype
from dns.rdatatype import RdataType

from volly_fed.errors import Bogus

_WINDOW: Final = 256
_TOP_BIT: Final = 0x80


class Absence(enum.Enum):
    """What is not there."""

    NODATA = "the name has no such record"
    NXDOMAIN = "the name does not exist"


@attrs.frozen(kw_only=True)
class Denial:
    """A proved absence."""

    absence: Absence
    reason: str
    delegation: bool = False
    """For DS only: the name is a zone cut without DS, so everything below it is insecure."""
    secure: bool = True
    """False where opt-out or costly hashing leaves it open (RFC 5155 §9.2, RFC 9276 §3.2)."""


class _HasBitmap(Protocol):
    windows: tuple[tuple[int, bytes], ...]


def types_in(rdata: _HasBitmap) -> frozenset[int]:
    """The type numbers that an NSEC or NSEC3 bitmap shows (RFC 4034 §4.1.2)."""
    return frozenset(
        window * _WINDOW + index * 8 + bit
        for window, bitmap in rdata.windows
        for index, byte in enumerate(bitmap)
        for bit in range(8)
        if byte & (_TOP_BIT >> bit)
    )


def is_delegation(types: frozenset[int]) -> bool:
    """Whether the record comes from the parent's side of a zone cut: it says nothing of names below (RFC 6840 §4.1)."""
    return RdataType.NS in types and RdataType.SOA not in types


def judge_match(name: dns.name.Name, rdtype: RdataType, types: frozenset[int], kind: str) -> Denial:
    """The denial by a record that matches `name`. Raises Bogus where it says the contrary, or cannot know."""
    shown = f"{name} {dns.rdatatype.to_text(rdtype)}"
    if rdtype in types or RdataType.CNAME in types:
        raise Bogus(f"{shown}: the answer is empty, but {kind} says that the record exists")
    if rdtype == RdataType.DS:
        # RFC 6840 §4.4: the child's own record would say "no DS" of any zone
        if RdataType.SOA in types and name != dns.name.root:
            raise Bogus(f"{shown}: {kind} is the child zone's")
        return Denial(absence=Absence.NODATA, reason=f"{kind} shows no DS at {name}", delegation=RdataType.NS in types)
    if is_delegation(types):
        raise Bogus(f"{shown}: {kind} is the parent zone's")
    return Denial(absence=Absence.NODATA, reason=f"{kind} shows no such record at {name}")


def check_wildcard(name: dns.name.Name, rdtype: RdataType, types: frozenset[int], kind: str) -> None:
    """Raises Bogus unless the bitmap of a wildcard denies `rdtype` for `name`."""
    if rdtype in types or RdataType.CNAME in types or is_delegation(types):
        shown = f"{name} {dns.rdatatype.to_text(rdtype)}"
        raise Bogus(f"{shown}: the answer is empty, but the wildcard's {kind} says that the record exists")


def wildcard_at(encloser: dns.name.Name) -> dns.name.Name:
    """The wildcard that would answer for names below `encloser`."""
    return dns.name.from_text("*", encloser)
