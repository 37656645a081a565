"""What hostile answers may leave behind in this process: no memory, and no time beyond the clock's."""

import struct

import dns.name
import dns.rdata
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from tests.discovery.harness import NOW
from volly_fed import limits
from volly_fed.discovery.anchors import read_anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.keys import KeySet
from volly_fed.discovery.message import Question, parse_response
from volly_fed.discovery.zones import Unsigned, ZoneKeys, Zones
from volly_fed.errors import BadMessage, Indeterminate

QUESTION = Question(dns.name.from_text("a.test"), RdataType.A)
ANCHORS = read_anchors(". IN DS 20326 8 2 " + "ab" * 32)


def answer(count: int, rdclass: int = IN, rdtype: int = RdataType.A) -> bytes:
    """A response of `count` records of that class and type."""
    name = QUESTION.name.to_wire()
    assert name is not None
    head = struct.pack("!6H", 0, 0x8180, 1, count, 0, 0) + name + struct.pack("!HH", QUESTION.rdtype, IN)
    record = b"\xc0\x0c" + struct.pack("!HHIH", rdtype, rdclass, 60, 4)
    return head + b"".join(record + index.to_bytes(4) for index in range(count))


def test_records_of_other_classes_are_refused_before_anything_is_remembered_of_them() -> None:
    before = len(dns.rdata._rdata_classes)
    for rdclass in range(1000, 1100):
        with pytest.raises(BadMessage, match="class"):
            parse_response(answer(1, rdclass, 65280), QUESTION)
    assert len(dns.rdata._rdata_classes) <= before + 1


def test_parsing_is_paid_from_the_budget() -> None:
    budget = Budget()
    parse_response(answer(10), QUESTION, budget)
    assert limits.DNS_PARSING - budget.parsing >= 10 * limits.DNS_RECORD_WORK
    assert not budget.is_overdrawn
    with pytest.raises(Indeterminate, match="records"):
        parse_response(answer(200), QUESTION, Budget(parsing=200 * limits.DNS_RECORD_WORK))
    budget.parsing = 0
    with pytest.raises(Indeterminate, match="records"):
        parse_response(answer(1), QUESTION, budget)
    assert budget.is_overdrawn


def test_a_clock_that_is_turned_back_does_not_make_zones_last_longer() -> None:
    zones, zone = Zones(ANCHORS), dns.name.from_text("a.test")
    zones.put(zone, ZoneKeys(keys=KeySet(()), expires=NOW + 3600), now=NOW)
    assert zones.get(zone, NOW - limits.DNS_CLOCK_SKEW) is not None
    assert zones.get(zone, NOW - limits.DNS_CLOCK_SKEW - 1) is None
    assert list(zones.current(NOW - limits.DNS_CLOCK_SKEW - 1)) == []


def test_zones_are_bounded_by_what_they_weigh() -> None:
    zones = Zones(ANCHORS)
    key = dns.rdata.from_text(IN, RdataType.DNSKEY, "256 3 13 " + "A" * 86 + "==")
    assert isinstance(key, DNSKEY)
    keys = ZoneKeys(keys=KeySet([key] * 250), expires=NOW + 3600)
    for index in range(limits.DNS_CACHE_ENTRIES):
        zones.put(dns.name.from_text(f"{index}.test"), keys, now=NOW)
    kept = sum(1 for _ in zones.current(NOW))
    assert 0 < kept * 250 * limits.DNS_RECORD_BYTES <= limits.DNS_CACHE_BYTES
    zones.put(dns.name.from_text("small.test"), Unsigned(reason="", expires=NOW + 60), now=NOW)
    assert zones.forget(dns.name.root) == kept + 1
    assert list(zones.current(NOW)) == []
