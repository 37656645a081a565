"""Target: responses of resolvers, and what is in their records.

in: which question, and a response's bytes. Once its shape is allowed, our reader and dnspython's must agree.
Never lets through: another error than BadMessage, a response that dnspython would refuse or read otherwise, a record
whose fields are another's. The oracle is the one of tests/discovery: reference.
"""

import struct
from functools import cache
from random import Random

import attrs
import dns.name
from dns.rdatatype import RdataType

from fuzz.target import Raw, Target, pick
from tests.discovery.reference import Taken, of_dnspython, of_ours
from volly_fed.discovery.dane import objection
from volly_fed.discovery.message import Question, parse_response
from volly_fed.discovery.reader import Message
from volly_fed.discovery.records import choose_identity, order_srv, parse_identity, parse_srv, parse_tlsa, txt_strings
from volly_fed.discovery.rrset import RRset
from volly_fed.discovery.shape import check_shape
from volly_fed.errors import BadMessage

QUESTIONS = tuple(
    Question(dns.name.from_text(name), RdataType.make(rdtype))
    for name, rdtype in (
        ("_volly-fed._tcp.a.test", "SRV"),
        ("_volly-fed.a.test", "TXT"),
        ("fed.a.test", "A"),
        ("fed.a.test", "AAAA"),
        ("_5223._tcp.fed.a.test", "TLSA"),
        ("a.test", "DNSKEY"),
        ("a.test", "DS"),
        ("missing.a.test", "A"),
        ("chain.alias.test", "A"),
        ("fed.tree.alias.test", "A"),
        ("x.wild.a.test", "A"),
    )
)
IDENTITY = 0xFF
"""As the first byte: not a response, but an identity record's text."""
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_POINTER = 0xC0


def run(data: bytes) -> None:
    """The first byte chooses the question."""
    if pick(data, 0) == IDENTITY:
        _identity(data[1:])
        return
    question, wire = QUESTIONS[pick(data, 0) % len(QUESTIONS)], data[1:]
    try:
        message = parse_response(wire, question)
    except BadMessage:
        message = None
    if _is_allowed(wire):
        expected = of_dnspython(wire, question)
        assert (message is None) == (expected is None), "taken by one and refused by the other"
        if message is not None and expected is not None:
            assert _sorted(of_ours(message)) == _sorted(expected), "not what dnspython reads"
    if message is not None:
        _look_into(message)


def _sorted(taken: Taken) -> Taken:
    """The order of RRsets does not matter; dnspython's is another where a TLSA record is malformed."""
    first, second = (sorted(section, key=lambda one: (one[0], *one[1:3])) for section in taken.sections)
    return attrs.evolve(taken, sections=(first, second))


def _is_allowed(wire: bytes) -> bool:
    try:
        check_shape(wire)
    except BadMessage:
        return False
    return len(wire) >= _HEADER.size


def _identity(text: bytes) -> None:
    try:
        identity = parse_identity(text)
    except BadMessage:
        return
    assert parse_identity(str(identity).encode()) == identity


def _look_into(message: Message) -> None:
    for rrset in (*message.answer, *message.authority):
        str(rrset), len(rrset), rrset.rrsigs, rrset.dnskeys
        _records(rrset)


def _records(rrset: RRset) -> None:
    services = []
    for rdata in rrset:
        try:
            if rrset.rdtype == RdataType.TLSA:
                objection(parse_tlsa(rdata))
            elif rrset.rdtype == RdataType.SRV:
                services.append(parse_srv(rdata))
            elif rrset.rdtype == RdataType.TXT:
                choose_identity(txt_strings([rdata]))
        except BadMessage:
            continue
    ordered = order_srv(services, Random(1).randbytes)
    assert sorted(map(str, ordered)) == sorted(map(str, services)), "a target is lost"
    assert [one.priority for one in ordered] == sorted(one.priority for one in ordered)


# --- a mutator that knows where records begin ------------------------------------------------------------------------


def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
    """One record changes, comes twice or goes, with lengths and counts that fit; now and then anything changes."""
    if pick(data, 0) == IDENTITY or not random.randrange(6):
        return data[:1] + raw(data[1:])
    try:
        head, records = taken_apart(data[1:])
    except (struct.error, IndexError):
        return data[:1] + raw(data[1:])
    if records:
        _change(records, random, raw)
    counts = [sum(section == which for section, _, _, _ in records) for which in range(3)]
    parts = [_HEADER.pack(*struct.unpack("!3H", head[:6]), *counts), head[_HEADER.size :]]
    for section in range(3):
        for which, name, fields, rdata in records:
            if which == section:
                parts += (name, fields, len(rdata).to_bytes(2, "big"), rdata)
    return data[:1] + b"".join(parts)


_Parts = tuple[int, bytes, bytes, bytes]
"""(section, owner, type and class and TTL, RDATA)."""


def _change(records: list[_Parts], random: Random, raw: Raw) -> None:
    at = random.randrange(len(records))
    section, name, fields, rdata = records[at]
    match random.randrange(10):
        case 0:
            del records[at]
        case 1:
            records.insert(random.randrange(len(records) + 1), records[at])
        case 2:
            records[at] = (random.randrange(3), name, fields, rdata)
        case 3:
            records[at] = (section, raw(name), fields, rdata)
        case 4:
            records[at] = (section, name, raw(fields)[:8].ljust(8, b"\0"), rdata)
        case 5:
            records[at] = (section, name, fields, random.choice(records)[3])
        case 6:
            records[at] = (section, random.choice(records)[1], fields, rdata)
        case _:
            records[at] = (section, name, fields, raw(rdata)[:2000])


def taken_apart(wire: bytes) -> tuple[bytes, list[_Parts]]:
    """Header and question, and the records. Raises struct.error and IndexError for what is cut short."""
    *_, questions, answers, authorities, additionals = _HEADER.unpack_from(wire)
    at = _HEADER.size
    for _ in range(questions):
        at = _name_end(wire, at) + 4
    head, records = wire[:at], []
    for section, count in enumerate((answers, authorities, additionals)):
        for _ in range(min(count, 64)):
            end = _name_end(wire, at)
            *_, size = _RECORD.unpack_from(wire, end)
            start = end + _RECORD.size
            records.append((section, wire[at:end], wire[end : start - 2], wire[start : start + size]))
            at = start + size
    return head, records


def _name_end(wire: bytes, at: int) -> int:
    while wire[at]:
        if wire[at] >= _POINTER:
            return at + 2
        at += 1 + wire[at]
    return at + 1


# --- seeds -----------------------------------------------------------------------------------------------------------


@cache
def _genuine() -> list[bytes]:
    """Every question's response, in a world with NSEC and in one with NSEC3."""
    from tests.discovery.harness import NOW, Judge  # only to make a corpus
    from tests.discovery.worlds import build  # as above

    seen: dict[tuple[bool, Question], bytes] = {}

    def keep(question: Question, wire: bytes) -> bytes:
        if question in QUESTIONS:
            seen[nsec3, question] = bytes([QUESTIONS.index(question)]) + wire
        return wire

    for nsec3 in (False, True):
        judge = Judge(build(nsec3=nsec3, algorithm=15), now=NOW, mutate=keep)
        for question in QUESTIONS:
            judge(str(question.name), question.rdtype.name)
    return [*seen.values()]


def seeds() -> list[bytes]:
    """Genuine responses, and identity records."""
    print_ = b"A" * 43
    texts = [b"v=vf1 id=" + print_, b"v=vf1 next=" + print_ + b" id=" + print_ + b" x=y", b"v=vf1  id="]
    return [*_genuine(), *(bytes([IDENTITY]) + text for text in texts)]


TARGET = Target(run=run, seeds=seeds, mutate=mutate)
