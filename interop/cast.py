"""The homeservers of one combination of implementations, started once and used by many scenarios.

in: a folder, contracts; out: a Cast whose servers run and trust each other fully, with shims between them and a DNS.
Never: leaves a process behind, or lets what one scenario has changed be there for the next.
"""

import itertools
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from interop.contract import Contract
from interop.server import Server
from interop.site import Address, Keys, PeerEntry, Site, records_of
from interop.zones import Zones
from volly_fed.names import DomainName, Fingerprint
from volly_fed.testing.link_shim import LinkShim
from volly_fed.testing.world_server import WorldServer

DOMAINS: Final = (DomainName("a.test"), DomainName("b.test"))
EDGES: Final = tuple(f"edge-{number}" for number in range(1, 41))
"""So many because a homeserver takes 20 proofs of one name in a minute, and scenarios are quick."""
LOOPBACK: Final = "127.0.0.1"
_SOURCES: Iterator[int] = itertools.count(os.getpid() << 6)
"""Of addresses: other runs on this machine begin elsewhere."""


@attrs.define(eq=False, kw_only=True)
class Cast:
    """Servers that run, and what is around them."""

    zones: Zones
    servers: list[Server]
    edges: dict[str, Keys]
    """Keys of the enrolled edges, the same for every server."""
    shims: dict[DomainName, LinkShim]
    """In front of each server: what other homeservers are told to dial."""
    _edge_names: Iterator[str] = attrs.field(factory=lambda: itertools.cycle(EDGES), init=False)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _base: dict[DomainName, "Policy"] = attrs.field(factory=dict, init=False)

    def next_number(self) -> int:
        """One that was not given out before."""
        return next(self._numbers)

    def next_edge(self) -> str:
        """The name of an enrolled edge that was not used lately."""
        return next(self._edge_names)

    async def start(self) -> None:
        """Start all servers at once."""
        async with trio.open_nursery() as nursery:
            for server in self.servers:
                nursery.start_soon(server.start)
        self._base = {server.site.domain: Policy.of(server) for server in self.servers}

    async def tidy(self) -> None:
        """As it was at the beginning: policies, links that go well, servers that run."""
        for shim in self.shims.values():
            shim.heal()
        async with trio.open_nursery() as nursery:
            for server in self.servers:
                base = self._base[server.site.domain]
                changed = Policy.of(server) != base
                base.put_back(server)
                if not server.running:
                    nursery.start_soon(server.start)
                elif changed:
                    nursery.start_soon(server.reload)


@attrs.frozen
class Policy:
    """What of a site scenarios change."""

    default_level: str
    peers: dict[DomainName, PeerEntry]
    enrolled: dict[str, Fingerprint]

    @classmethod
    def of(cls, server: Server) -> "Policy":
        """As it is now."""
        site = server.site
        return cls(
            site.default_level, {name: attrs.evolve(peer) for name, peer in site.peers.items()}, {**site.enrolled}
        )

    def put_back(self, server: Server) -> None:
        """As it was then."""
        site = server.site
        site.default_level, site.enrolled = self.default_level, {**self.enrolled}
        site.peers = {name: attrs.evolve(peer) for name, peer in self.peers.items()}


@asynccontextmanager
async def playing(folder: Path, contracts: Sequence[Contract]) -> AsyncIterator[Cast]:
    """A Cast of these implementations in `folder` while the block runs. Raises ServerError when one does not start."""
    zones, edges = Zones(), {name: Keys.new(name) for name in EDGES}
    async with trio.open_nursery() as nursery:
        dns: Address = await nursery.start(WorldServer(zones).serve)
        servers: list[Server] = []
        shims: dict[DomainName, LinkShim] = {}
        for domain, contract in zip(DOMAINS, contracts, strict=False):
            site = Site(
                folder=folder / domain,
                domain=domain,
                keys=Keys.new(f"fed.{domain}"),
                federation=(LOOPBACK, free_port(LOOPBACK)),
                edges=(LOOPBACK, free_port(LOOPBACK)),
                dns=dns,
                anchors=zones.anchors,
                enrolled={name: keys.fingerprint for name, keys in edges.items()},
            )
            shims[domain] = LinkShim(site.federation)
            servers.append(Server(contract, site, nursery))
        await _introduce(servers, shims, zones, nursery)
        cast = Cast(zones=zones, servers=servers, edges=edges, shims=shims)
        try:
            await cast.start()
            yield cast
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as ending:
                    for server in servers:
                        ending.start_soon(server.end)
        nursery.cancel_scope.cancel()


async def _introduce(
    servers: list[Server], shims: dict[DomainName, LinkShim], zones: Zones, nursery: trio.Nursery
) -> None:
    """Publish each, and let each know all others."""
    for server in servers:
        site = server.site
        at: Address = await nursery.start(shims[site.domain].serve)
        zones.publish(site.domain, records_of(site.keys, at))
        for other in servers:
            if other is not server:
                other.site.peers[site.domain] = PeerEntry.of(site.domain, site.keys, at, "full")
    for server in servers:
        server.site.create()


def new_source() -> str:
    """A loopback address of which nobody else makes use: what a server counts for addresses is its caller's alone."""
    number = next(_SOURCES)
    return f"127.{64 + (number >> 16) % 128}.{number >> 8 & 255}.{number & 255}"


def free_port(address: str) -> int:
    """A port of `address` that nobody uses now, and that the system gives to nobody who dials from there."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((address, port))
            return port
