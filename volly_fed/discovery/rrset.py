"""RRsets of a response, with what the validator needs of them at hand: the canonical form, and signatures taken apart.

in: RDATA bytes and what dnspython makes of them; out: the same, none twice.
Never: judges anything. Source: RFC 2181 §5, RFC 4034 §3.1 and §6, RFC 6840 §5.1.
Half of what a discovery with dnspython's own RRsets costs goes into writing records out again, to compare them with the
others of their set and to check signatures, and into RRSIG objects whose text nobody asks for.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

import attrs
import dns.name
import dns.rdata
import dns.rdatatype
import dns.wire
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed import limits

_RRSIG: Final = struct.Struct("!HBBIIIH")
_MAX_LABEL: Final = 63


@attrs.frozen(kw_only=True)
class Rrsig:
    """An RRSIG; the fields have the names of RFC 4034 §3.1."""

    type_covered: int
    algorithm: int
    labels: int
    original_ttl: int
    expiration: int
    inception: int
    key_tag: int
    signer: dns.name.Name
    signature: bytes = attrs.field(repr=False)
    unsigned: bytes = attrs.field(repr=False)
    """The RDATA in canonical form without the signature, which is over this too (RFC 4034 §3.1.8.1)."""

    @classmethod
    def from_wire(cls, wire: bytes) -> "Rrsig":
        """From RDATA. Raises what dnspython raises for a malformed name, struct.error and IndexError."""
        covered, algorithm, labels, ttl, expiration, inception, tag = _RRSIG.unpack_from(wire)
        end = name_end(wire, _RRSIG.size)
        signer = wire[_RRSIG.size : end]
        return cls(
            type_covered=covered,
            algorithm=algorithm,
            labels=labels,
            original_ttl=ttl,
            expiration=expiration,
            inception=inception,
            key_tag=tag,
            signer=name_of(signer),
            signature=wire[end:],
            unsigned=wire[: _RRSIG.size] + signer.lower(),  # no length of a label is a letter
        )

    @property
    def canonical(self) -> bytes:
        """The RDATA in canonical form."""
        return self.unsigned + self.signature

    @property
    def rdata(self) -> dns.rdata.Rdata:
        """As dnspython has it, to be shown."""
        return dns.rdata.from_wire(IN, RdataType.RRSIG, self.canonical, 0, len(self.canonical))


def name_end(wire: bytes, at: int) -> int:
    """Where the name at `at` ends, if no pointer is in it. Raises IndexError, and ValueError for a pointer."""
    while size := wire[at]:
        if size > _MAX_LABEL:
            raise ValueError("a compressed name where none may be")
        at += 1 + size
    return at + 1


@lru_cache(limits.DNS_NAMES)
def name_of(wire: bytes) -> dns.name.Name:
    """The name whose wire form `wire` is. One discovery meets the same few names again and again."""
    return dns.wire.Parser(wire).get_name()


@attrs.define(eq=False)
class RRset:
    """The records of one owner and type, none twice (RFC 2181 §5); RRSIGs, of one type covered. The class is IN."""

    name: dns.name.Name
    rdtype: RdataType
    covers: int = RdataType.NONE
    ttl: int = 0
    _records: dict[bytes, dns.rdata.Rdata | Rrsig] = attrs.field(factory=dict, init=False, repr=False)

    def add(self, canonical: bytes, record: dns.rdata.Rdata | Rrsig, ttl: int) -> None:
        """One more; the least TTL counts. Of a type that has one record in a set at most, the last one stays."""
        if self._records:
            self.ttl = min(self.ttl, ttl)
            if dns.rdatatype.is_singleton(self.rdtype):
                self._records.clear()
        else:
            self.ttl = ttl
        self._records.setdefault(canonical, record)

    @classmethod
    def of(cls, name: dns.name.Name, ttl: int, rdatas: Iterable[dns.rdata.Rdata]) -> "RRset":
        """Of one or more records of one type."""
        first, *others = rdatas
        made = cls(name, first.rdtype, first.covers())
        for rdata in (first, *others):
            wire = rdata.to_digestable()
            made.add(wire, Rrsig.from_wire(wire) if rdata.rdtype == RdataType.RRSIG else rdata, ttl)
        return made

    @property
    def canonical(self) -> Iterable[bytes]:
        """The RDATA in canonical form (RFC 4034 §6.2), in the order they came in."""
        return self._records.keys()

    @property
    def rrsigs(self) -> list[Rrsig]:
        """The signatures in it."""
        return [record for record in self._records.values() if isinstance(record, Rrsig)]

    @property
    def first(self) -> Any:
        """The record that came first, the only one of a singleton type. Which fields it has, the type says."""
        return next(iter(self))

    def __iter__(self) -> Iterator[Any]:
        return (record.rdata if isinstance(record, Rrsig) else record for record in self._records.values())

    def __len__(self) -> int:
        return len(self._records)
