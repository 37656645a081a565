import re

import dns.dnssec
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from tests.discovery.harness import NOW, Judge, service_records, without
from tests.discovery.worlds import SIGNATURES, build, hooked
from volly_fed import limits
from volly_fed.discovery.anchors import read_anchors
from volly_fed.discovery.dnssec import Outcome
from volly_fed.discovery.endpoint import Status
from volly_fed.testing.world import Nsec3, World
from volly_fed.testing.world_sign import ZoneKeys


@pytest.fixture(scope="module", params=[False, True], ids=["nsec", "nsec3"])
def world(request: pytest.FixtureRequest) -> World:
    return build(nsec3=request.param)


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


@pytest.mark.spec("discovery-20", "discovery-21")
@pytest.mark.parametrize("algorithm", [13, 15, 18])
def test_algorithms(algorithm: int) -> None:
    assert Judge(build(algorithm=algorithm))("_volly-fed._tcp.a.test", "SRV").found


@pytest.mark.spec("discovery-19")
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


@pytest.mark.spec("discovery-16")
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
def test_alias_loop_and_long_chain_are_indeterminate(name: str) -> None:
    def persist(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response.set_rcode(dns.rcode.NOERROR)  # a resolver would give up; this one goes on
        return response

    answer = Judge(hooked(persist, "alias.test"))(name, "A")
    assert answer.status is Status.INDETERMINATE
    assert "circle, or too far" in answer.reason


@pytest.mark.spec("discovery-15")
def test_wrong_anchor_is_bogus(world: World) -> None:
    anchors = read_anchors(World(seed=b"another").anchor_text)
    answer = Judge(world, anchors=anchors)("fed.a.test", "A")
    assert answer.status is Status.BOGUS
    assert "trust anchor" in answer.reason


def test_name_without_anchor_is_indeterminate(world: World) -> None:
    anchors = {dns.name.from_text("other."): read_anchors(world.anchor_text)[dns.name.root]}
    assert Judge(world, anchors=anchors)("fed.a.test", "A").status is Status.INDETERMINATE
    assert Judge(world, anchors=anchors)("fed.unsigned.test", "A").status is Status.INDETERMINATE


def test_anchor_below_the_root_starts_there(world: World) -> None:
    ds = Judge(world)("a.test", "DS").rdatas[0]
    anchors = read_anchors(f"a.test. IN DS {ds.to_text()}")
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


@pytest.mark.spec("discovery-26")
def test_an_answer_does_not_outlive_its_signature(world: World) -> None:
    end = NOW + 30 * 86400
    assert Judge(world, now=end - 100)("fed.a.test", "A").expires == end
    assert Judge(world, now=end + 100)("fed.a.test", "A").expires == end + 100
    assert Judge(world, now=NOW)("fed.a.test", "A").expires == NOW + 3600


def test_a_ttl_raised_on_the_way_is_cut_to_the_signed_one() -> None:
    def raise_ttl(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        response.answer = [dns.rrset.from_rdata_list(rrset.name, 10**6, list(rrset)) for rrset in response.answer]
        return response

    assert Judge(hooked(raise_ttl))("fed.a.test", "A").expires == NOW + 3600


def test_a_denial_lives_no_longer_than_the_soa_says(world: World) -> None:
    assert Judge(world)("missing.a.test", "A").expires == NOW + 300


def test_a_signature_with_a_shorter_ttl_shortens_the_answers_life() -> None:
    """RFC 4035 §5.3.3: the TTL of the RRSIG itself counts too."""

    def shorten(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        for rrset in response.answer:
            if rrset.rdtype == RdataType.RRSIG:
                rrset.ttl = 7
        return response

    assert Judge(hooked(shorten, "fed.a.test"))("fed.a.test", "A").expires == NOW + 7


@pytest.mark.parametrize(("zone", "rdtype"), [("test", RdataType.DNSKEY), ("a.test", RdataType.DS)])
@pytest.mark.parametrize("name", ["fed.a.test", "missing.a.test", "x.wild.a.test"])
def test_an_answer_does_not_outlive_its_chain(zone: str, rdtype: RdataType, name: str) -> None:
    def shorten(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
        asked = query.question[0]
        if (asked.name, asked.rdtype) == (dns.name.from_text(zone), rdtype):
            response.answer = [dns.rrset.from_rdata_list(asked.name, 9, list(rrset)) for rrset in response.answer]
        return response

    answer = Judge(hooked(shorten, zone))(name, "A")
    assert answer.status is Status.SECURE
    assert answer.expires == NOW + 9


def test_a_wildcards_answer_lives_no_longer_than_its_proof(world: World) -> None:
    assert Judge(world)("x.wild.a.test", "A").expires == NOW + 300


# --- ML-DSA-44 required -----------------------------------------------------------------------------------------------


def _both() -> World:
    world = World(seed=b"both")
    world.zone("both.test", [*service_records(), "*.wild IN A 192.0.2.9"], algorithm=(13, 18))
    world.zone("classical.test", service_records())
    world.sign(NOW)
    return world


def _strip_mldsa44(query: dns.message.Message, response: dns.message.Message, udp: bool) -> dns.message.Message:
    for section in (response.answer, response.authority):
        for rrset in section:
            for rdata in list(rrset):
                if rdata.rdtype == RdataType.RRSIG and rdata.algorithm == Algorithm.MLDSA44:
                    rrset.remove(rdata)  # type: ignore[no-untyped-call]  # dnspython's gap
    return response


@pytest.mark.parametrize("name", ["fed.both.test", "missing.both.test", "x.wild.both.test", "both.test"])
def test_required_mldsa44_must_hold(name: str) -> None:
    for required in (False, True):
        assert Judge(_both(), require_mldsa44=required)(name, "A").status is Status.SECURE
        stripped = _both()
        stripped.hook(name, _strip_mldsa44)
        answer = Judge(stripped, require_mldsa44=required)(name, "A")
        assert answer.status is (Status.BOGUS if required else Status.SECURE)
        assert ("require_mldsa44 asks for" in answer.reason) == required


def test_required_mldsa44_must_sign_the_keys_too() -> None:
    world = _both()
    world.hook(
        "both.test",
        lambda query, response, udp: (
            _strip_mldsa44(query, response, udp) if query.question[0].rdtype == RdataType.DNSKEY else response
        ),
    )
    assert Judge(world)("fed.both.test", "A").found
    answer = Judge(world, require_mldsa44=True)("fed.both.test", "A")
    assert answer.status is Status.BOGUS
    assert "require_mldsa44" in answer.reason


def test_required_mldsa44_asks_nothing_of_zones_without_it() -> None:
    assert Judge(_both(), require_mldsa44=True)("fed.classical.test", "A").found
    assert Judge(build(algorithm=18), require_mldsa44=True)("fed.a.test", "A").found


# --- NSEC3 particulars -----------------------------------------------------------------------------------------------


def test_opt_out_hides_unsigned_delegations_only() -> None:
    world = World(seed=b"opt-out")
    world.zone("test", ["*.wild IN A 192.0.2.1"], nsec3=Nsec3(opt_out=True, salt=b"\xab", iterations=2))
    world.zone("signed.test", service_records(), nsec3=Nsec3(iterations=3))
    world.zone("unsigned.test", service_records(), signed=False)
    world.sign(NOW)
    assert Judge(world)("fed.signed.test", "A").found
    assert Judge(world)("missing.signed.test", "A").absent
    answer = Judge(world)("fed.unsigned.test", "A")
    assert answer.status is Status.INSECURE
    assert "unsigned.test. is an unsigned delegation (NSEC3 opts" in answer.reason
    assert Judge(world)("x.wild.test", "A").status is Status.INSECURE
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


@pytest.mark.spec("discovery-22")
def test_verifications_have_a_budget(world: World) -> None:
    judge = Judge(world)
    assert judge("fed.a.test", "A").found
    needed = limits.DNS_VERIFICATIONS - judge.budget.verifications
    answer = Judge(world, verifications=needed - 1)("fed.a.test", "A")
    assert answer.status is Status.INDETERMINATE
    assert "signature checks" in answer.reason


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_a_deep_name_runs_out_of_questions() -> None:
    name = ".".join("x" * 100) + ".a.test"
    world = hooked(lambda _query, response, _udp: without(response, *SIGNATURES), name)
    world.zone("a.test", [".".join("x" * 100) + " IN A 192.0.2.1"])
    world.sign(NOW)
    judge = Judge(world)
    answer = judge(name, "A")
    assert answer.status is Status.INDETERMINATE
    assert len(judge.asked) <= limits.DNS_QUERIES
