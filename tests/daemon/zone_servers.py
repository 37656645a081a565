"""A signed domain with several authoritative servers on loopback that need not agree, and a resolver in front."""

from collections.abc import Callable, Iterable

import attrs
import trio

from tests.discovery.harness import NOW
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.testing.world import World, WorldServer

SEED = b"zone servers"
Build = Callable[[World], None]


def make_world(*builds: Build) -> World:
    """A world that always has the same keys: what differs between two of them is what `builds` put in."""
    world = World(seed=SEED)
    for build in builds:
        build(world)
    world.sign(NOW)
    return world


@attrs.define
class Servers:
    """A resolver's view of the first world; the others are served at 127.0.0.2 and up, all on `port`."""

    world: World
    port: int
    now: float = NOW

    def resolver(self, *, allow_private: bool = True) -> Resolver:
        """A new one, without a memory, whose clock is `now`."""
        anchors = trust_anchors(self.world.anchor_text)
        return Resolver([("127.0.0.1", self.port)], anchors, allow_private=allow_private, clock=lambda: self.now)


async def serve(nursery: trio.Nursery, world: World, others: Iterable[World] = ()) -> Servers:
    """Serve `world` as resolver and first authoritative server, `others` as the further ones."""
    _, port = await nursery.start(WorldServer(world).serve)
    for number, other in enumerate(others, 2):
        await nursery.start(WorldServer(other).serve, f"127.0.0.{number}", port)
    return Servers(world, port)
