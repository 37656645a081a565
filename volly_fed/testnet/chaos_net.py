"""A federation in which everything can go wrong: a shim in every link, a name server for every homeserver.

in: a folder, how many servers and edges; out: running processes by name, and whatever the faults take hold of.
Each homeserver has a DNS of its own, in which every other one lies behind a shim of its own: so two servers can be
parted while both talk to all others, and one resolver can fall silent.
Never: takes a process that it has killed for one that died.
"""

import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import permutations
from pathlib import Path

import attrs
import dns.message
import trio

from volly_fed.codepoints import TrustLevel
from volly_fed.config.values import Seconds
from volly_fed.names import DomainName
from volly_fed.testing.chaos_plan import Parts
from volly_fed.testing.chaos_process import Wrongs
from volly_fed.testing.link_shim import LinkShim
from volly_fed.testing.world import World, WorldServer
from volly_fed.testing.world_server import Reply
from volly_fed.testnet.processes import Child, running, start
from volly_fed.testnet.sites import LOOPBACK, EdgeSite, Site, domain_name, make_site

BACKOFF_CAP = Seconds(5.0)
"""Between two homeservers: what the operator of so lively a place might choose."""
AT_ONCE = 4
"""Processes that start at one time, in the beginning."""
_TTL = 5
"""Of the records, so that a silent resolver is missed soon."""


@attrs.define
class Answers:
    """A world that can fall silent."""

    world: World
    silent: bool = False

    def reply(self, query: dns.message.Message, *, udp: bool) -> Reply:
        """What a name server does about `query`; see world_server.Names."""
        return None if self.silent else self.world.reply(query, udp=udp)


@attrs.define(kw_only=True)
class ChaosNet:
    """The parts, by the names that testing.chaos_plan has for them."""

    folder: Path
    sites: dict[str, Site] = attrs.field(factory=dict)
    answers: dict[str, Answers] = attrs.field(factory=dict)
    shims: dict[str, LinkShim] = attrs.field(factory=dict)
    wrongs: dict[str, Wrongs] = attrs.field(factory=dict)
    programs: dict[str, list[str]] = attrs.field(factory=dict)
    """Command lines that run volly-fed in another way than as it is."""
    alive: dict[str, Child] = attrs.field(factory=dict)
    """Processes that are meant to run."""
    children: list[Child] = attrs.field(factory=list)
    """All that were ever started."""

    @property
    def parts(self) -> Parts:
        """All names."""
        return Parts(
            {domain: tuple(edge_name(domain, edge) for edge in site.edges) for domain, site in self.sites.items()}
        )

    async def start(self, name: str) -> Child:
        """Start a homeserver or an edge and wait until it is ready. Raises LocalError."""
        domain = name if name in self.sites else name.partition(".")[2]
        site = self.sites[domain]
        if name == domain:
            arguments = ["serve", "--config", str(site.config)]
        else:
            edge = next(edge for edge in site.edges if edge_name(domain, edge) == name)
            arguments = ["edge", "--config", str(edge.config)]
        child = await start(name, arguments, self.log_of(name), program=self.programs.get(name))
        self.children.append(child)
        self.alive[name] = child
        return child

    async def start_many(self, names: Sequence[str]) -> None:
        """Start these, a few at once."""
        room = trio.Semaphore(AT_ONCE)

        async def start_one(name: str) -> None:
            async with room:
                await self.start(name)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(start_one, name)

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        await self.alive.pop(name).kill()

    async def stop_all(self) -> dict[str, int]:
        """SIGTERM to all that run, edges first; exit codes that are not 0, by name."""
        codes: dict[str, int] = {}

        async def stop(name: str) -> None:
            codes[name] = await self.alive.pop(name).stop()

        for names in (sorted(set(self.alive) - set(self.sites)), sorted(self.sites)):
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(stop, name)
        return {name: code for name, code in codes.items() if code}

    def died(self) -> dict[str, int]:
        """Those that ended though nobody told them to, with their exit code; each is told once."""
        gone = {
            name: child.process.returncode for name, child in self.alive.items() if child.process.poll() is not None
        }
        for name in gone:
            del self.alive[name]
        return {name: code if code is not None else 0 for name, code in gone.items()}

    def log_of(self, name: str) -> Path:
        """Where a process writes its log."""
        return self.folder / f"{name}.log"

    def store_of(self, domain: str) -> Path:
        """A homeserver's database."""
        return self.sites[domain].folder / "data" / "store.db"

    def edge_of(self, name: str) -> EdgeSite:
        """An edge by its name."""
        domain = name.partition(".")[2]
        return next(edge for edge in self.sites[domain].edges if edge_name(domain, edge) == name)

    # --- making it ---

    async def make_sites(self, nursery: trio.Nursery, servers: int, edges: int) -> None:
        """Keys, names and configuration; name servers run in `nursery` from here on."""
        domains = [domain_name(number) for number in range(servers)]
        for domain in domains:
            world = World()
            world.sign()
            self.answers[domain] = Answers(world)
            resolver = await nursery.start(WorldServer(self.answers[domain]).serve)
            self.sites[domain] = make_site(
                self.folder,
                domain,
                levels={peer: TrustLevel.FULL for peer in domains if peer != domain},
                edges=edges,
                resolver=resolver,
                anchors=world.anchor_text,
                options={"limits.backoff_cap": BACKOFF_CAP},
            )

    async def make_links(self, nursery: trio.Nursery, seed: int) -> None:
        """A shim in every link, and names that lead to it."""
        for number, (own, peer) in enumerate(permutations(self.sites, 2)):
            shim = LinkShim((LOOPBACK, self.sites[peer].port), seed=seed + number)
            self.shims[f"{own}>{peer}"] = shim
            _, port = await nursery.start(shim.serve)
            self._publish(own, peer, port)
        for domain, site in self.sites.items():
            self._publish(domain, domain, site.port)
            self.answers[domain].world.sign()
            for edge in site.edges:
                shim = LinkShim((LOOPBACK, edge.homeserver.port), seed=seed)
                self.shims[f"{edge_name(domain, edge)}>{domain}"] = shim
                _, port = await nursery.start(shim.serve)
                _lead(edge, port)

    def make_wrongs(self) -> None:
        """Clocks and disks that can go wrong, from the next start on."""
        for name in self.parts.processes:
            path = self.folder / f"{name}.wrongs"
            self.wrongs[name] = Wrongs.create(path)
            self.programs[name] = [sys.executable, "-m", "volly_fed.testing.chaos_process", str(path)]

    def _publish(self, own: str, peer: str, port: int) -> None:
        site = self.sites[peer]
        records = [_moved(line, site.port, port) for line in site.records]
        self.answers[own].world.zone(DomainName(peer), records)


def edge_name(domain: str, edge: EdgeSite) -> str:
    """How an edge is called among all processes."""
    return f"{edge.name}.{domain}"


@asynccontextmanager
async def chaos_net(
    folder: Path,
    *,
    servers: int,
    edges: int,
    seed: int = 0,
    wrongs: bool = True,
    prepare: Callable[[ChaosNet], None] = lambda net: None,  # noqa: ARG005 - nothing is to be done
) -> AsyncIterator[ChaosNet]:
    """A federation that runs while the block does. Without `wrongs` its processes are nothing but volly-fed.

    `prepare` may change whatever is to be there before they start.
    """
    net = ChaosNet(folder=folder)
    async with trio.open_nursery() as nursery:
        await net.make_sites(nursery, servers, edges)
        await net.make_links(nursery, seed)
        if wrongs:
            net.make_wrongs()
        prepare(net)
        async with running(net.children):
            await net.start_many(net.parts.domains)
            await net.start_many(net.parts.processes[servers:])
            yield net
        nursery.cancel_scope.cancel()


def _moved(line: str, old: int, new: int) -> str:
    """A record of a homeserver that is reached at another port, with a short life."""
    line = re.sub(rf"^_{old}\._tcp", f"_{new}._tcp", line)
    line = re.sub(rf"( SRV +\d+ \d+) {old} ", rf"\1 {new} ", line)
    return re.sub(r"^(\S+)\s+(?:\d+ )?IN ", rf"\1 {_TTL} IN ", line)


def _lead(edge: EdgeSite, port: int) -> None:
    """Let `edge` find its homeserver behind a shim."""
    text = edge.config.read_text()
    changed = text.replace(f'"{edge.homeserver}"', f'"{LOOPBACK}:{port}"')
    if changed == text:
        raise AssertionError(f"{edge.config} does not name {edge.homeserver}")
    edge.config.write_text(changed)
