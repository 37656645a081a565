"""What views of several servers amount to, by table: no network."""

from collections.abc import Sequence

import attrs
import dns.name
import dns.rdata
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW
from volly_fed.daemon.upkeep.authoritative import Server, View, Zone
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.upkeep.records_servers import judge_views, judge_zone
from volly_fed.discovery.dnssec import Answer, Outcome
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Question

DAY = 86400
NAME = dns.name.from_text("_5223._tcp.fed.a.test")
ORIGIN = dns.name.from_text("a.test")
OLD, NEW = (dns.rdata.from_text(IN, RdataType.TLSA, f"3 1 1 {digit * 64}") for digit in "12")


def answer(*rdatas: dns.rdata.Rdata, rdtype: RdataType = RdataType.TLSA, status: Status = Status.SECURE) -> Answer:
    outcome = Outcome.FOUND if rdatas else Outcome.NODATA
    name = NAME if rdtype == RdataType.TLSA else ORIGIN
    question = Question(name, rdtype)
    return Answer(question=question, status=status, outcome=outcome, rdatas=rdatas, canonical=name, expires=NOW)


def view(*rdatas: dns.rdata.Rdata, name: str = "ns1", ttl: int = 300, lived: float = 7, left: float = 7) -> View:
    return View(
        server=name,
        address="192.0.2.1",
        rdatas=rdatas,
        ttl=ttl if rdatas else None,
        signed_until=NOW + left * DAY,
        signature_inception=NOW - lived * DAY,
        serial=7,
    )


def verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    return [found.verdict for found in findings]


@pytest.mark.parametrize(
    ("cached", "views", "verdict", "why"),
    [
        ([OLD], [view(OLD), view(OLD)], Verdict.OK, "the same at all 2 addresses"),
        ([OLD, NEW], [view(NEW, OLD)], Verdict.OK, "the same at all 1"),
        ([OLD], [view(OLD), view(NEW, name="ns2")], Verdict.FAILED, "ns2 [192.0.2.1] (serial 7): 3 1 1 2222"),
        ([OLD], [view(OLD), view(name="ns2")], Verdict.FAILED, "ns2 [192.0.2.1] (serial 7): no records"),
        ([OLD], [view(OLD, NEW), view(NEW, OLD)], Verdict.WARNING, "and the resolver still has 3 1 1 1111"),
        ([], [view(OLD)], Verdict.WARNING, "and the resolver still has no records"),
    ],
)
def test_agreement(cached: Sequence[dns.rdata.Rdata], views: Sequence[View], verdict: Verdict, why: str) -> None:
    (found,) = judge_views(answer(*cached), views, NOW)
    assert (found.subject, found.verdict) == ("_5223._tcp.fed.a.test TLSA", verdict)
    assert why in found.reason


def test_how_long_caches_hold_on() -> None:
    (found,) = judge_views(answer(OLD), [view(NEW, ttl=300)], NOW)
    assert "up to 300 seconds" in found.note
    (found,) = judge_views(answer(), [view(NEW, ttl=300)], NOW)
    assert "up to 900 seconds" in found.note  # of a denial, whatever the TTL of the records will be


def test_nothing_everywhere_is_not_worth_a_line() -> None:
    assert judge_views(answer(), [view(), view()], NOW) == []
    assert judge_views(answer(OLD), [], NOW) == []


@pytest.mark.parametrize(
    ("lived", "left", "warned"),
    [(27, 3.1, False), (27, 2.9, True), (11, 2.9, True), (1, 1, False), (1.4, 0.5, False), (1.6, 0.4, True)],
)
def test_signatures_that_always_live_briefly_are_no_reason_to_warn(lived: float, left: float, warned: bool) -> None:
    findings = judge_views(answer(OLD), [view(OLD, lived=lived, left=left)], NOW)
    assert verdicts(findings) == [Verdict.OK, *[Verdict.WARNING] * warned]


def test_the_signature_that_ends_first_counts() -> None:
    findings = judge_views(answer(OLD), [view(OLD), view(OLD, name="ns2", lived=27, left=1)], NOW)
    assert "ns2 [192.0.2.1] ends soon: 2027-01-16 08:00 UTC" in findings[-1].reason


@pytest.mark.parametrize(("ttl", "count"), [(DAY, 1), (DAY + 1, 2)])
def test_a_long_ttl(ttl: int, count: int) -> None:
    assert len(judge_views(answer(OLD), [view(OLD, ttl=ttl)], NOW)) == count
    keys = answer(OLD, rdtype=RdataType.DNSKEY)
    assert len(judge_views(keys, [view(OLD, ttl=ttl)], NOW)) == 1


def test_silence_and_no_way_there_are_two_things() -> None:
    silent = attrs.evolve(view(name="ns2"), error="it does not answer")
    unroutable = attrs.evolve(view(name="ns3"), error="no route", reachable=False)
    findings = judge_views(answer(OLD), [view(OLD), silent, unroutable], NOW)
    assert [(found.subject, found.verdict) for found in findings] == [
        ("server ns2 [192.0.2.1]", Verdict.WARNING),
        ("server ns3 [192.0.2.1]", Verdict.INFO),
        ("_5223._tcp.fed.a.test TLSA", Verdict.OK),
    ]


def test_where_all_are_silent_nobody_could_tell() -> None:
    silent = [attrs.evolve(view(name=name), error="it does not answer") for name in ("ns1", "ns2")]
    findings = judge_views(answer(OLD), silent, NOW)
    assert verdicts(findings) == [Verdict.UNKNOWN, Verdict.UNKNOWN]
    assert "firewall" in findings[0].note


def zone(*servers: Server) -> Zone:
    return Zone(name=ORIGIN, keys=(), servers=servers)


TWO = (Server(name="ns1", address="192.0.2.1"), Server(name="ns2", address="192.0.2.2"))


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        (TWO, ""),
        (TWO[:1], "a single name server"),
        ((TWO[0], Server(name="ns1", address="2001:db8::1")), "a single name server"),
        ((TWO[0], Server(name="ns2", address="192.0.2.1")), "several name servers, but only one address"),
        ((TWO[0], Server(name="ns2", error="it has no address")), "several name servers, but only one address"),
    ],
)
def test_one_server_is_none_when_it_is_down(servers: Sequence[Server], why: str) -> None:
    _, *found = judge_zone(zone(*servers), answer(rdtype=RdataType.DS), answer(rdtype=RdataType.NSEC3PARAM))
    assert [each.reason for each in found] == ([f"it has {why}"] if why else [])


@pytest.mark.parametrize(
    ("status", "verdict", "why"),
    [
        (Status.SECURE, Verdict.INFO, "the zone above has no DS"),
        (Status.INDETERMINATE, Verdict.INFO, "a trust anchor of its own"),
        (Status.BOGUS, Verdict.FAILED, "no records"),
    ],
)
def test_a_zone_without_ds_has_an_anchor_of_its_own(status: Status, verdict: Verdict, why: str) -> None:
    found, *_ = judge_zone(zone(*TWO), answer(rdtype=RdataType.DS, status=status), answer(rdtype=RdataType.NSEC3PARAM))
    assert found.verdict is verdict
    assert why in found.reason


@pytest.mark.parametrize(
    ("delegated", "why"),
    [
        (None, ""),
        ({"ns1", "ns2"}, ""),
        ({"ns1"}, "only the zone itself names ns2"),
        ({"ns1", "ns2", "ns4", "ns3"}, "only the zone above names ns3, ns4"),
        ({"ns1", "ns3"}, "only the zone above names ns3; only the zone itself names ns2"),
    ],
)
def test_both_sides_of_the_cut_name_the_same_servers(delegated: set[str] | None, why: str) -> None:
    names = None if delegated is None else frozenset(delegated)
    _, *found = judge_zone(zone(*TWO), answer(rdtype=RdataType.DS), answer(rdtype=RdataType.NSEC3PARAM), names)
    assert [(each.verdict, each.reason) for each in found] == ([(Verdict.WARNING, why)] if why else [])
