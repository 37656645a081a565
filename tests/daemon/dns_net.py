"""A signed world on loopback and resolvers of it, for the tests of discovery over real sockets."""

import attrs
import pytest
import trio
import trio.testing

from tests.discovery.harness import DIGEST, IDENTITY, NOW, service_records
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.discovery.endpoint import Service
from volly_fed.errors import DiscoveryError
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, World, WorldServer

A = DomainName("a.test")
DEVICE_RECORDS = [
    "_volly._tcp IN SRV 0 5 5222 signal",
    "signal IN A 192.0.2.5",
]


def build() -> World:
    world = World(seed=b"daemon tests")
    world.zone("a.test", [*service_records(), *DEVICE_RECORDS])
    world.zone("out.test", ["_volly-fed._tcp IN SRV 0 0 0 ."])
    world.zone("bare.test", ["fed IN A 192.0.2.1", "_5223._tcp.fed IN TLSA 3 1 1 " + DIGEST])
    world.zone("unsigned.test", service_records(), signed=False)
    world.zone("bad.test", service_records(), flaws=Flaw.BAD_SIGNATURE)
    world.zone("expired.test", service_records(), flaws=Flaw.EXPIRED)
    service = "_volly-fed._tcp IN SRV"
    identity = f'_volly-fed IN TXT "{IDENTITY}"'
    world.zone("far.test", [f"{service} 0 5 5223 fed.a.test.", identity])
    world.zone("elsewhere.test", [f"{service} 0 5 5223 fed.unsigned.test.", identity])
    world.zone(
        "two.test",
        [*service_records(), f"{service} 9 0 5223 fed.unsigned.test.", f"{service} 5 0 5223 fed.expired.test."],
    )
    world.zone("alias.test", [f"{service} 0 5 5223 fed", identity, "fed IN CNAME fed.a.test."])
    world.zone(
        "original.test",
        [
            f"{service} 0 5 5223 fed",
            identity,
            "fed IN CNAME plain",
            "plain IN A 192.0.2.4",
            f"_5223._tcp.fed IN TLSA 3 1 1 {DIGEST}",
        ],
    )
    world.zone(
        "apex.test", [f"{service} 0 5 5223 @", identity, "@ IN A 192.0.2.4", f"_5223._tcp IN TLSA 3 1 1 {DIGEST}"]
    )
    world.zone("nokey.test", service_records()[:-1])
    world.zone("nobody.test", [line for line in service_records() if "TXT" not in line])
    world.zone("double.test", [*service_records(), f'_volly-fed IN TXT "{IDENTITY} next={"B" * 42}A"'])
    world.sign(NOW)
    return world


@attrs.define
class Net:
    """A world, its server, and resolvers of it with a clock that tests set."""

    world: World
    server: WorldServer
    address: tuple[str, int]
    now: float = NOW

    def resolver(self, *, allow_private: bool = True) -> Resolver:
        return Resolver(
            [self.address],
            trust_anchors(self.world.anchor_text),
            allow_private=allow_private,
            clock=lambda: self.now,
        )


async def start_net(nursery: trio.Nursery) -> Net:
    """A fresh world and its server, running in `nursery`."""
    world = build()
    server = WorldServer(world)
    return Net(world, server, await nursery.start(server.serve))


async def fails(resolver: Resolver, domain: str, service: Service = Service.FEDERATION) -> DiscoveryError:
    with pytest.raises(DiscoveryError) as caught:
        await resolver.discover(DomainName(domain), service=service)
    assert "note: " in str(caught.value)
    return caught.value
