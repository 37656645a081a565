"""The test network while it runs: signed DNS in this process, homeservers and edges as processes of their own.

in: how many servers and edges; out: a running federation, and the means to stop, kill and restart its parts.
Never: leaves a process or a folder of its own making behind.
"""

from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

from volly_fed.codepoints import TrustLevel
from volly_fed.config.values import HostPort
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, World, WorldServer
from volly_fed.testnet.processes import Child, start
from volly_fed.testnet.sites import FORGED, LOOPBACK, TLD, UNSIGNED, Site, domain_name, make_site, mixed_levels

EDGES_PER_SERVER = 2
VISITOR = DomainName(f"visitor.{TLD}")
"""A domain with keys and records and no server: who measures connections."""
_OTHER_HOSTS = "measured"


@attrs.define(kw_only=True)
class Network:
    """A federation on loopback: `prepare`, then `start_all`; stop its `children` with `processes.running`."""

    folder: Path
    world: World
    resolver: tuple[str, int]
    http: bool = False
    """Whether homeservers show themselves over HTTP, each on a port of its own choice."""
    sites: dict[DomainName, Site] = attrs.field(factory=dict)
    visitor: Site | None = None
    homeservers: dict[DomainName, Child] = attrs.field(factory=dict)
    edges: dict[tuple[DomainName, DomainName], Child] = attrs.field(factory=dict)
    children: list[Child] = attrs.field(factory=list)

    def prepare(
        self,
        servers: int,
        *,
        edges: int = EDGES_PER_SERVER,
        levels: dict[DomainName, dict[DomainName, TrustLevel]] | None = None,
    ) -> None:
        """Make the sites' files and publish their records in signed zones; may take seconds (keys)."""
        domains = [domain_name(number) for number in range(servers)]
        trusted = levels or mixed_levels(domains)
        for domain in domains:
            self.sites[domain] = self._make(domain, trusted[domain] | {VISITOR: TrustLevel.METADATA}, edges)
        self.visitor = self._make(VISITOR, {}, 0)
        records = self.sites[domains[0]].records
        self.world.zone(UNSIGNED, _renamed(records, domains[0], UNSIGNED), signed=False)
        self.world.zone(FORGED, _renamed(records, domains[0], FORGED), flaws=Flaw.BAD_SIGNATURE)
        self.world.sign()

    def _make(self, domain: DomainName, levels: dict[DomainName, TrustLevel], edges: int) -> Site:
        site = make_site(
            self.folder,
            domain,
            levels=levels,
            edges=edges,
            resolver=self.resolver,
            anchors=self.world.anchor_text,
            options={"http.listen": HostPort(LOOPBACK, 0)} if self.http else None,
        )
        self.world.zone(domain, site.records)
        return site

    async def start_all(self) -> None:
        """Start every homeserver, then every edge, each kind all at once. Raises LocalError if one does not come up."""
        async with trio.open_nursery() as nursery:
            for domain in self.sites:
                nursery.start_soon(self.start_homeserver, domain)
        async with trio.open_nursery() as nursery:
            for domain, site in self.sites.items():
                for edge in site.edges:
                    nursery.start_soon(self.start_edge, domain, edge.name)

    async def start_homeserver(self, domain: DomainName) -> None:
        """Start the homeserver of `domain` and wait until it is ready."""
        site = self.sites[domain]
        arguments = ["serve", "--config", str(site.config)]
        child = await start(f"homeserver {domain}", arguments, site.folder / "homeserver.log")
        self.homeservers[domain] = child
        self.children.append(child)

    async def start_edge(self, domain: DomainName, name: DomainName) -> None:
        """Start one edge node and wait until devices can connect."""
        site = self.sites[domain]
        edge = next(edge for edge in site.edges if edge.name == name)
        arguments = ["edge", "--config", str(edge.config)]
        child = await start(f"edge {name} of {domain}", arguments, site.folder / f"{name}.log")
        self.edges[domain, name] = child
        self.children.append(child)

    def publish_names(self, count: int, like: DomainName) -> list[DomainName]:
        """Sign `count` more zones that point where `like` does: names to discover, each for the first time."""
        site = self.sites[like]
        names = [DomainName(f"{_OTHER_HOSTS}{number}.{TLD}") for number in range(count)]
        for name in names:
            self.world.zone(name, _renamed(site.records, like, name))
        self.world.sign()
        return names


def _renamed(records: Iterable[str], old: DomainName, new: DomainName) -> list[str]:
    return [line.replace(f"{old}.", f"{new}.") for line in records]


async def serve_world(world: World, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
    """Serve `world` on a loopback port until cancelled."""
    await WorldServer(world).serve(task_status=task_status)
