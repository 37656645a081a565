"""A response's bytes to RRsets: the header, the question and the frames of records. What is inside, dnspython reads.

in: bytes whose shape has been checked, and the question; out: a Message.
Never: judges what the records say. Raises only BadMessage.
Source: RFC 1035 §4.1, RFC 6891 §6.1, RFC 6698 §4.1.
"""

import struct
from typing import Final

import attrs
import dns.edns
import dns.flags
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.wire
from dns.rcode import Rcode
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.OPT import OPT

from volly_fed.discovery.question import Question
from volly_fed.discovery.rrset import Dnskey, Record, RRset, Rrsig
from volly_fed.discovery.shape import has_names
from volly_fed.discovery.wire_name import name_end, name_of
from volly_fed.errors import BadMessage

_HEADER: Final = struct.Struct("!6H")
_ASKED: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_TO_QUESTION: Final = b"\xc0\x0c"  # RFC 1035 §4.1.4: a pointer to byte 12, where the question's name begins
_MAX_TTL: Final = 0x7FFFFFFF


@attrs.frozen(kw_only=True)
class Message:
    """A response."""

    flags: int
    rcode: Rcode
    answer: list[RRset]
    authority: list[RRset]
    options: tuple[dns.edns.Option, ...] = ()


def read(wire: bytes, question: Question) -> Message:
    """The response to `question`. Raises BadMessage for what is malformed, no response, or one to something else."""
    try:
        return _Reader(wire, question).message()
    except BadMessage:
        raise
    except Exception as error:  # dnspython leaks KeyError, struct.error and others: all mean malformed
        raise BadMessage(f"a malformed DNS message ({type(error).__name__})") from error


class _Reader:
    """Reads one message from its beginning to its end."""

    def __init__(self, wire: bytes, question: Question) -> None:
        self._wire = wire
        self._question = question
        self._parser = dns.wire.Parser(wire)
        self._position = _HEADER.size
        self._edns: tuple[int, tuple[dns.edns.Option, ...]] | None = None

    def message(self) -> Message:
        _, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(self._wire)
        if dns.opcode.from_flags(flags) != dns.opcode.QUERY or not flags & dns.flags.QR:
            raise BadMessage("a DNS message that is no response")
        self._check_question(questions)
        answer = self._section(answers, tlsa=True)
        authority = self._section(authorities)
        self._section(additionals, opt=True)
        if self._position != len(self._wire):
            raise BadMessage("a malformed DNS message (its records do not end where it does)")
        extended, options = self._edns or (0, ())
        rcode = dns.rcode.from_flags(flags, extended)
        return Message(flags=flags, rcode=rcode, answer=answer, authority=authority, options=options)

    def _check_question(self, count: int) -> None:
        question, end = self._question, _HEADER.size + len(self._question.wire)
        if count == 1 and self._wire[_HEADER.size : end] == question.wire:
            self._position = end
            return
        asked = self._name() if count == 1 else None
        if asked != question.name or _ASKED.unpack_from(self._wire, self._position) != (question.rdtype, IN):
            raise BadMessage("a DNS response to another question")
        self._position += _ASKED.size

    def _name(self) -> dns.name.Name:
        """The owner's name; the question's own object where it is equal."""
        wire, at, asked = self._wire, self._position, self._question.name
        if wire[at : at + 2] == _TO_QUESTION and at > _HEADER.size:
            self._position = at + 2
            return asked
        try:
            self._position = name_end(wire, at)
        except ValueError:
            self._parser.seek(at)
            name = self._parser.get_name(decompress=True)
            self._position = self._parser.current
            return asked if name == asked else name
        written = wire[at : self._position]
        return asked if written.lower() == self._question.owner else name_of(written)

    def _section(self, count: int, *, tlsa: bool = False, opt: bool = False) -> list[RRset]:
        """The RRsets of so many records. `tlsa`, `opt`: a malformed TLSA record, or an OPT, may be among them."""
        found: dict[tuple[dns.name.Name | None, int, int], RRset] = {}
        for _ in range(count):
            name = self._name()
            rdtype, _, ttl, size = _RECORD.unpack_from(self._wire, self._position)
            self._position += _RECORD.size
            if rdtype == RdataType.OPT:
                if not opt or self._edns is not None or len(name) > 1:
                    raise BadMessage("a malformed DNS message (OPT where it may not be)")
                self._edns = (ttl, self._options(size))
                continue
            canonical, record, covers = self._record(rdtype, size, tlsa=tlsa)
            key = (None if name is self._question.name else name, rdtype, covers)
            if key not in found:
                found[key] = RRset(name, RdataType.make(rdtype), covers)
            found[key].add(canonical, record, ttl if ttl <= _MAX_TTL else 0)  # RFC 2181 §8
        return list(found.values())

    def _record(self, rdtype: int, size: int, *, tlsa: bool) -> tuple[bytes, Record, int]:
        """The RDATA in canonical form, and taken apart; and the type that it covers, if it is a signature."""
        start = self._position
        self._position += size  # beyond the end of the message is found out there
        data = self._wire[start : self._position]
        if rdtype == RdataType.RRSIG:
            rrsig = Rrsig.from_wire(data)
            return rrsig.canonical, rrsig, rrsig.type_covered
        if rdtype == RdataType.DNSKEY:
            return data, Dnskey.from_wire(data), RdataType.NONE
        try:
            rdata = self._rdata(rdtype, start, size)
        except Exception:
            if not tlsa or rdtype != RdataType.TLSA:
                raise
            # a digest of the wrong length: only that record is ignored, and the signature is over it too
            return data, dns.rdata.GenericRdata(IN, RdataType.TLSA, data), RdataType.NONE
        return rdata.to_digestable() if has_names(rdtype) else data, rdata, RdataType.NONE

    def _rdata(self, rdtype: int, start: int, size: int) -> dns.rdata.Rdata:
        return dns.rdata.from_wire(IN, RdataType.make(rdtype), self._wire, start, size)

    def _options(self, size: int) -> tuple[dns.edns.Option, ...]:
        start = self._position
        self._position += size
        opt = self._rdata(RdataType.OPT, start, size) if size else None
        return opt.options if isinstance(opt, OPT) else ()
