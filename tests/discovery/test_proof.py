"""What is kept of a validation: enough for somebody else to check it again, and no more than fits."""

import dns.name
import dns.rdatatype
import dns.zonefile
import pytest
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from tests.discovery.harness import NOW, Judge, rrset_of, service_records
from tests.discovery.worlds import build
from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Endpoint, Service, Target
from volly_fed.discovery.message import signatures
from volly_fed.discovery.proof import CUT_SHORT, join, proof_lines
from volly_fed.discovery.rrset import RRset
from volly_fed.discovery.signature import verify_rrset
from volly_fed.names import DomainName
from volly_fed.testing.world import World

WORLD = build()
CHAIN = [". DNSKEY", "test. DS", "test. DNSKEY", "a.test. DS", "a.test. DNSKEY"]


def rrsets(lines: tuple[str, ...]) -> list[RRset]:
    read = dns.zonefile.read_rrsets("\n".join(lines), rdclass=None, relativize=False)
    return [rrset_of(rrset.name, rrset.ttl, rrset) for rrset in read]


def order(answer: Answer) -> list[str]:
    """The RRsets in the order in which they are shown, by owner and type."""
    shown = [line.split(" ")[0] + " " + line.split(" ")[3] for line in answer.proof if " IN RRSIG " not in line]
    return list(dict.fromkeys(shown))


def recheck(lines: tuple[str, ...]) -> set[str]:
    """Verify every RRset in `lines` with the keys in `lines`; their owners and types."""
    found = rrsets(lines)
    keys = {
        rrset.name: [key for key in rrset if isinstance(key, DNSKEY)]
        for rrset in found
        if rrset.rdtype == RdataType.DNSKEY
    }
    checked = set()
    for rrset in found:
        if rrset.rdtype == RdataType.RRSIG:
            continue
        covering = signatures(found, rrset)
        zone = covering[0].signer
        verify_rrset(rrset, covering, zone=zone, keys=keys[zone], now=NOW, budget=Budget())
        checked.add(f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}")
    return checked


def test_a_proof_is_the_chain_and_then_the_answer() -> None:
    answer = Judge(WORLD)("fed.a.test", "A")
    assert order(answer) == [*CHAIN, "fed.a.test. A"]
    for line, following in zip(answer.proof, answer.proof[1:], strict=False):
        covered = line.split(" ")[3]
        if covered not in ("RRSIG", "DNSKEY", "DS"):
            assert f" RRSIG {covered} " in following
    assert len([line for line in answer.proof if " IN RRSIG " in line]) == 6


@pytest.mark.parametrize(
    ("name", "rdtype", "more"),
    [
        ("_5223._tcp.fed.a.test", "TLSA", {"_5223._tcp.fed.a.test. TLSA"}),
        ("good.alias.test", "A", {"alias.test. DNSKEY", "good.alias.test. CNAME", "fed.a.test. A"}),
        ("fed.tree.alias.test", "A", {"tree.alias.test. DNAME", "fed.a.test. A"}),
        ("x.wild.a.test", "A", {"x.wild.a.test. A", "*.wild.a.test. NSEC"}),
        ("missing.a.test", "A", {"a.test. NSEC"}),
        ("fed.a.test", "TXT", {"fed.a.test. NSEC"}),
    ],
)
def test_a_proof_can_be_checked_by_others(name: str, rdtype: str, more: set[str]) -> None:
    checked = recheck(Judge(WORLD)(name, rdtype).proof)
    assert checked >= {*CHAIN, *more}


def test_hostile_text_stays_on_its_line() -> None:
    world = World(seed=b"hostile")
    world.zone("a.test", [r'x IN TXT "\010\. IN DS 1 13 2 00\"; \255"'])
    world.sign(NOW)
    answer = Judge(world)("x.a.test", "TXT")
    assert answer.found
    assert all(line.isascii() and line.isprintable() for line in answer.proof)
    assert "x.a.test. TXT" in recheck(answer.proof)


def test_nothing_is_proved_by_an_answer_that_is_bogus() -> None:
    assert Judge(WORLD)("fed.bad.test", "A").proof == ()


def endpoint(*answers: Answer) -> Endpoint:
    return Endpoint(
        domain=DomainName("a.test"),
        service=Service.FEDERATION,
        targets=(Target(host="fed.a.test", port=5223),),
        expires=NOW,
        proved=join(answer.proved for answer in answers),
    )


def test_an_endpoint_has_all_proofs_once() -> None:
    names = [("_volly-fed._tcp.a.test", "SRV"), ("_volly-fed.a.test", "TXT"), ("fed.a.test", "A"), ("fed.a.test", "A")]
    # each judge walks the chain anew: the same RRsets, in other objects
    found = endpoint(*(Judge(WORLD)(name, rdtype) for name, rdtype in names))
    assert len(found.proof) == len(set(found.proof))
    assert recheck(found.proof) == {*CHAIN, "_volly-fed._tcp.a.test. SRV", "_volly-fed.a.test. TXT", "fed.a.test. A"}
    assert endpoint().proof == ()


def test_a_proof_has_a_limit_and_says_when_it_is_reached() -> None:
    world = World(seed=b"large")
    world.zone("a.test", [*service_records(), *(f'big{item} IN TXT "{"x" * 255}" "{item}"' for item in range(300))])
    world.sign(NOW)
    judge = Judge(world)
    proof = join(judge(f"big{item}.a.test", "TXT").proved for item in range(300))
    lines = proof_lines(proof)
    assert sum(len(line) + 1 for line in lines) <= limits.DNS_PROOF_BYTES
    assert lines[-1] == CUT_SHORT
    assert " RRSIG " in lines[-2]
    assert len(recheck(lines)) > 50


def test_a_chain_of_mldsa44_fits() -> None:
    world = build(algorithm=18)
    names = [
        ("_volly-fed._tcp.a.test", "SRV"),
        ("_volly-fed.a.test", "TXT"),
        ("fed.a.test", "A"),
        ("fed.a.test", "AAAA"),
    ]
    answers = [Judge(world)(name, rdtype) for name, rdtype in [*names, ("_5223._tcp.fed.a.test", "TLSA")]]
    assert "_5223._tcp.fed.a.test. TLSA" in recheck(endpoint(*answers).proof)


def test_signatures_that_did_not_hold_are_not_shown() -> None:
    world = World(seed=b"two algorithms")
    world.zone("a.test", service_records(), algorithm=(13, 15))
    world.sign(NOW)
    lines = Judge(world)("fed.a.test", "A").proof
    covering = [
        rrset for rrset in rrsets(lines) if rrset.rdtype == RdataType.RRSIG and str(rrset.name) == "fed.a.test."
    ]
    assert [len(rrset) for rrset in covering] == [1]
    assert all(isinstance(rdata, RRSIG) for rrset in covering for rdata in rrset)
