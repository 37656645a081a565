"""RRsets of a response, with what the validator needs at hand: canonical forms, signatures and keys taken apart.

in: RDATA bytes and what dnspython makes of them; out: the same, none twice.
Never: judges anything. Source: RFC 2181 §5, RFC 4034 §3.1 and §6, RFC 6840 §5.1.
Half of what a discovery with dnspython's own RRsets costs goes into writing records out again, to compare them with the
others of their set and to check signatures, and into objects whose text nobody asks for.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

import attrs
import dns.name
import dns.rdata
import dns.rdatatype
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed.discovery.wire_name import name_end, name_of

_RRSIG: Final = struct.Struct("!HBBIIIH")
_DNSKEY: Final = struct.Struct("!HBB")


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


@attrs.frozen(kw_only=True)
class Dnskey:
    """A DNSKEY; the fields have the names of RFC 4034 §2.1."""

    flags: int
    protocol: int
    algorithm: int
    key: bytes = attrs.field(repr=False)

    @classmethod
    def from_wire(cls, wire: bytes) -> "Dnskey":
        """From RDATA. Raises struct.error where it is too short."""
        flags, protocol, algorithm = _DNSKEY.unpack_from(wire)
        return cls(flags=flags, protocol=protocol, algorithm=algorithm, key=wire[_DNSKEY.size :])

    @property
    def rdata(self) -> dns.rdata.Rdata:
        """As dnspython has it, to be shown."""
        wire = _DNSKEY.pack(self.flags, self.protocol, self.algorithm) + self.key
        return dns.rdata.from_wire(IN, RdataType.DNSKEY, wire, 0, len(wire))


Record: TypeAlias = dns.rdata.Rdata | Rrsig | Dnskey


@attrs.define(eq=False)
class RRset:
    """The records of one owner and type, none twice (RFC 2181 §5); RRSIGs, of one type covered. The class is IN."""

    name: dns.name.Name
    rdtype: RdataType
    covers: int = RdataType.NONE
    ttl: int = 0
    _records: dict[bytes, Record] = attrs.field(factory=dict, init=False, repr=False)

    def add(self, canonical: bytes, record: Record, ttl: int) -> None:
        """One more; the least TTL counts. Of a type that has one record in a set at most, the last one stays."""
        if self._records:
            self.ttl = min(self.ttl, ttl)
            if dns.rdatatype.is_singleton(self.rdtype):
                self._records.clear()
        else:
            self.ttl = ttl
        self._records.setdefault(canonical, record)

    @property
    def canonical(self) -> Iterable[bytes]:
        """The RDATA in canonical form (RFC 4034 §6.2), in the order they came in."""
        return self._records.keys()

    @property
    def rrsigs(self) -> list[Rrsig]:
        """The signatures in it."""
        return [record for record in self._records.values() if isinstance(record, Rrsig)]

    @property
    def dnskeys(self) -> list[Dnskey]:
        """The keys in it."""
        return [record for record in self._records.values() if isinstance(record, Dnskey)]

    @property
    def first(self) -> Any:
        """The record that came first, the only one of a singleton type. Which fields it has, the type says."""
        return next(iter(self))

    def __iter__(self) -> Iterator[Any]:
        return (record.rdata if isinstance(record, Rrsig | Dnskey) else record for record in self._records.values())

    def __len__(self) -> int:
        return len(self._records)
