"""What is wrong with a zone is wrong in the way it says, and keys of every algorithm sign what holds."""

from collections import Counter

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.zone
import pytest
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, Judge
from volly_fed import limits
from volly_fed.discovery.endpoint import Status
from volly_fed.testing.world import Flaw, Nsec3, World
from volly_fed.testing.world_keys import _rsa_key, private_key

LINES = ["fed IN A 192.0.2.1"]


def made(flaw: Flaw = Flaw.NONE, **more: object) -> World:
    world = World(seed=b"flaws")
    world.zone("x.test", LINES, flaws=flaw, **more)  # type: ignore[arg-type]  # by name
    world.sign(NOW)
    return world


def zone_of(world: World, origin: str = "x.test") -> dns.zone.Zone:
    return dns.zone.from_text(world.zone_text(origin), origin=origin, relativize=False)


def types_in(zone: dns.zone.Zone) -> set[str]:
    return {rdataset.rdtype.name for node in zone.nodes.values() for rdataset in node.rdatasets}


@pytest.mark.parametrize("algorithm", [8, 10, 13, 14, 15, 16, 18])
def test_every_supported_algorithm_signs_what_holds(algorithm: int) -> None:
    world = made(algorithm=algorithm)
    assert Judge(world)("fed.x.test", "A").found
    assert {rdata.algorithm for rdata in zone_of(world).find_rdataset("x.test.", "DNSKEY")} == {algorithm}


@pytest.mark.parametrize("algorithm", [5, 7])
def test_sha1_signs_what_nobody_should_trust(algorithm: int) -> None:
    world = made(algorithm=algorithm)
    assert Judge(world)("fed.x.test", "A").status is Status.INSECURE
    zone = zone_of(world)
    name = dns.name.from_text("x.test")
    keys, signatures = zone.find_rdataset(name, "DNSKEY"), zone.find_rdataset(name, "RRSIG", "DNSKEY")
    allow = dns.dnssec.allow_all_policy
    dns.dnssec.validate((name, keys), (name, signatures), {name: keys}, now=NOW, policy=allow)


@pytest.mark.parametrize("algorithm", [8, 13, 18])
def test_keys_come_from_the_seed(algorithm: int) -> None:
    made_from = []
    for seed in (b"a", b"a", b"b"):
        _rsa_key.cache_clear()
        made_from.append(private_key(seed * 32, Algorithm.make(algorithm)).public_key())
    assert made_from[0] == made_from[1]
    assert made_from[0] != made_from[2]


def test_two_algorithms_sign_everything_and_both_have_a_ds() -> None:
    world = made(algorithm=(13, 18))
    zone = zone_of(world)
    for node in zone.nodes.values():
        for rdataset in node.rdatasets:
            if rdataset.rdtype == RdataType.RRSIG:
                assert sorted(rdata.algorithm for rdata in rdataset) == [13, 18]
    ds_set = zone_of(world, "test").find_rdataset("x.test.", "DS")
    assert sorted(ds.algorithm for ds in ds_set) == [13, 18]
    assert world.anchor_of("x.test").count(" IN DS ") == 2


def test_digests_are_those_asked_for() -> None:
    for digests in ((2,), (4,), (1, 2)):
        ds_set = zone_of(made(digests=digests), "test").find_rdataset("x.test.", "DS")
        assert tuple(sorted(ds.digest_type for ds in ds_set)) == digests


def test_anchor_of_an_unsigned_zone_does_not_exist() -> None:
    with pytest.raises(KeyError):
        made(signed=False).anchor_of("x.test")


@pytest.mark.parametrize("nsec3", [None, Nsec3()])
@pytest.mark.parametrize(
    ("flaw", "missing"),
    [
        (Flaw.NO_SIGNATURES, {"RRSIG"}),
        (Flaw.NO_KEYS, {"DNSKEY"}),
        (Flaw.NO_DENIAL, {"NSEC", "NSEC3"}),
        (Flaw.NOT_SIGNED, {"RRSIG", "DNSKEY", "NSEC", "NSEC3", "NSEC3PARAM"}),
    ],
)
def test_what_is_stripped_is_gone_and_nothing_else(flaw: Flaw, missing: set[str], nsec3: Nsec3 | None) -> None:
    whole, spoiled = types_in(zone_of(made(nsec3=nsec3))), made(flaw, nsec3=nsec3)
    assert types_in(zone_of(spoiled)) == whole - missing
    assert zone_of(spoiled, "test").get_rdataset("x.test.", "DS")
    assert Judge(spoiled)("missing.x.test", "A").status is Status.BOGUS


def test_stripped_ds_is_still_in_the_denial_record() -> None:
    parent = zone_of(made(Flaw.STRIPPED_DS), "test")
    assert not parent.get_rdataset("x.test.", "DS")
    assert not parent.get_rdataset("x.test.", "RRSIG", "DS")
    assert " DS " in parent.find_rdataset("x.test.", "NSEC")[0].to_text()


@pytest.mark.parametrize(
    ("flaw", "field", "value"),
    [
        (Flaw.UNKNOWN_ALGORITHM, "algorithm", 253),
        (Flaw.UNKNOWN_DIGEST, "digest_type", 250),
        (Flaw.SHA1_DIGEST, "digest_type", 1),
    ],
)
def test_ds_says_what_nobody_supports(flaw: Flaw, field: str, value: int) -> None:
    world = made(flaw)
    (ds,) = zone_of(world, "test").find_rdataset("x.test.", "DS")
    assert getattr(ds, field) == value
    assert Judge(world)("fed.x.test", "A").status is Status.INSECURE


def test_key_trap_has_a_hundred_keys_of_one_tag_and_as_many_wrong_signatures() -> None:
    world = made(Flaw.KEY_TRAP)
    zone = zone_of(world)
    keys = zone.find_rdataset("x.test.", "DNSKEY")
    tags = Counter(dns.dnssec.key_id(key) for key in keys)
    assert sorted(tags.values()) == [1, 100]
    signatures = zone.find_rdataset("fed.x.test.", "RRSIG", "A")
    assert len(signatures) == 100
    assert {rdata.key_tag for rdata in signatures} == {tag for tag, count in tags.items() if count == 100}
    assert len(keys.to_text()) < limits.DNS_MAX_MESSAGE  # longer than the message: the trap is not kept out by its size
    judge = Judge(world)
    assert judge("x.test", "DNSKEY").found
    assert judge("fed.x.test", "A").status is Status.BOGUS
