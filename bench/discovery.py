"""How long a discovery takes: N domains, each cold, from a world server in another process, on loopback.

python -m bench.discovery [domains]   prints milliseconds: p50, p90 and maximum; then warm (cached), and second-domain
figures (root and top-level domain already validated).
"""

import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection

import trio

from volly_fed.daemon.dns import Resolver, trust_anchors
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer

SEED = b"bench"
DOMAINS = 20


def domain(index: int) -> DomainName:
    """The name of one of the domains."""
    return DomainName(f"d{index}.test")


def serve(count: int, nsec3: bool, ready: Connection) -> None:
    """Build the world and serve it until killed."""
    world = World(seed=SEED, nsec3=nsec3)
    for index in range(count):
        world.zone(
            domain(index),
            [
                "_volly-fed._tcp IN SRV 0 5 5223 fed",
                f'_volly-fed IN TXT "v=vf1 id={"A" * 43}"',
                "fed IN A 127.0.0.1",
                "fed IN AAAA ::1",
                f"_5223._tcp.fed IN TLSA 3 1 1 {'ab' * 32}",
            ],
        )
    world.sign()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ready.send((await nursery.start(WorldServer(world).serve), world.anchor_text))

    trio.run(main)


async def measure(address: tuple[str, int], anchors: str, count: int) -> dict[str, list[float]]:
    """Milliseconds by kind of discovery."""
    taken: dict[str, list[float]] = {"cold": [], "warm": [], "second domain": []}

    async def once(kind: str, resolver: Resolver, name: DomainName) -> None:
        started = time.perf_counter()
        await resolver.discover(name)
        taken[kind].append((time.perf_counter() - started) * 1000)

    parsed = trust_anchors(anchors)
    shared = Resolver([address], parsed, allow_private=True)
    await shared.discover(domain(count))
    for index in range(count):
        resolver = Resolver([address], parsed, allow_private=True)
        await once("cold", resolver, domain(index))
        await once("warm", resolver, domain(index))
        await once("second domain", shared, domain(index))
    return taken


def main() -> None:
    """Measure NSEC and NSEC3 worlds and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DOMAINS
    context = multiprocessing.get_context("spawn")
    for nsec3 in (False, True):
        ours, theirs = context.Pipe()
        server = context.Process(target=serve, args=(count + 1, nsec3, theirs), daemon=True)
        server.start()
        address, anchors = ours.recv()
        for kind, taken in trio.run(measure, address, anchors, count).items():
            ordered = sorted(taken)
            p90 = ordered[int(len(ordered) * 0.9)]
            figures = f"p50 {statistics.median(ordered):.1f} p90 {p90:.1f} max {ordered[-1]:.1f}"
            print(f"{'NSEC3' if nsec3 else 'NSEC'} {kind}: {figures} ms over {count} domains")
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
