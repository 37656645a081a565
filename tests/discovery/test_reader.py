"""Our reader of responses against dnspython's: what one refuses the other does, and what both take is the same."""

import struct
import time
from collections.abc import Sequence
from functools import cache
from random import Random

import dns.dnssec
import dns.message
import dns.name
import dns.rdata
import dns.rrset
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG
from hypothesis import given
from hypothesis import strategies as st

from tests.discovery import matrix
from tests.discovery.harness import NOW, Judge, rrset_of
from tests.discovery.mutations import Pool, changed
from tests.discovery.reference import of_dnspython, of_ours
from tests.discovery.worlds import build
from volly_fed.discovery import plan
from volly_fed.discovery.anchors import read_anchors
from volly_fed.discovery.endpoint import Service
from volly_fed.discovery.keys import rdata_of, tag_of
from volly_fed.discovery.question import Question
from volly_fed.discovery.reader import read
from volly_fed.discovery.rrset import Rrsig
from volly_fed.discovery.shape import check_shape
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName

ASKED = [
    *(("_volly-fed._tcp.a.test", "SRV"), ("_volly-fed.a.test", "TXT"), ("fed.a.test", "A"), ("fed.a.test", "AAAA")),
    *(("_5223._tcp.fed.a.test", "TLSA"), ("chain.alias.test", "A"), ("x.wild.a.test", "A"), ("missing.a.test", "A")),
    *(("fed.tree.alias.test", "A"), ("fed.unsigned.test", "A"), ("q.b.a.test", "A"), ("a.test", "MX")),
    *(("fed.a.test", "TXT"), ("one.alias.test", "A"), ("a.test", "SOA"), ("a.test", "NS"), ("FED.a.TEST", "A")),
]
Responses = tuple[tuple[Question, bytes], ...]


def agree(wire: bytes, question: Question, context: str = "") -> bool:
    """Both come to the same. Says whether they take it."""
    expected = of_dnspython(wire, question)
    if expected is None:
        with pytest.raises(BadMessage):
            pytest.fail(f"{context}: taken, and should not be: {read(wire, question)}")
        return False
    assert of_ours(read(wire, question)) == expected, context
    return True


@cache
def responses(kind: str) -> Responses:
    """Every response that the look-ups of a world need."""
    seen: dict[Question, bytes] = {}

    def keep(question: Question, wire: bytes) -> bytes:
        seen[question] = wire
        return wire

    if kind == "matrix":
        world = matrix.build()
        for case in matrix.CASES:
            judge = Judge(world, now=time.time(), anchors=read_anchors(case.anchors(world)), mutate=keep)
            if case.ask:
                judge(*case.ask)
            elif case.discover:
                domain = DomainName(case.discover)
                for question in (plan.service_question(domain, Service.FEDERATION), plan.identity_question(domain)):
                    judge(str(question.name), question.rdtype.name)
    else:
        judge = Judge(build(nsec3=kind == "nsec3", algorithm=15), now=NOW, mutate=keep)
        for name, rdtype in ASKED:
            judge(name, rdtype)
    return tuple(seen.items())


WORLDS = ("nsec", "nsec3", "matrix")


@pytest.mark.parametrize("kind", WORLDS)
def test_on_all_responses_of_a_world(kind: str) -> None:
    taken = 0
    for question, wire in responses(kind):
        try:
            check_shape(wire)
            taken += agree(wire, question)
        except BadMessage:  # its shape is refused
            continue
    assert taken > 20


@pytest.mark.parametrize("runs", [200, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", WORLDS)
def test_on_changed_responses(kind: str, runs: int) -> None:
    known = [(question, wire) for question, wire in responses(kind) if of_dnspython(wire, question) is not None]
    pool, outcomes = Pool([wire for _, wire in known]), {True: 0, False: 0}
    for run in range(runs):
        random = Random(f"{kind} {run}")
        question, wire = random.choice(known)
        made = changed(random, wire, pool)
        try:
            check_shape(made)
            outcomes[agree(made, question, f"{kind} {run}")] += 1
        except BadMessage:
            continue
    assert outcomes[True] > runs / 4
    assert outcomes[False] > runs / 20


# --- records that a seeded change seldom makes ------------------------------------------------------------------------

QUESTION = Question(dns.name.from_text("www.a.test"), RdataType.A)
POINTER = b"\xc0\x0c"
OTHER = Question(dns.name.from_text("www.b.test"), RdataType.A)
NAMES = st.sampled_from(
    [
        *(b"\xc0\x0c", b"\xc0\x10", b"\xc0\x12", b"\xc0\x17", b"\1x\xc0\x0c", b"\0"),
        *(b"\3www\1a\4test\0", b"\3WWW\1a\4tesT\0"),
        *(b"\x40a\0", b"\x3f" + b"a" * 63 + b"\0", b"\xc0\x02", b"\xc0", b"\3ab\0"),
    ]
)
TYPES = (1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 43, 44, 46, 46, 46, 47, 48, 48, 50, 51, 52, 52, 59, 60, 257, 65280)
FIXED = st.sampled_from([b"", bytes(18), b"\0\1\15\3" + bytes(14), b"\0\x30\10\2" + b"\xff" * 14, bytes(6), b"\3\1\1"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """One record: an owner, a type, a TTL and RDATA that may well be what the type wants."""
    rdata = draw(FIXED) + draw(NAMES | st.just(b"")) + draw(st.binary(max_size=40) | st.just(b"\1" * 32))
    size = draw(st.sampled_from([len(rdata)] * 15 + [len(rdata) + 1]))
    ttl = draw(st.sampled_from([0, 60, 3600, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
    return draw(NAMES) + struct.pack("!HHIH", draw(st.sampled_from(TYPES)), IN, ttl, size) + rdata


@given(
    sections=st.tuples(*[st.lists(records(), max_size=4)] * 3),
    flags=st.sampled_from([0x8180] * 6 + [0x8183, 0x0100, 0xA800]),
    asked=st.sampled_from([QUESTION.wire] * 6 + [QUESTION.wire.upper(), OTHER.wire, QUESTION.wire * 2]),
    count=st.sampled_from([1] * 8 + [0, 2]),
    more=st.sampled_from([b""] * 8 + [b"\0"]),
)
def test_on_made_up_records(
    sections: tuple[list[bytes], list[bytes], list[bytes]], flags: int, asked: bytes, count: int, more: bytes
) -> None:
    head = struct.pack("!6H", 1, flags, count, *map(len, sections))
    wire = head + asked + b"".join(record for section in sections for record in section) + more
    try:
        check_shape(wire)
        agree(wire, QUESTION)
    except BadMessage:
        return


def message(*rrsets: dns.rrset.RRset) -> bytes:
    """A response with those in its answer, one after the other."""
    made = dns.message.make_response(dns.message.make_query(QUESTION.name, QUESTION.rdtype, use_edns=0))
    made.answer.extend(rrsets)
    return made.to_wire()


def test_a_set_has_no_record_twice_and_the_least_ttl() -> None:
    first, again = (dns.rrset.from_text(QUESTION.name, ttl, "IN", "NS", "a.test.") for ttl in (60, 50))
    other = dns.rrset.from_text("WWW.a.test.", 70, "IN", "NS", "A.test.", "b.test.")
    wire = message(first, again, other)
    assert agree(wire, QUESTION)
    (rrset,) = read(wire, QUESTION).answer
    assert (rrset.ttl, [str(rdata.target) for rdata in rrset]) == (50, ["a.test.", "b.test."])


def test_of_two_aliases_the_last_stays() -> None:
    wire = message(*(dns.rrset.from_text(QUESTION.name, 60, "IN", "CNAME", f"{label}.test.") for label in "xy"))
    assert agree(wire, QUESTION)
    (rrset,) = read(wire, QUESTION).answer
    assert (len(rrset), str(rrset.first.target)) == (1, "y.test.")


def record(rdtype: RdataType, rdata: bytes, owner: bytes = POINTER, ttl: int = 60) -> bytes:
    return owner + struct.pack("!HHIH", rdtype, IN, ttl, len(rdata)) + rdata


def crafted(answer: Sequence[bytes] = (), authority: Sequence[bytes] = (), additional: Sequence[bytes] = ()) -> bytes:
    sections = (answer, authority, additional)
    head = struct.pack("!6H", 1, 0x8180, 1, *map(len, sections))
    return head + QUESTION.wire + b"".join(made for section in sections for made in section)


def test_names_that_are_the_question_s_are_one_object_however_they_are_written() -> None:
    owners = (POINTER, b"\3www\1a\4test\0", b"\3WWW\1A\4test\0", b"\3www\xc0\x10")
    wire = crafted([record(RdataType.A, bytes((192, 0, 2, last)), owner) for last, owner in enumerate(owners)])
    assert agree(wire, QUESTION)
    (rrset,) = read(wire, QUESTION).answer
    assert rrset.name is QUESTION.name
    assert len(rrset) == len(owners)


OPT, EDE = record(RdataType.OPT, b"", b"\0", 0), record(RdataType.OPT, b"\0\x0f\0\4\0\6no", b"\0", 1 << 24)
TLSA, SHORT = record(RdataType.TLSA, b"\3\1\1" + bytes(32)), record(RdataType.TLSA, b"\3\1\1" + bytes(31))


@pytest.mark.parametrize(
    ("wire", "taken"),
    [
        (crafted(additional=[OPT]), True),
        (crafted(additional=[EDE]), True),
        (crafted(additional=[EDE[:-1]]), False),
        (crafted(additional=[OPT, OPT]), False),
        (crafted(answer=[OPT]), False),
        (crafted(authority=[OPT]), False),
        (crafted(additional=[record(RdataType.OPT, b"")]), False),
        (crafted(answer=[SHORT, TLSA]), True),
        (crafted(answer=[TLSA], authority=[SHORT]), False),
        (crafted(answer=[TLSA], additional=[SHORT]), False),
        *((crafted(answer=[record(RdataType.A, bytes(4), ttl=ttl)]), True) for ttl in (0x7FFFFFFF, 0x80000000)),
        *((crafted(answer=[record(rdtype, bytes(40))[:-1]]), False) for rdtype in (RdataType.RRSIG, RdataType.DNSKEY)),
        *((crafted(answer=[TLSA[:-1]]), False), (crafted(answer=[TLSA, b""]), False), (crafted([TLSA]) + b"\0", False)),
        (crafted(answer=[record(RdataType.RRSIG, bytes(18))]), False),
        (crafted(answer=[record(RdataType.RRSIG, bytes(18) + b"\0")]), True),
        (crafted(answer=[record(RdataType.RRSIG, bytes(18) + POINTER)]), False),
        (crafted(answer=[record(RdataType.RRSIG, bytes(18) + b"\x3f" * 256 + b"\0")]), False),
        (crafted(answer=[record(RdataType.DNSKEY, bytes(3))]), False),
        (crafted(answer=[record(RdataType.DNSKEY, bytes(4))]), True),
    ],
)
def test_what_is_taken(wire: bytes, taken: bool) -> None:
    assert agree(wire, QUESTION) is taken


def test_a_signature_is_what_dnspython_says() -> None:
    text = "A 13 2 60 200 100 7 Signer.TEST. AQEB"
    rdata = dns.rdata.from_text(IN, RdataType.RRSIG, text)
    assert isinstance(rdata, RRSIG)
    rrset = rrset_of(QUESTION.name, 60, [rdata])
    (rrsig,) = rrset.rrsigs
    for field in ("type_covered", "algorithm", "labels", "original_ttl", "expiration", "inception", "key_tag"):
        assert getattr(rrsig, field) == getattr(rdata, field)
    assert (rrsig.signer, rrsig.signature) == (rdata.signer, rdata.signature)
    assert (rrsig.canonical, rrsig.rdata, list(rrset)) == (rdata.to_digestable(), rdata, [rdata])
    wire = rdata.to_wire()
    assert wire is not None
    assert Rrsig.from_wire(wire) == rrsig


def test_a_key_is_what_dnspython_says() -> None:
    for material in (b"", b"\1", b"\1\2\3\4", b"\xff" * 65):
        wire = bytes((1, 1, 3, 13)) + material
        rdata = dns.rdata.from_wire(IN, RdataType.DNSKEY, wire, 0, len(wire))
        assert isinstance(rdata, DNSKEY)
        rrset = rrset_of(QUESTION.name, 60, [rdata])
        (dnskey,) = rrset.dnskeys
        for field in ("flags", "protocol", "algorithm", "key"):
            assert getattr(dnskey, field) == getattr(rdata, field)
        assert rdata_of(dnskey) == rdata_of(rdata) == rdata.to_digestable()
        assert tag_of(rdata_of(dnskey)) == dns.dnssec.key_id(rdata)
        assert list(rrset) == [rdata]
