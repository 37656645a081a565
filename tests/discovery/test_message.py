import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rrset
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.discovery.message import Question, find, has_ident, parse_response, query_for
from volly_fed.errors import BadMessage

QUESTION = Question(dns.name.from_text("_5223._tcp.fed.a.test"), RdataType.TLSA)
BAD = bytes((3, 1, 1)) + b"\x01" * 31
GOOD = bytes((3, 1, 1)) + b"\x02" * 32


def response(*rdatas: bytes) -> dns.message.Message:
    message = dns.message.make_response(dns.message.from_wire(query_for(QUESTION, 7)))
    if rdatas:
        rrset = dns.rrset.RRset(QUESTION.name, IN, RdataType.TLSA)
        for data in rdatas:
            rrset.add(dns.rdata.GenericRdata(IN, RdataType.TLSA, data), 60)
        message.answer.append(rrset)
    return message


def test_query_asks_for_signatures_without_validation() -> None:
    query = dns.message.from_wire(query_for(QUESTION, 7))
    assert query.id == 7
    assert query.flags == dns.flags.RD | dns.flags.CD
    assert query.ednsflags & dns.flags.DO
    assert query.payload == limits.DNS_UDP_PAYLOAD


def test_ident_is_compared() -> None:
    wire = response().to_wire()
    assert has_ident(wire, 7)
    assert not has_ident(wire, 8)
    assert not has_ident(wire[:11], 7)


@pytest.mark.parametrize("rdatas", [(BAD,), (GOOD, BAD), (BAD, GOOD), (b"\x03",), (b"",), (BAD, BAD[:-1])])
def test_tlsa_of_wrong_length_stays_in_its_set(rdatas: tuple[bytes, ...]) -> None:
    message = parse_response(response(*rdatas).to_wire(), QUESTION)
    rrset = find(message.answer, QUESTION.name, RdataType.TLSA)
    assert rrset is not None
    assert {rdata.to_digestable() for rdata in rrset} == set(rdatas)
    assert rrset.ttl == 60


def test_another_malformed_record_is_refused() -> None:
    message = response(BAD)
    message.answer.append(
        dns.rrset.from_rdata(QUESTION.name, 60, dns.rdata.GenericRdata(IN, RdataType.A, b"\x01\x02\x03"))
    )
    with pytest.raises(BadMessage):
        parse_response(message.to_wire(), QUESTION)


def test_only_a_response_to_the_question_is_taken() -> None:
    wire = response(GOOD).to_wire()
    parse_response(wire, QUESTION)
    for other in (Question(QUESTION.name, RdataType.A), Question(dns.name.root, RdataType.TLSA)):
        with pytest.raises(BadMessage):
            parse_response(wire, other)
    with pytest.raises(BadMessage):
        parse_response(query_for(QUESTION, 7), QUESTION)
    update = bytearray(wire)
    update[2] |= dns.opcode.UPDATE << 3
    with pytest.raises(BadMessage):
        parse_response(bytes(update), QUESTION)


def test_size_is_bounded() -> None:
    many = [bytes((3, 1, 1)) + index.to_bytes(32) for index in range(400)]
    with pytest.raises(BadMessage, match="refused"):
        parse_response(response(*many).to_wire(max_size=65535), QUESTION)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_bad_message_only(wire: bytes) -> None:
    header = response(GOOD, BAD).to_wire()[:12]
    for candidate in (wire, header + wire):
        try:
            parse_response(candidate, QUESTION)
        except BadMessage:
            continue


@given(st.data())
def test_mutated_responses_raise_bad_message_only(data: st.DataObject) -> None:
    wire = bytearray(response(GOOD, BAD).to_wire())
    for _ in range(data.draw(st.integers(1, 5))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_response(bytes(wire), QUESTION)
    except BadMessage:
        return


# --- shape ------------------------------------------------------------------------------------------------------------


def crafted(owner: bytes, rdtype: int, rdata: bytes, count: int, question: dns.name.Name) -> bytes:
    """A response with `count` equal records; `owner` and `rdata` may hold pointers, the question's name is at 12."""
    asked = question.to_wire()
    assert asked is not None
    head = struct.pack("!6H", 1, 0x8180, 1, count, 0, 0) + asked + struct.pack("!HH", RdataType.A, IN)
    return head + (owner + struct.pack("!HHIH", rdtype, IN, 60, len(rdata)) + rdata) * count


DEEP = dns.name.from_text(".".join("a" * 126))
POINTER = b"\xc0\x0c"


@pytest.mark.parametrize(
    ("rdtype", "rdata"),
    [
        (RdataType.CNAME, POINTER),
        (RdataType.NS, POINTER),
        (RdataType.DNAME, POINTER),
        (RdataType.SRV, bytes(6) + POINTER),
        (RdataType.SOA, POINTER + POINTER + bytes(20)),
        (RdataType.A, bytes(4)),
        (RdataType.TLSA, b"\3\1\1"),
    ],
)
def test_pointers_to_a_deep_name_are_refused_before_they_are_followed(
    rdtype: RdataType, rdata: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns.message, "from_wire", _never)  # it would take seconds
    with pytest.raises(BadMessage, match="so many names"):
        parse_response(crafted(POINTER, rdtype, rdata, 200, DEEP), Question(DEEP, RdataType.A))


def _never(*_: object, **__: object) -> None:
    pytest.fail("the message should not have been parsed")


def test_a_few_deep_names_are_no_trouble() -> None:
    question = Question(DEEP, RdataType.A)
    message = parse_response(crafted(POINTER, RdataType.A, bytes(4), 3, DEEP), question)
    assert find(message.answer, DEEP, RdataType.A) is not None


def test_records_have_a_limit() -> None:
    name = dns.name.from_text("a.test")
    question = Question(name, RdataType.A)
    parse_response(crafted(POINTER, RdataType.A, bytes(4), limits.DNS_RECORDS - 1, name), question)
    with pytest.raises(BadMessage, match="more than 256 records"):
        parse_response(crafted(POINTER, RdataType.A, bytes(4), limits.DNS_RECORDS, name), question)


@pytest.mark.parametrize(
    ("owner", "rdtype", "reason"),
    [
        (b"\xc0\xff", RdataType.A, "points forward"),
        (b"\1a\xc0\x1a", RdataType.A, "points forward"),  # to itself
        (b"\1a" * 128 + b"\0", RdataType.A, "too long"),
        (POINTER, RdataType.RP, "no use"),  # two names, which the count does not know
    ],
)
def test_names_that_cannot_be_counted_are_refused(owner: bytes, rdtype: RdataType, reason: str) -> None:
    name = dns.name.from_text("a.test")
    with pytest.raises(BadMessage, match=reason):
        parse_response(crafted(owner, rdtype, bytes(4), 1, name), Question(name, RdataType.A))


def test_unknown_types_are_bytes() -> None:
    name = dns.name.from_text("a.test")
    parse_response(crafted(POINTER, 65280, bytes(4), 1, name), Question(name, RdataType.A))


def test_a_message_too_long_says_so() -> None:
    with pytest.raises(BadMessage, match="61440 bytes is refused"):
        parse_response(bytes(61440), QUESTION)
