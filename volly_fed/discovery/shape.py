"""A response's shape, before anything is made of it: how many records, and how deep their names.

in: bytes; out: nothing, or BadMessage. It only follows the lengths and pointers of the wire form.
Never: is needed for correctness: it bounds the time that parsing can cost. Sixteen thousand bytes of pointers to one
name of 127 labels take dnspython several seconds, and whoever runs a zone can make such answers.
Source: RFC 1035 §4.1.4 (compression) and §3.3, RFC 2782, RFC 4034 §3.1 and §4.1.
"""

import struct
from typing import Final

import dns.rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.errors import BadMessage

_HEADER: Final = struct.Struct("!4x4H")
_START: Final = 12
_MAX_LABELS: Final = 127  # RFC 1035 §3.1: 255 bytes in all
_RECORD: Final = struct.Struct("!HHIH")
_QUESTION: Final = 4  # type and class
_POINTER: Final = 0xC0
_OFFSET: Final = 0x3FFF
_NAMES: Final[dict[int, tuple[int, int]]] = {
    RdataType.NS: (0, 1),
    RdataType.CNAME: (0, 1),
    RdataType.SOA: (0, 2),
    RdataType.PTR: (0, 1),
    RdataType.MX: (2, 1),
    RdataType.SRV: (6, 1),
    RdataType.DNAME: (0, 1),
    RdataType.RRSIG: (18, 1),
    RdataType.NSEC: (0, 1),
}
"""Where in the RDATA names begin, and how many there are."""
_NAMELESS: Final = frozenset(
    {
        *(RdataType.A, RdataType.AAAA, RdataType.TXT, RdataType.OPT, RdataType.TLSA, RdataType.CAA, RdataType.SSHFP),
        *(RdataType.DS, RdataType.DNSKEY, RdataType.CDS, RdataType.CDNSKEY, RdataType.NSEC3, RdataType.NSEC3PARAM),
    }
)


def check_shape(wire: bytes) -> int:
    """What parsing will cost, in the unit of limits.DNS_PARSING.

    Raises BadMessage for a message of more than limits.DNS_RECORDS records, or with too many and too deep names.
    """
    try:
        questions, *sections = _HEADER.unpack_from(wire)
        if questions + sum(sections) > limits.DNS_RECORDS:
            raise BadMessage(f"an answer of more than {limits.DNS_RECORDS} records is refused")
        scan = _Scan(wire, _START)
        for _ in range(questions):
            scan.name()
            scan.position += _QUESTION
        for _ in range(sum(sections)):
            scan.record()
        return scan.work + limits.DNS_RECORD_WORK * int(sum(sections)) + len(wire)
    except (struct.error, IndexError) as error:
        raise BadMessage("a DNS message that ends too early") from error


def has_names(rdtype: int) -> bool:
    """Whether there are names in the RDATA, so that it can be written in more than one way."""
    return rdtype in _NAMES


def _is_opaque(rdtype: int) -> bool:
    """Whether dnspython takes its RDATA as bytes."""
    found = dns.rdata.get_rdata_class(IN, RdataType.make(rdtype))  # type: ignore[no-untyped-call]  # dnspython's gap
    return found is dns.rdata.GenericRdata


class _Scan:
    """Reads on from `position`, and adds up what the names will cost."""

    def __init__(self, wire: bytes, position: int) -> None:
        self.position = position
        self.work = 0
        self._wire = wire

    def record(self) -> None:
        self.name()
        rdtype, rdclass, _, size = _RECORD.unpack_from(self._wire, self.position)
        start = self.position + _RECORD.size
        if rdclass != IN and rdtype != RdataType.OPT:  # dnspython remembers every pair of class and type for good
            raise BadMessage(f"a record of class {rdclass} in a DNS message, for which there is no use here")
        skipped, names = _NAMES.get(rdtype, (0, 0))
        if not names and rdtype not in _NAMELESS and not _is_opaque(rdtype):
            raise BadMessage(f"a record of type {rdtype} in a DNS message, for which there is no use here")
        self.position = start + skipped
        for _ in range(names):
            self.name()
        self.position = start + size

    def name(self) -> None:
        wire, at, after, labels = self._wire, self.position, 0, 0
        while size := wire[at]:
            if size >= _POINTER:
                after = after or at + 2
                target = int.from_bytes(wire[at : at + 2]) & _OFFSET
                if target >= at:
                    raise BadMessage("a name in a DNS message that points forward")
                at = target
            else:
                at += 1 + size
                labels += 1
                if labels > _MAX_LABELS:
                    raise BadMessage("a name in a DNS message that is too long")
        self.position = after or at + 1
        self.work += labels * labels
        if self.work > limits.DNS_NAME_WORK:
            raise BadMessage("an answer with so many names of so many labels is refused")
