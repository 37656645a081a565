"""The zones that Debian's knot, nsd, bind and pdns serve are discovered as what they are.

Four servers, each with zones of its own below a root and a top-level domain that every one of them serves in turn; a
real unbound, iterating between them, is the resolver, so that every denial is put together by others' software.
"""

import contextlib
from collections.abc import Iterator, Sequence

import pytest

from tests.discovery.debian import Daemon, running, write_zones
from tests.discovery.debian_servers import SERVERS
from tests.discovery.debian_unbound import judge, unbound
from tests.discovery.harness import DIGEST, service_records
from tests.discovery.opinion import Opinion
from volly_fed.config.values import Server
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.errors import Bogus, DiscoveryError, Insecure, NoRecords
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, Nsec3, World

pytestmark = [pytest.mark.debian, pytest.mark.real]

Verdict = type[DiscoveryError] | None

KINDS: dict[str, tuple[Verdict, Opinion]] = {
    "nsec-{}.test": (None, Opinion.SECURE),
    "nsec3-{}.test": (None, Opinion.SECURE),
    "salted-{}.test": (None, Opinion.SECURE),
    "optout-{}.test": (None, Opinion.SECURE),
    "signed.optout-{}.test": (None, Opinion.SECURE),
    "unsigned.optout-{}.test": (Insecure, Opinion.INSECURE),
    "wild-{}.test": (None, Opinion.SECURE),
    "wild-nsec3-{}.test": (None, Opinion.SECURE),
    "alias-{}.test": (None, Opinion.SECURE),
    "rsa-{}.test": (None, Opinion.SECURE),
    "ed25519-{}.test": (None, Opinion.SECURE),
    "both-{}.test": (None, Opinion.SECURE),
    "mldsa-{}.test": (None, Opinion.INSECURE),
    "unsigned-{}.test": (Insecure, Opinion.INSECURE),
    "island-{}.test": (Insecure, Opinion.INSECURE),
    "bogus-{}.test": (Bogus, Opinion.BOGUS),
    "expired-{}.test": (Bogus, Opinion.BOGUS),
    "stripped-{}.test": (Bogus, Opinion.BOGUS),
    "empty-{}.test": (NoRecords, Opinion.ABSENT),
    "empty-nsec3-{}.test": (NoRecords, Opinion.ABSENT),
    "no-tlsa-{}.test": (NoRecords, Opinion.SECURE),
    "no-tlsa-nsec3-{}.test": (NoRecords, Opinion.SECURE),
}
"""Zone, by its server's name -> our verdict on the domain, unbound's verdict on the SRV record.

unbound 1.17 does not know algorithm 18 and so must take such a zone for an unsigned one.
"""


def add_zones(world: World, server: str, other: str) -> None:
    """The zones of one server; its aliases lead to another's."""
    srv, identity, *_, tlsa = complete = service_records()
    wild = [*service_records("x.wild")[:2], "*.wild IN A 192.0.2.1", f"*.wild {tlsa.split(maxsplit=1)[1]}"]
    hashed = Nsec3()
    world.zone(f"nsec-{server}.test", complete)
    world.zone(f"nsec3-{server}.test", complete, nsec3=hashed)
    world.zone(f"salted-{server}.test", complete, nsec3=Nsec3(iterations=10, salt=b"\xab\xcd"))
    world.zone(f"optout-{server}.test", complete, nsec3=Nsec3(opt_out=True))
    world.zone(f"signed.optout-{server}.test", complete)
    world.zone(f"unsigned.optout-{server}.test", complete, signed=False)
    world.zone(f"wild-{server}.test", wild)
    world.zone(f"wild-nsec3-{server}.test", wild, nsec3=hashed)
    world.zone(f"alias-{server}.test", [srv, identity, f"fed IN CNAME fed.nsec-{other}.test."])
    world.zone(f"rsa-{server}.test", complete, algorithm=8)
    world.zone(f"ed25519-{server}.test", complete, algorithm=15)
    world.zone(f"both-{server}.test", complete, algorithm=(13, 18))
    world.zone(f"mldsa-{server}.test", complete, algorithm=18)
    world.zone(f"unsigned-{server}.test", complete, signed=False)
    world.zone(f"island-{server}.test", complete, flaws=Flaw.NO_DS)
    world.zone(f"bogus-{server}.test", complete, flaws=Flaw.BAD_SIGNATURE)
    world.zone(f"expired-{server}.test", complete, flaws=Flaw.EXPIRED)
    world.zone(f"stripped-{server}.test", complete, flaws=Flaw.NO_SIGNATURES)
    world.zone(f"empty-{server}.test")
    world.zone(f"empty-nsec3-{server}.test", nsec3=hashed)
    world.zone(f"no-tlsa-{server}.test", complete[:-1])
    world.zone(f"no-tlsa-nsec3-{server}.test", complete[:-1], nsec3=hashed)


def names_of(servers: Sequence[str]) -> Iterator[tuple[str, Verdict, Opinion]]:
    for server in servers:
        for pattern, (ours, theirs) in KINDS.items():
            yield pattern.format(server), ours, theirs


@pytest.fixture(scope="module")
def world() -> World:
    world, names = World(seed=b"four servers"), [*SERVERS]
    for server, other in zip(names, [*names[1:], names[0]], strict=True):
        add_zones(world, server, other)
    world.sign()
    return world


@pytest.fixture(scope="module")
def servers(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Daemon]]:
    """All four running, each with every zone: who serves what is the resolver's choice."""
    folder = tmp_path_factory.mktemp("servers")
    zones = write_zones(world, folder / "zones")
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(running(make(zones, world.origins), folder / name))
            for name, make in SERVERS.items()
        }


def stubs(world: World, servers: dict[str, Daemon], upper: str) -> dict[str, int]:
    """Which port serves which zone: each server its own, `upper` those above."""
    return {
        origin: servers[next((name for name in servers if f"-{name}." in origin), upper)].port
        for origin in world.origins
    }


@pytest.fixture(scope="module", params=[*SERVERS])
def resolving(
    request: pytest.FixtureRequest, world: World, servers: dict[str, Daemon], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """An unbound that iterates; the parameter is the server of the root and of the top-level domain."""
    prepare = unbound(world.anchor_text, stubs=stubs(world, servers, request.param))
    with running(prepare, tmp_path_factory.mktemp("unbound")) as daemon:
        yield daemon


def test_the_table_has_every_zone(world: World) -> None:
    assert {".", "test.", *(f"{name}." for name, *_ in names_of([*SERVERS]))} == set(world.origins)


async def verdict(resolver: Resolver, domain: str) -> Verdict:
    try:
        endpoint = await resolver.discover(DomainName(domain))
    except DiscoveryError as error:
        return type(error)
    assert [str(record) for record in endpoint.tlsa] == [f"3 1 1 {DIGEST}"]
    return None


async def test_discovery_finds_each_zone_what_it_is(world: World, resolving: Daemon) -> None:
    resolver = Resolver([Server("127.0.0.1", resolving.port)], trust_anchors(world.anchor_text), allow_private=True)
    found = {name: await verdict(resolver, name) for name, *_ in names_of([*SERVERS])}
    assert found == {name: ours for name, ours, _ in names_of([*SERVERS])}


async def test_unbound_finds_each_zone_what_it_is(world: World, resolving: Daemon) -> None:
    found = {}
    for name, *_ in names_of([*SERVERS]):
        found[name], _ = await judge(resolving.port, f"_volly-fed._tcp.{name}", "SRV")
    assert found == {name: theirs for name, _, theirs in names_of([*SERVERS])}
