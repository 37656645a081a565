"""The same verdicts with others' software: Debian's knot serves the exported zones, Debian's unbound forwards.

Three ways to the same world (our server; knot; unbound in front of knot) must give one verdict for every domain, and
unbound's own validator must agree with ours.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.discovery import debian_servers, debian_unbound
from tests.discovery.debian import STARTING, Daemon, running, tool, write_zones, zone_file
from tests.discovery.harness import DIGEST, service_records
from tests.discovery.opinion import Opinion
from volly_fed.config.values import Server
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.errors import Bogus, DiscoveryError, Insecure, NoRecords
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, Nsec3, World, WorldServer

pytestmark = [pytest.mark.debian, pytest.mark.real]

VERDICTS: dict[str, type[DiscoveryError] | None] = {
    "good.test": None,
    "hashed.test": None,
    "alias.test": None,
    "unsigned.test": Insecure,
    "no-ds.test": Insecure,
    "target-unsigned.test": Insecure,
    "bad-signature.test": Bogus,
    "expired.test": Bogus,
    "not-yet-valid.test": Bogus,
    "no-signatures.test": Bogus,
    "wrong-ds.test": Bogus,
    "target-expired.test": Bogus,
    "empty.test": NoRecords,
    "hashed-empty.test": NoRecords,
    "missing.test": NoRecords,
    "out.test": NoRecords,
    "no-tlsa.test": NoRecords,
}


def build() -> World:
    world = World(seed=b"debian")
    complete = [*service_records(), "*.wild IN A 192.0.2.9"]
    world.zone("good.test", complete)
    world.zone("hashed.test", complete, nsec3=Nsec3(iterations=1, salt=b"\xab\xcd"))
    world.zone("unsigned.test", complete, signed=False)
    world.zone("empty.test")
    world.zone("hashed-empty.test", nsec3=Nsec3())
    world.zone("out.test", ["_volly-fed._tcp IN SRV 0 0 0 ."])
    world.zone("no-tlsa.test", service_records()[:-1])
    srv, identity = service_records()[:2]
    for name, target in (("alias", "good"), ("target-unsigned", "unsigned"), ("target-expired", "expired")):
        world.zone(f"{name}.test", [srv, identity, f"fed IN CNAME fed.{target}.test."])
    for flaw in (
        Flaw.NO_DS, Flaw.BAD_SIGNATURE, Flaw.EXPIRED, Flaw.NOT_YET_VALID, Flaw.NO_SIGNATURES, Flaw.WRONG_DS,
    ):  # fmt: skip
        world.zone(f"{str(flaw.name).lower().replace('_', '-')}.test", service_records(), flaws=flaw)
    world.sign()
    return world


@pytest.fixture(scope="module")
def world() -> World:
    return build()


@pytest.fixture(scope="module")
def zone_files(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zones(world, tmp_path_factory.mktemp("zones"))


@pytest.fixture(scope="module")
def knot(world: World, zone_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(debian_servers.knot(zone_files, world.origins), tmp_path_factory.mktemp("knot")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def unbound(world: World, knot: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    prepare = debian_unbound.unbound(world.anchor_text, forwards={".": knot.port})
    with running(prepare, tmp_path_factory.mktemp("unbound")) as daemon:
        yield daemon


def resolver(world: World, port: int) -> Resolver:
    return Resolver([Server("127.0.0.1", port)], trust_anchors(world.anchor_text), allow_private=True)


async def verdict(judge: Resolver, domain: str) -> type[DiscoveryError] | None:
    try:
        endpoint = await judge.discover(DomainName(domain))
    except DiscoveryError as error:
        return type(error)
    assert [str(record) for record in endpoint.tlsa] == [f"3 1 1 {DIGEST}"]
    return None


async def verdicts(world: World, port: int) -> dict[str, type[DiscoveryError] | None]:
    judge = resolver(world, port)
    return {domain: await verdict(judge, domain) for domain in VERDICTS}


@pytest.fixture
async def memory_port(world: World, nursery: trio.Nursery) -> int:
    address: tuple[str, int] = await nursery.start(WorldServer(world).serve)
    return address[1]


async def test_verdicts_in_memory(world: World, memory_port: int) -> None:
    assert await verdicts(world, memory_port) == VERDICTS


async def test_verdicts_behind_knot(world: World, knot: Daemon) -> None:
    assert await verdicts(world, knot.port) == VERDICTS


async def test_verdicts_behind_a_validating_unbound_and_knot(world: World, unbound: Daemon) -> None:
    assert await verdicts(world, unbound.port) == VERDICTS


@pytest.mark.parametrize("origin", [".", "test.", "good.test.", "hashed.test.", "hashed-empty.test.", "no-ds.test."])
def test_kzonecheck_finds_the_signed_zones_right(zone_files: Path, origin: str) -> None:
    command = [tool("kzonecheck"), "-d", "on", "-o", origin, str(zone_file(zone_files, origin))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTING, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


QUESTIONS = [
    ("_volly-fed._tcp.{}", "SRV"),
    ("fed.{}", "A"),
    ("fed.{}", "TXT"),
    ("missing.{}", "A"),
    ("x.wild.{}", "A"),
    ("x.wild.{}", "TXT"),
    ("_5223._tcp.fed.{}", "TLSA"),
    ("_tcp.fed.{}", "A"),
]
DOMAINS = [domain for domain in VERDICTS if domain != "missing.test"]


async def test_unbound_judges_as_we_do(world: World, unbound: Daemon, memory_port: int) -> None:
    ours, compared, differences = resolver(world, memory_port), 0, []
    for domain in DOMAINS:
        for pattern, rdtype in QUESTIONS:
            name = pattern.format(domain)
            answer = Opinion.of_answer(await ours.lookup(name, rdtype))
            theirs, why = await debian_unbound.judge(unbound.port, name, rdtype)
            compared += 1
            if answer is not theirs:
                differences.append((name, rdtype, answer, theirs, why))
    assert not differences
    assert compared == len(DOMAINS) * len(QUESTIONS)
