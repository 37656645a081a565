import re
from collections.abc import Callable

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
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from tests.discovery.harness import NOW, Judge, service_records, without
from volly_fed import limits
from volly_fed.discovery.anchors import parse_anchors
from volly_fed.discovery.dnssec import Outcome
from volly_fed.discovery.endpoint import Status
from volly_fed.testing.world import Flaw, Nsec3, World
from volly_fed.testing.world_sign import ZoneKeys

SIGNATURES = (RdataType.RRSIG,)
DENIALS = (RdataType.NSEC, RdataType.NSEC3)


def build(*, nsec3: bool = False, algorithm: int = 13) -> World:
    world = World(seed=b"validator tests", nsec3=nsec3, algorithm=algorithm)
    world.zone("a.test", [*service_records(), "*.wild IN A 192.0.2.9", "x.wild.b IN A 192.0.2.8", "*.b IN A 192.0.2.7"])
    world.zone(
        "alias.test",
        [
            "good IN CNAME fed.a.test.",
            "chain IN CNAME good",
            "one IN CNAME two",
            "two IN CNAME one",
            "unsigned IN CNAME fed.unsigned.test.",
            "bogus IN CNAME fed.bad.test.",
            "none IN CNAME missing.a.test.",
            "*.wild IN CNAME fed.a.test.",
            "tree IN DNAME a.test.",
            *(f"h{index} IN CNAME h{index + 1}" for index in range(12)),
        ],
    )
    world.zone("unsigned.test", [*service_records(), "up IN CNAME fed.a.test."], signed=False)
    world.zone("sub.a.test", ["www IN A 192.0.2.3"])
    world.zone("lame.sub.a.test", signed=False)
    world.zone("bad.test", service_records(), flaws=Flaw.BAD_SIGNATURE)
    for flaw in Flaw:
        world.zone(f"{str(flaw.name).lower().replace('_', '-')}.test", service_records(), flaws=flaw)
    world.sign(NOW)
    return world


@pytest.fixture(scope="module", params=[False, True], ids=["nsec", "nsec3"])
def shared(request: pytest.FixtureRequest) -> World:
    return build(nsec3=request.param)


@pytest.fixture
def world(shared: World) -> World:
    """The shared world: a test that hooks it says so by using `hooked`."""
    return shared


@pytest.fixture
def hooked(request: pytest.FixtureRequest) -> Callable[..., World]:
    def build_hooked(hook: Callable[..., object], name: str = "a.test", *, nsec3: bool = False) -> World:
        world = build(nsec3=nsec3)
        world.hook(name, hook)  # type: ignore[arg-type] # tests write hooks as lambdas
        return world

    return build_hooked


SECURE = [
    ("_volly-fed._tcp.a.test", "SRV", Outcome.FOUND),
    ("_5223._tcp.fed.a.test", "TLSA", Outcome.FOUND),
    ("fed.a.test", "AAAA", Outcome.FOUND),
    ("FED.A.TEST", "A", Outcome.FOUND),
    ("www.sub.a.test", "A", Outcome.FOUND),
    (".", "SOA", Outcome.FOUND),
    ("test", "DNSKEY", Outcome.FOUND),
    ("a.test", "DS", Outcome.FOUND),
    ("x.wild.a.test", "A", Outcome.FOUND),
    ("x.y.wild.a.test", "A", Outcome.FOUND),
    ("good.alias.test", "A", Outcome.FOUND),
    ("chain.alias.test", "A", Outcome.FOUND),
    ("x.wild.alias.test", "A", Outcome.FOUND),
    ("fed.tree.alias.test", "A", Outcome.FOUND),
    ("fed.a.test", "TXT", Outcome.NODATA),
    ("a.test", "TLSA", Outcome.NODATA),
    ("_tcp.fed.a.test", "A", Outcome.NODATA),
    ("x.wild.a.test", "TXT", Outcome.NODATA),
    ("wild.a.test", "A", Outcome.NODATA),
    ("missing.a.test", "A", Outcome.NXDOMAIN),
    ("x.y.z.missing.a.test", "A", Outcome.NXDOMAIN),
    ("zz.a.test", "A", Outcome.NXDOMAIN),
    ("nobody.test", "SRV", Outcome.NXDOMAIN),
    ("tld", "A", Outcome.NXDOMAIN),
    ("none.alias.test", "A", Outcome.NXDOMAIN),
    ("missing.tree.alias.test", "A", Outcome.NXDOMAIN),
]


@pytest.mark.parametrize(("name", "rdtype", "outcome"), SECURE)
def test_secure(world: World, name: str, rdtype: str, outcome: Outcome) -> None:
    answer = Judge(world)(name, rdtype)
    assert (answer.status, answer.outcome) == (Status.SECURE, outcome), answer.reason
    assert answer.found == (outcome is Outcome.FOUND)
    assert answer.absent == (outcome is not Outcome.FOUND)
    assert bool(answer.rdatas) == answer.found
    assert answer.expires > NOW


@pytest.mark.parametrize("algorithm", [13, 15, 18])
def test_algorithms(algorithm: int) -> None:
    assert Judge(build(algorithm=algorithm))("_volly-fed._tcp.a.test", "SRV").found


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fed.unsigned.test", r"unsigned\.test\. is an unsigned delegation"),
        ("missing.unsigned.test", r"unsigned\.test\. is an unsigned delegation"),
        ("fed.no-ds.test", r"no-ds\.test\. is an unsigned delegation"),
        ("unsigned.alias.test", r"unsigned\.test\. is an unsigned delegation"),
        ("fed.unknown-algorithm.test", r"DS records of unknown-algorithm\.test\."),
        ("lame.sub.a.test", r"lame\.sub\.a\.test\. is an unsigned delegation"),
        ("up.unsigned.test", r"unsigned\.test\. is an unsigned delegation"),
    ],
)
def test_insecure_names_the_delegation(world: World, name: str, why: str) -> None:
    answer = Judge(world)(name, "A")
    assert answer.status is Status.INSECURE
    assert re.search(why, answer.reason)
    assert not answer.found
    assert not answer.absent
    assert answer.expires <= NOW + limits.DNS_INSECURE_TTL


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fed.bad.test", "signature is wrong"),
        ("missing.bad.test", "signature is wrong"),
        ("bogus.alias.test", "signature is wrong"),
        ("fed.expired.test", "expired"),
        ("fed.not-yet-valid.test", "not valid for another"),
        ("fed.no-signatures.test", "no signature"),
        ("fed.wrong-ds.test", "no key matches the DS"),
    ],
)
def test_bogus_says_why(world: World, name: str, why: str) -> None:
    answer = Judge(world)(name, "A")
    assert answer.status is Status.BOGUS
    assert why in answer.reason
    assert not answer.rdatas
    assert answer.expires == NOW + limits.DNS_FAILURE_TTL


@pytest.mark.parametrize("name", ["one.alias.test", "h0.alias.test"])
def test_alias_loop_and_long_chain_are_indeterminate(world: World, name: str) -> None:
    assert Judge(world)(name, "A").status is Status.INDETERMINATE


def test_wrong_anchor_is_bogus(world: World) -> None:
    anchors = parse_anchors(World(seed=b"another").anchor_text)
    answer = Judge(world, anchors=anchors)("fed.a.test", "A")
    assert answer.status is Status.BOGUS
    assert "trust anchor" in answer.reason


def test_name_without_anchor_is_indeterminate(world: World) -> None:
    anchors = {dns.name.from_text("other."): parse_anchors(world.anchor_text)[dns.name.root]}
    assert Judge(world, anchors=anchors)("fed.a.test", "A").status is Status.INDETERMINATE
    assert Judge(world, anchors=anchors)("fed.unsigned.test", "A").status is Status.INDETERMINATE


def test_anchor_below_the_root_starts_there(world: World) -> None:
    ds = Judge(world)("a.test", "DS").rdatas[0]
    anchors = parse_anchors(f"a.test. IN DS {ds.to_text()}")
    judge = Judge(world, anchors=anchors)
    assert judge("fed.a.test", "A").found
    assert {str(question) for question in judge.asked} == {"fed.a.test. A", "a.test. DNSKEY"}


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "status"),
    [
        (-3600 - limits.DNS_CLOCK_SKEW, Status.SECURE),
        (-3600 - limits.DNS_CLOCK_SKEW - 1, Status.BOGUS),
        (30 * 86400 + limits.DNS_CLOCK_SKEW, Status.SECURE),
        (30 * 86400 + limits.DNS_CLOCK_SKEW + 1, Status.BOGUS),
    ],
)
def test_validity_ends_exactly_at_the_tolerance(world: World, offset: int, status: Status) -> None:
    assert Judge(world, now=NOW + offset)("fed.a.test", "A").status is status


def test_an_answer_does_not_outlive_its_signature(world: World) -> None:
    end = NOW + 30 * 86400
    assert Judge(world, now=end - 100)("fed.a.test", "A").expires == end
    assert Judge(world, now=end + 100)("fed.a.test", "A").expires == end + 100
    assert Judge(world, now=NOW)("fed.a.test", "A").expires == NOW + 3600


def test_a_ttl_raised_on_the_way_is_cut_to_the_signed_one(hooked: Callable[..., World]) -> None:
    def raise_ttl(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response.answer = [dns.rrset.from_rdata_list(rrset.name, 10**6, list(rrset)) for rrset in response.answer]
        return response

    assert Judge(hooked(raise_ttl))("fed.a.test", "A").expires == NOW + 3600


def test_a_denial_lives_no_longer_than_the_soa_says(world: World) -> None:
    assert Judge(world)("missing.a.test", "A").expires == NOW + 300


# --- stripping and forging -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nsec3", [False, True])
@pytest.mark.parametrize("name", ["fed.a.test", "missing.a.test", "x.wild.a.test", "_volly-fed._tcp.a.test"])
def test_stripped_signatures_are_bogus(hooked: Callable[..., World], name: str, nsec3: bool) -> None:
    world = hooked(lambda _query, response, _udp: without(response, *SIGNATURES), name, nsec3=nsec3)
    assert Judge(world)(name, "A").status is Status.BOGUS


@pytest.mark.parametrize("nsec3", [False, True])
@pytest.mark.parametrize("name", ["missing.a.test", "x.wild.a.test"])
def test_stripped_denial_is_bogus(hooked: Callable[..., World], name: str, nsec3: bool) -> None:
    world = hooked(lambda _query, response, _udp: without(response, *DENIALS), name, nsec3=nsec3)
    assert Judge(world)(name, "A").status is Status.BOGUS


@pytest.mark.parametrize("nsec3", [False, True])
def test_stripped_ds_is_bogus_not_insecure(hooked: Callable[..., World], nsec3: bool) -> None:
    def strip(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        return without(response, RdataType.DS, *SIGNATURES) if query.question[0].rdtype == RdataType.DS else response

    assert Judge(hooked(strip, nsec3=nsec3))("fed.a.test", "A").status is Status.BOGUS


def test_stripped_keys_are_bogus(hooked: Callable[..., World]) -> None:
    world = hooked(lambda _query, response, _udp: without(response, RdataType.DNSKEY, *SIGNATURES))
    answer = Judge(world)("fed.a.test", "DNSKEY")
    assert answer.status is Status.BOGUS


def test_unsigned_zone_cannot_be_grafted_over_a_signed_one(hooked: Callable[..., World]) -> None:
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
def test_replayed_denial_proves_nothing(
    hooked: Callable[..., World], shown: str, name: str, rdtype: str, nsec3: bool
) -> None:
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


def test_record_under_another_name_is_bogus(hooked: Callable[..., World]) -> None:
    other = build()

    def rename(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        shown = other.respond(dns.message.make_query("fed.a.test", "A", want_dnssec=True))
        assert isinstance(shown, dns.message.Message)
        name = query.question[0].name
        response.answer = [dns.rrset.from_rdata_list(name, 60, list(rrset)) for rrset in shown.answer]
        return response

    assert Judge(hooked(rename, "www.sub.a.test"))("www.sub.a.test", "A").status is Status.BOGUS
    assert Judge(hooked(rename, "missing.a.test"))("missing.a.test", "A").status is Status.BOGUS


def test_signature_of_another_zone_is_bogus(hooked: Callable[..., World]) -> None:
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


def test_wildcard_cannot_answer_below_an_existing_name(hooked: Callable[..., World]) -> None:
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
            response.set_rcode(0)
            return response

        world = hooked(expand, "z.wild.b.a.test", nsec3=nsec3)
        assert Judge(world)("z.wild.b.a.test", "A").status is Status.BOGUS
        assert Judge(build(nsec3=nsec3))("q.b.a.test", "A").found


def test_two_aliases_at_one_name_are_bogus(hooked: Callable[..., World]) -> None:
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
def test_server_failures_are_indeterminate(hooked: Callable[..., World], rcode: int) -> None:
    def fail(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.Rcode(rcode))
        return response

    assert Judge(hooked(fail))("fed.a.test", "A").status is Status.INDETERMINATE
    assert Judge(hooked(fail, "test"))("fed.a.test", "A").status is Status.INDETERMINATE


# --- NSEC3 particulars -----------------------------------------------------------------------------------------------


def test_opt_out_hides_unsigned_delegations_only() -> None:
    world = World(seed=b"opt-out")
    world.zone("test", nsec3=Nsec3(opt_out=True, salt=b"\xab", iterations=2))
    world.zone("signed.test", service_records(), nsec3=Nsec3(iterations=3))
    world.zone("unsigned.test", service_records(), signed=False)
    world.sign(NOW)
    assert Judge(world)("fed.signed.test", "A").found
    assert Judge(world)("missing.signed.test", "A").absent
    answer = Judge(world)("fed.unsigned.test", "A")
    assert answer.status is Status.INSECURE
    assert "unsigned.test. is an unsigned delegation (NSEC3 opts" in answer.reason
    # RFC 5155 §9.2: where names may be opted out, "it does not exist" is not secure
    assert Judge(world)("nobody.test", "A").status is Status.INSECURE


@pytest.mark.parametrize(("iterations", "status"), [(100, Status.SECURE), (101, Status.INSECURE)])
def test_iterations_have_a_limit(iterations: int, status: Status) -> None:
    world = World(seed=b"iterations")
    world.zone("costly.test", service_records(), nsec3=Nsec3(iterations=iterations))
    world.sign(NOW)
    answer = Judge(world)("missing.costly.test", "A")
    assert answer.status is status, answer.reason
    assert Judge(world)("fed.costly.test", "A").found


def test_hashing_has_a_budget() -> None:
    world = World(seed=b"hashes")
    world.zone("costly.test", nsec3=Nsec3(iterations=100))
    world.sign(NOW)
    answer = Judge(world)("a.b.c.d.e.f.g.h.costly.test", "A")
    assert answer.status is Status.INDETERMINATE
    assert "hash rounds" in answer.reason


def _colliding_keys(key: DNSKEY, count: int) -> list[str]:
    """Keys with the tag of `key`: a tag is a sum of 16-bit words, so their order does not matter (RFC 4034 §B)."""
    words = [key.key[index : index + 2] for index in range(0, len(key.key), 2)]
    found = []
    for index in range(1, count + 1):
        words[index % 15], words[index % 15 + 1] = words[index % 15 + 1], words[index % 15]
        found.append(f"@ IN DNSKEY {key.replace(key=b''.join(words)).to_text()}")
    return found


def test_keytrap_is_cut_short() -> None:
    """CVE-2023-50387: many keys with one tag, many signatures, none right."""
    seed, origin = b"keytrap", dns.name.from_text("trap.test")
    public = ZoneKeys.derive(seed, origin, Algorithm.ED25519).zone[1]
    world = World(seed=seed, algorithm=Algorithm.ED25519)
    world.zone("trap.test", ["x IN A 192.0.2.1", *_colliding_keys(public, 40)])
    world.sign(NOW)

    def flood(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        if query.question[0].rdtype == RdataType.A:
            good = next(rrset for rrset in response.answer if rrset.rdtype == RdataType.RRSIG)
            forged = [good[0].replace(signature=bytes([index]) * 64) for index in range(60)]
            response.answer.remove(good)
            response.answer.append(dns.rrset.from_rdata_list(good.name, good.ttl, forged))
        return response

    world.hook("trap.test", flood)
    judge = Judge(world)
    keys = judge("trap.test", "DNSKEY")
    assert len({dns.dnssec.key_id(key) for key in keys.rdatas if isinstance(key, DNSKEY)}) == 2
    assert len(keys.rdatas) > 20
    assert judge("x.trap.test", "A").status is Status.BOGUS
    spent = limits.DNS_VERIFICATIONS - judge.budget.verifications
    chain = 5
    assert spent == chain + limits.DNS_RRSIGS_PER_RRSET * limits.DNS_KEYS_PER_TAG


def test_verifications_have_a_budget(world: World) -> None:
    judge = Judge(world)
    assert judge("fed.a.test", "A").found
    needed = limits.DNS_VERIFICATIONS - judge.budget.verifications
    answer = Judge(world, verifications=needed - 1)("fed.a.test", "A")
    assert answer.status is Status.INDETERMINATE
    assert "signature checks" in answer.reason


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_a_deep_name_runs_out_of_questions(hooked: Callable[..., World]) -> None:
    name = ".".join("x" * 100) + ".a.test"
    world = hooked(lambda _query, response, _udp: without(response, *SIGNATURES), name)
    world.zone("a.test", [".".join("x" * 100) + " IN A 192.0.2.1"])
    world.sign(NOW)
    judge = Judge(world)
    answer = judge(name, "A")
    assert answer.status is Status.INDETERMINATE
    assert len(judge.asked) <= limits.DNS_QUERIES
