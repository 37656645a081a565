"""What an attacker on the way, or a lying resolver, can do to responses: it never makes them secure or insecure."""

import dns.dnssec
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from dns.dnssectypes import Algorithm
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, Judge, service_records, without
from tests.discovery.worlds import DENIALS, SIGNATURES, build, hooked
from volly_fed.discovery.anchors import read_anchors
from volly_fed.discovery.endpoint import Status
from volly_fed.testing.world import World
from volly_fed.testing.world_sign import ZoneKeys


@pytest.mark.parametrize("nsec3", [False, True])
@pytest.mark.parametrize("name", ["fed.a.test", "missing.a.test", "x.wild.a.test", "_volly-fed._tcp.a.test"])
def test_stripped_signatures_are_bogus(name: str, nsec3: bool) -> None:
    world = hooked(lambda _query, response, _udp: without(response, *SIGNATURES), name, nsec3=nsec3)
    assert Judge(world)(name, "A").status is Status.BOGUS


@pytest.mark.spec("discovery-17")
@pytest.mark.parametrize("nsec3", [False, True])
@pytest.mark.parametrize("name", ["missing.a.test", "x.wild.a.test"])
def test_stripped_denial_is_bogus(name: str, nsec3: bool) -> None:
    world = hooked(lambda _query, response, _udp: without(response, *DENIALS), name, nsec3=nsec3)
    assert Judge(world)(name, "A").status is Status.BOGUS


@pytest.mark.spec("discovery-19")
@pytest.mark.parametrize("nsec3", [False, True])
def test_stripped_ds_is_bogus_not_insecure(nsec3: bool) -> None:
    def strip(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        return without(response, RdataType.DS, *SIGNATURES) if query.question[0].rdtype == RdataType.DS else response

    assert Judge(hooked(strip, nsec3=nsec3))("fed.a.test", "A").status is Status.BOGUS


def test_stripped_keys_are_bogus() -> None:
    world = hooked(lambda _query, response, _udp: without(response, RdataType.DNSKEY, *SIGNATURES))
    answer = Judge(world)("fed.a.test", "DNSKEY")
    assert answer.status is Status.BOGUS


def test_unsigned_zone_cannot_be_grafted_over_a_signed_one() -> None:
    """A DS denial of another, unsigned name is shown for a signed one."""
    other = build()

    def graft(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        if query.question[0].rdtype != RdataType.DS:
            return without(response, *SIGNATURES)
        asked = dns.message.make_query("unsigned.test", "DS", want_dnssec=True)
        shown = other.respond(asked)
        assert isinstance(shown, dns.message.Message)
        response.answer, response.authority = [], shown.authority
        return response

    assert Judge(hooked(graft))("fed.a.test", "A").status is Status.BOGUS


@pytest.mark.parametrize("nsec3", [False, True])
@pytest.mark.parametrize(
    ("shown", "name", "rdtype"),
    [
        ("missing.a.test", "fed.a.test", "A"),  # the denial of another name
        ("fed.a.test", "fed.a.test", "TXT"),  # a positive answer of another type: no denial at all
        ("x.wild.a.test", "missing.a.test", "A"),
        ("sub.a.test", "www.sub.a.test", "A"),
        ("a0.test", "fed.a.test", "A"),  # the parent's NSEC at the cut covers names below it: RFC 6840 §4.1
        ("a.test", "a.test", "DS"),  # the child's own record shows no DS: RFC 6840 §4.4
    ],
)
def test_replayed_denial_proves_nothing(shown: str, name: str, rdtype: str, nsec3: bool) -> None:
    other = build(nsec3=nsec3)

    def replay(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        asked = query.question[0]
        if asked.rdtype != RdataType.make(rdtype):
            return response
        replayed = other.respond(dns.message.make_query(shown, "MX", want_dnssec=True))
        assert isinstance(replayed, dns.message.Message)
        response.answer, response.authority = [], replayed.authority
        response.set_rcode(replayed.rcode())
        return response

    answer = Judge(hooked(replay, name, nsec3=nsec3))(name, rdtype)
    # "fed.a.test MX" rightly denies TXT too: that case is the control of this test
    expected = Status.SECURE if (shown, rdtype) == ("fed.a.test", "TXT") else Status.BOGUS
    assert answer.status is expected, answer.reason


def test_record_under_another_name_is_bogus() -> None:
    other = build()

    def rename(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        shown = other.respond(dns.message.make_query("fed.a.test", "A", want_dnssec=True))
        assert isinstance(shown, dns.message.Message)
        name = query.question[0].name
        response.answer = [dns.rrset.from_rdata_list(name, 60, list(rrset)) for rrset in shown.answer]
        return response

    assert Judge(hooked(rename, "www.sub.a.test"))("www.sub.a.test", "A").status is Status.BOGUS
    assert Judge(hooked(rename, "missing.a.test"))("missing.a.test", "A").status is Status.BOGUS


def test_signature_of_another_zone_is_bogus() -> None:
    """The parent cannot speak for names below a cut by its zone-signing key: the signer must hold the owner."""

    def swap(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        if query.question[0].rdtype == RdataType.A:
            response.answer = [
                rrset
                if rrset.rdtype != RdataType.RRSIG
                else dns.rrset.from_rdata(
                    rrset.name, rrset.ttl, rrset[0].replace(signer=dns.name.from_text("alias.test"))
                )
                for rrset in response.answer
            ]
        return response

    assert Judge(hooked(swap))("fed.a.test", "A").status is Status.BOGUS


@pytest.mark.spec("discovery-18")
def test_wildcard_cannot_answer_below_an_existing_name() -> None:
    """`*.b` must not be expanded for `z.wild.b`: `wild.b` exists, so RFC 4592 §3.3.1 stops there."""
    for nsec3 in (False, True):
        other = build(nsec3=nsec3)

        def expand(
            query: dns.message.Message, response: dns.message.Message, udp: bool, other: World = other
        ) -> dns.message.Message:
            shown = other.respond(dns.message.make_query("q.b.a.test", "A", want_dnssec=True))
            denied = other.respond(dns.message.make_query("z.wild.b.a.test", "A", want_dnssec=True))
            assert isinstance(shown, dns.message.Message)
            assert isinstance(denied, dns.message.Message)
            name = query.question[0].name
            response.answer = [dns.rrset.from_rdata_list(name, 60, list(rrset)) for rrset in shown.answer]
            response.authority = [*shown.authority, *denied.authority]
            response.set_rcode(dns.rcode.NOERROR)
            return response

        world = hooked(expand, "z.wild.b.a.test", nsec3=nsec3)
        assert Judge(world)("z.wild.b.a.test", "A").status is Status.BOGUS
        assert Judge(build(nsec3=nsec3))("q.b.a.test", "A").found


def shown_by(world: World, name: str, rdtype: str) -> dns.message.Message:
    response = world.respond(dns.message.make_query(name, rdtype, want_dnssec=True))
    assert isinstance(response, dns.message.Message)
    return response


@pytest.mark.parametrize("nsec3", [False, True])
def test_the_zone_above_cannot_vouch_for_a_wildcards_answer(nsec3: bool) -> None:
    """By hash, a zone above "denies" every name of the zones below it: the proof must be of the wildcard's own zone."""

    def build_small() -> World:
        world = World(seed=b"above", nsec3=nsec3)
        world.zone("a.test", ["*.b IN A 192.0.2.66", "real.b IN A 192.0.2.1"])
        world.sign(NOW)
        return world

    other = build_small()

    def expand(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        name = query.question[0].name
        made = shown_by(other, "q.b.a.test", "A")
        response.answer = [dns.rrset.from_rdata_list(name, 60, list(rrset)) for rrset in made.answer]
        denials = [rrset for asked in "bcdefghi" for rrset in shown_by(other, f"{asked}.test", "TXT").authority]
        response.authority = list({(rrset.name, rrset.covers): rrset for rrset in denials}.values())
        return response

    world = build_small()
    assert Judge(world)("real.b.a.test", "A").rdatas[0].to_text() == "192.0.2.1"
    world.hook("real.b.a.test", expand)
    assert Judge(world)("real.b.a.test", "A").status is Status.BOGUS
    assert Judge(build_small())("q.b.a.test", "A").rdatas[0].to_text() == "192.0.2.66"


@pytest.mark.parametrize("nsec3", [False, True])
@pytest.mark.parametrize("first", ["above", "own"])
@pytest.mark.parametrize(
    ("name", "own", "above"),
    [
        ("missing.sub.a.test", "missing.sub.a.test", "missing.a.test"),
        ("www.sub.a.test", "missing.sub.a.test", "missing.a.test"),
        ("www.sub.a.test", "sub.a.test", "zzz.a.test"),
    ],
)
def test_denials_of_two_zones_in_one_answer_are_not_added_up(
    name: str, own: str, above: str, first: str, nsec3: bool
) -> None:
    other = build(nsec3=nsec3)
    truth = Judge(build(nsec3=nsec3))(name, "A")

    def mix(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        proofs = [shown_by(other, own, "MX").authority, shown_by(other, above, "MX").authority]
        merged = [rrset for proof in (proofs if first == "own" else proofs[::-1]) for rrset in proof]
        response.answer, response.authority = [], merged
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    answer = Judge(hooked(mix, name, nsec3=nsec3))(name, "A")
    # the records of the zone above are ignored: those of the zone itself say what they say alone
    expected = Status.SECURE if truth.absent else Status.BOGUS
    assert answer.status is expected, answer.reason


def test_two_aliases_at_one_name_are_bogus() -> None:
    world = build()
    world.zone("twice.test", ["x IN CNAME fed.a.test."])
    world.sign(NOW)

    def double(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        for rrset in response.answer:
            if rrset.rdtype == RdataType.CNAME:
                rrset.add(dns.rdata.from_text(IN, "CNAME", "evil.test."))
        return response

    world.hook("x.twice.test", double)
    assert Judge(world)("x.twice.test", "A").status is Status.BOGUS


@pytest.mark.parametrize("rcode", [2, 5, 4])
def test_server_failures_are_indeterminate(rcode: int) -> None:
    def fail(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.Rcode(rcode))
        return response

    assert Judge(hooked(fail))("fed.a.test", "A").status is Status.INDETERMINATE
    assert Judge(hooked(fail, "test"))("fed.a.test", "A").status is Status.INDETERMINATE


def test_an_unsigned_zone_above_an_anchor_cannot_speak_for_it() -> None:
    """A private anchor below an unsigned zone: a signature "by" the zone above must not make the answer insecure."""
    world = World(seed=b"island")
    world.zone("test", signed=False)
    world.zone("a.test", service_records())
    world.sign(NOW)
    ds = ZoneKeys.derive(b"island", dns.name.from_text("a.test"), Algorithm.ECDSAP256SHA256).ds
    anchors = read_anchors(f"{world.anchor_text}a.test. IN DS {ds.to_text()}\n")
    judge = Judge(world, anchors=anchors)
    assert judge("fed.a.test", "A").found
    assert judge("nobody.test", "A").status is Status.INSECURE

    def resign(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        above = dns.name.from_text("test")
        response.answer = [
            rrset
            if rrset.rdtype != RdataType.RRSIG
            else dns.rrset.from_rdata(rrset.name, rrset.ttl, rrset[0].replace(signer=above))
            for rrset in response.answer
        ]
        return response

    world.hook("fed.a.test", resign)
    assert judge("fed.a.test", "A").status is Status.BOGUS


def test_a_wildcards_nsec_under_another_name_proves_nothing() -> None:
    """RFC 4035 §5.4: expanded to `\\000.wild`, the NSEC of `*.wild` would cover every name there, and itself."""
    other = build()

    def expand(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        shown = other.respond(dns.message.make_query("q.wild.a.test", "TXT", want_dnssec=True))
        assert isinstance(shown, dns.message.Message)
        first = dns.name.from_text("\\000.wild.a.test")
        response.answer = []
        response.authority = [
            dns.rrset.from_rdata_list(first if rrset.name.is_wild() else rrset.name, 60, list(rrset))
            for rrset in shown.authority
        ]
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    assert Judge(build())("q.wild.a.test", "A").found
    assert Judge(hooked(expand, "q.wild.a.test"))("q.wild.a.test", "A").status is Status.BOGUS


def test_a_ds_from_a_wildcard_makes_no_zone() -> None:
    world = World(seed=b"wild ds")
    ds = ZoneKeys.derive(b"wild ds", dns.name.from_text("x.w.test"), Algorithm.ECDSAP256SHA256).ds
    world.zone("test", [f"*.w IN DS {ds.to_text()}", "*.w IN A 192.0.2.1"])
    world.sign(NOW)
    world.hook(
        "x.w.test",
        lambda query, response, _udp: (
            without(response, RdataType.RRSIG) if query.question[0].rdtype == RdataType.A else response
        ),
    )
    answer = Judge(world)("x.w.test", "A")
    assert answer.status is Status.BOGUS
    assert "comes from a wildcard" in answer.reason


def test_an_alias_that_its_dname_does_not_make_is_bogus() -> None:
    def redirect(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        evil = dns.rdata.from_text(IN, "CNAME", "fed.unsigned.test.")
        name = query.question[0].name
        response.answer = [
            dns.rrset.from_rdata(name, 60, evil) if rrset.rdtype == RdataType.CNAME else rrset
            for rrset in response.answer
        ]
        return response

    assert Judge(build())("fed.tree.alias.test", "A").found
    assert Judge(hooked(redirect, "fed.tree.alias.test"))("fed.tree.alias.test", "A").status is Status.BOGUS


def test_an_alias_to_a_name_too_long_is_bogus() -> None:
    other = build()
    name = f"{'y' * 60}.{'z' * 60}.long.alias.test"

    def alias(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        shown = other.respond(dns.message.make_query("long.alias.test", "DNAME", want_dnssec=True))
        assert isinstance(shown, dns.message.Message)
        cname = dns.rdata.from_text(IN, "CNAME", "fed.a.test.")
        response.set_rcode(dns.rcode.NOERROR)
        response.answer = [*shown.answer, dns.rrset.from_rdata(query.question[0].name, 60, cname)]
        return response

    answer = Judge(hooked(alias, name))(name, "A")
    assert answer.status is Status.BOGUS
    assert "too long" in answer.reason
    assert Judge(build())(name, "A").status is Status.INDETERMINATE
