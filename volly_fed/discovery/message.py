"""A response's bytes to a message that answers one question, and the RRsets in it.

in: bytes from a resolver; out: a dns.message.Message that has the right id, question and shape.
Never: trusts anything in it; that is for the validator. Raises only BadMessage. Source: RFC 1035 §4, RFC 5452 §9.1.
"""

import struct
from typing import Final, NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.wire
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.shape import check_shape
from volly_fed.errors import BadMessage

_HEADER: Final = 12
_QUERY: Final = struct.Struct("!6H")
_ASKED: Final = struct.Struct("!HH")
_OPT: Final = struct.pack("!BHHIH", 0, RdataType.OPT, limits.DNS_UDP_PAYLOAD, dns.flags.DO, 0)
"""RFC 6891 §6.1.2: the root's name, the size of UDP answers that we take, DO (RFC 3225), and no options."""


class Question(NamedTuple):
    """What is asked; the class is always IN. Names compare without regard to case."""

    name: dns.name.Name
    rdtype: RdataType

    def __str__(self) -> str:
        return f"{self.name} {dns.rdatatype.to_text(self.rdtype)}"


def query_for(question: Question, ident: int) -> bytes:
    """The query's bytes: RD to have it resolved, DO to get signatures, CD because we validate ourselves."""
    head = _QUERY.pack(ident, dns.flags.RD | dns.flags.CD, 1, 0, 0, 1)
    asked = question.name.to_wire()
    assert asked is not None  # only with a file to write to
    return head + asked + _ASKED.pack(question.rdtype, IN) + _OPT


def has_ident(wire: bytes, ident: int) -> bool:
    """Whether `wire` can be the response to query number `ident`: cheap enough for a flood of forgeries."""
    return len(wire) >= _HEADER and int.from_bytes(wire[:2]) == ident


def parse_response(wire: bytes, question: Question, budget: Budget | None = None) -> dns.message.Message:
    """The response to `question`, at most limits.DNS_MAX_MESSAGE bytes. Raises BadMessage.

    With a `budget` it is paid from that, and raises Indeterminate where it does not suffice.

    A TLSA record whose digest has the wrong length is no error: it stays in its RRset, as a generic rdata, so that
    the signature over the set can be checked and only that record is ignored (RFC 6698 §4.1).
    """
    if not _HEADER <= len(wire) <= limits.DNS_MAX_MESSAGE:
        raise BadMessage(f"an answer of {len(wire)} bytes is refused: {limits.DNS_MAX_MESSAGE} are the most")
    work = check_shape(wire)
    if budget is not None:
        budget.spend_parsing(work)
    try:
        message = dns.message.from_wire(wire, continue_on_error=True)
        malformed = _malformed_tlsa(wire) if message.errors else []
    except Exception as error:  # dnspython leaks KeyError, struct.error and others: all mean malformed
        raise BadMessage(f"a malformed DNS message ({type(error).__name__})") from error
    if len(message.errors) != len(malformed):
        raise BadMessage(f"a malformed DNS message ({message.errors[0].exception})")
    for name, ttl, rdata in malformed:
        _keep(message, name, ttl, rdata)
    _check_header(message, question)
    return message


def _check_header(message: dns.message.Message, question: Question) -> None:
    if message.opcode() != dns.opcode.QUERY or not message.flags & dns.flags.QR:
        raise BadMessage("a DNS message that is no response")
    asked = message.question[0] if len(message.question) == 1 else None
    if asked is None or (asked.name, asked.rdtype, asked.rdclass) != (*question, IN):
        raise BadMessage("a DNS response to another question")


def _malformed_tlsa(wire: bytes) -> list[tuple[dns.name.Name, int, dns.rdata.GenericRdata]]:
    """The TLSA records in the answer that dnspython refuses to hold."""
    parser = dns.wire.Parser(wire)
    _, _, questions, answers, _, _ = parser.get_struct("!HHHHHH")
    for _ in range(questions):
        parser.get_name(decompress=True)
        parser.get_struct("!HH")
    found = []
    for _ in range(answers):
        name = parser.get_name(decompress=True)
        rdtype, rdclass, ttl, size = parser.get_struct("!HHIH")
        data = parser.get_bytes(size)
        if (rdtype, rdclass) == (RdataType.TLSA, IN) and not _is_wellformed(data):
            found.append((name, ttl, dns.rdata.GenericRdata(IN, RdataType.TLSA, data)))
    return found


def _is_wellformed(data: bytes) -> bool:
    try:
        dns.rdata.from_wire(IN, RdataType.TLSA, data, 0, len(data))
    except Exception:  # as above: whatever it is, the record is malformed
        return False
    return True


def _keep(message: dns.message.Message, name: dns.name.Name, ttl: int, rdata: dns.rdata.GenericRdata) -> None:
    rrset = message.find_rrset(message.answer, name, IN, RdataType.TLSA, create=True)
    rrset.add(rdata, ttl)


def find(section: list[dns.rrset.RRset], name: dns.name.Name, rdtype: RdataType) -> dns.rrset.RRset | None:
    """The RRset of that name and type, or None."""
    for rrset in section:
        if rrset.rdtype == rdtype and rrset.rdclass == IN and rrset.name == name:
            return rrset
    return None


def signatures(section: list[dns.rrset.RRset], rrset: dns.rrset.RRset) -> list[RRSIG]:
    """The signatures that claim to cover `rrset`; how many of them are tried, `verify_rrset` decides."""
    return [rdata for held in _signature_sets(section, rrset) for rdata in held if isinstance(rdata, RRSIG)]


def signed_ttl(section: list[dns.rrset.RRset], rrset: dns.rrset.RRset) -> int:
    """The TTL of `rrset` as received, or that of its signatures if it is less (RFC 4035 §5.3.3)."""
    return min([rrset.ttl, *(held.ttl for held in _signature_sets(section, rrset))])


def _signature_sets(section: list[dns.rrset.RRset], rrset: dns.rrset.RRset) -> list[dns.rrset.RRset]:
    return [
        held
        for held in section
        if held.rdtype == RdataType.RRSIG
        and held.covers == rrset.rdtype
        and held.rdclass == rrset.rdclass
        and held.name == rrset.name
    ]
