from collections import Counter

import dns.rdata
import pytest
from dns.rdataclass import IN
from hypothesis import given
from hypothesis import strategies as st

from tests.discovery.harness import IDENTITY
from volly_fed.discovery.records import (
    Identity,
    SrvRecord,
    choose_identity,
    order_srv,
    parse_identity,
    parse_srv,
    parse_tlsa,
    txt_strings,
)
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName, Fingerprint

FINGERPRINT = Fingerprint(bytes(32))


def srv(text: str) -> SrvRecord:
    return parse_srv(dns.rdata.from_text(IN, "SRV", text))


def test_srv_target_is_canonical() -> None:
    assert srv("1 2 5223 Fed.A.Test.") == SrvRecord(priority=1, weight=2, port=5223, target=DomainName("fed.a.test"))


def test_srv_target_of_the_root_means_no_service() -> None:
    assert srv("0 0 0 .").target is None


@pytest.mark.parametrize(
    "text", ["0 0 0 fed.a.test.", "0 0 1 _fed.a.test.", "0 0 1 f\\.ed.a.test.", "0 0 1 \\000.test."]
)
def test_srv_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        srv(text)


def test_other_rdata_is_no_srv() -> None:
    with pytest.raises(BadMessage):
        parse_srv(dns.rdata.from_text(IN, "A", "192.0.2.1"))


def record(priority: int, weight: int, name: str) -> SrvRecord:
    return SrvRecord(priority=priority, weight=weight, port=1, target=DomainName(name))


def test_priority_comes_first() -> None:
    records = [record(2, 100, "c"), record(0, 0, "a"), record(1, 0, "b")]
    assert [item.target for item in order_srv(records, lambda size: b"\xff" * size)] == ["a", "b", "c"]


def test_weights_are_kept_and_zero_is_not_never() -> None:
    counts: Counter[str | None] = Counter()
    records = [record(0, 30, "b"), record(0, 0, "z"), record(0, 70, "a")]
    for point in range(101):  # every value of the running sum once: the exact distribution of RFC 2782
        counts[order_srv(records, lambda size, point=point: point.to_bytes(size))[0].target] += 1
    assert counts == {"z": 1, "b": 30, "a": 70}


@given(
    st.lists(st.builds(record, st.integers(0, 3), st.integers(0, 65535), st.sampled_from("abc"))),
    st.binary(min_size=4, max_size=4),
)
def test_order_loses_nothing(records: list[SrvRecord], point: bytes) -> None:
    ordered = order_srv(records, lambda size: point[:size])
    assert Counter(ordered) == Counter(records)
    assert [item.priority for item in ordered] == sorted(item.priority for item in records)


def test_identity_round_trip() -> None:
    identity = Identity(current=FINGERPRINT, next=Fingerprint(b"\1" * 32))
    assert parse_identity(str(identity).encode()) == identity
    assert parse_identity(IDENTITY.encode()) == Identity(current=FINGERPRINT)


@pytest.mark.spec("discovery-4")
def test_identity_with_unknown_fields_is_read() -> None:
    assert parse_identity(IDENTITY.encode() + b" later=thing").current == FINGERPRINT


@pytest.mark.spec("discovery-3")
@pytest.mark.parametrize(
    "text",
    [
        "v=vf1",
        "v=vf2 id=" + "A" * 43,
        "id=" + "A" * 43,
        "v=vf1 id=" + "A" * 42,
        "v=vf1 id=" + "A" * 42 + "B",
        "v=vf1 id=" + "A" * 43 + " id=" + "A" * 43,
        "v=vf1 id=" + "A" * 43 + " next=",
        "v=vf1 id=" + "A" * 43 + " junk",
        "v=vf1 id=" + "A" * 42 + "ä",
    ],
)
def test_malformed_identity_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_identity(text.encode())


@pytest.mark.spec("discovery-2", "discovery-3")
def test_exactly_one_identity_record_is_wanted() -> None:
    assert choose_identity([b"v=spf1 -all", IDENTITY.encode()]).current == FINGERPRINT
    for texts in ([], [b"v=spf1 -all"], [IDENTITY.encode()] * 2):
        with pytest.raises(BadMessage, match="exactly one"):
            choose_identity(texts)


def test_strings_of_one_txt_record_are_joined() -> None:
    rdata = dns.rdata.from_text(IN, "TXT", f'"{IDENTITY[:20]}" "{IDENTITY[20:]}"')
    assert txt_strings([rdata]) == [IDENTITY.encode()]


@given(st.binary())
def test_identity_parser_raises_bad_message_only(text: bytes) -> None:
    for candidate in (text, b"v=vf1 " + text, IDENTITY.encode() + text):
        try:
            parse_identity(candidate)
        except BadMessage:
            continue


@given(st.binary(max_size=80))
def test_tlsa_parser_raises_bad_message_only(data: bytes) -> None:
    rdata = dns.rdata.GenericRdata(IN, dns.rdatatype.TLSA, data)
    if len(data) < 3:
        with pytest.raises(BadMessage):
            parse_tlsa(rdata)
    else:
        assert parse_tlsa(rdata).data == data[3:]
