"""What dnspython makes of a response, in the form in which our own reader's work can be compared with it."""

import attrs
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.wire
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from volly_fed.discovery.question import Question
from volly_fed.discovery.reader import Message
from volly_fed.discovery.rrset import RRset

Shown = tuple[dns.name.Name, int, int, int, dict[bytes, dns.rdata.Rdata]]


@attrs.frozen(kw_only=True)
class Taken:
    """A response that is taken: RRsets in their order, with their records by canonical form."""

    flags: int
    rcode: int
    sections: tuple[list[Shown], list[Shown]]
    options: tuple[str, ...]


def of_dnspython(wire: bytes, question: Question) -> Taken | None:
    """None for what is malformed, no response, or one to something else. Malformed TLSA records of the answer stay."""
    try:
        message = dns.message.from_wire(wire, continue_on_error=True)
        malformed = _malformed_tlsa(wire) if message.errors else []
    except Exception:  # it leaks KeyError, struct.error and others
        return None
    if len(message.errors) != len(malformed) or any(_is_about_opt(error) for error in message.errors):
        return None
    for name, ttl, rdata in malformed:
        held = message.find_rrset(message.answer, name, IN, RdataType.TLSA, create=True)
        held.add(rdata, ttl if ttl < 1 << 31 else 0)  # RFC 2181 §8, as dnspython has it for the others
    if message.opcode() != dns.opcode.QUERY or not message.flags & dns.flags.QR or len(message.question) != 1:
        return None
    asked = message.question[0]
    if (asked.name, asked.rdtype, asked.rdclass) != (question.name, question.rdtype, IN):
        return None
    sections: list[list[Shown]] = [
        [(r.name, r.rdtype, r.covers, r.ttl, {rdata.to_digestable(): rdata for rdata in r}) for r in section]
        for section in (message.answer, message.authority)
    ]
    return Taken(
        flags=int(message.flags),
        rcode=int(message.rcode()),
        sections=(sections[0], sections[1]),
        options=tuple(map(str, message.options)),
    )


def _is_about_opt(error: dns.message.MessageError) -> bool:
    return isinstance(error.exception, dns.message.BadEDNS)


def of_ours(message: Message) -> Taken:
    """The same of what our reader has made."""
    return Taken(
        flags=message.flags,
        rcode=int(message.rcode),
        sections=([_shown(rrset) for rrset in message.answer], [_shown(rrset) for rrset in message.authority]),
        options=tuple(map(str, message.options)),
    )


def _shown(rrset: RRset) -> Shown:
    records = dict(zip(rrset.canonical, rrset, strict=True))
    return rrset.name, rrset.rdtype, rrset.covers, rrset.ttl, records


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
