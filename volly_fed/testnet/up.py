"""A test network that stays: started, described, and taken down when it is interrupted.

in: how many servers; out: a description of what runs where, and how to use it from another terminal.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from volly_fed.testing.world import World
from volly_fed.testnet.network import Network, serve_world
from volly_fed.testnet.processes import running
from volly_fed.testnet.sites import LOOPBACK, Site

Narrate = Callable[[str], None]


@attrs.frozen
class Up:
    """What is running."""

    network: Network

    def as_json(self) -> dict[str, Any]:
        """Where everything is."""
        network = self.network
        return {
            "folder": str(network.folder),
            "resolver": "{}:{}".format(*network.resolver),
            "anchors": str(self._anchors),
            "servers": [
                {
                    "domain": site.domain,
                    "config": str(site.config),
                    "edges": [edge.url for edge in site.edges],
                    "page": self._page(site),
                    "pid": network.homeservers[site.domain].process.pid,
                }
                for site in network.sites.values()
            ],
        }

    def instructions(self) -> list[str]:
        """How to use it from another terminal."""
        host, port = self.network.resolver
        sites = list(self.network.sites.values())
        first, second = sites[0], sites[1]
        outside = f"--resolver {host}:{port} --anchors {self._anchors} --allow-private-addresses"
        alice = f"volly-fed device --home alice --edge {first.edges[0].url}"
        bob = f"volly-fed device --home bob --edge {second.edges[0].url}"
        return [
            "",
            f"The federation is up: {', '.join(site.domain for site in sites)}. Ctrl-C ends it. In other terminals:",
            "",
            f"  {bob} card --domain {second.domain} > bob.card",
            f"  {bob} listen",
            f"  {alice} card --domain {first.domain}",
            f'  {alice} send "$(cat bob.card)" "hello"',
            "",
            "From the outside, and as a.test itself:",
            "",
            f"  volly-fed probe {second.domain} {outside}",
            f"  volly-fed probe {second.domain} --config {first.config}",
            "",
            "How each does, in a browser:",
            "",
            *(f"  {site.domain}: {self._page(site)}" for site in sites),
            "",
            "Configuration, keys and logs:",
            "",
            *(f"  {site.domain}: {site.folder}" for site in sites),
        ]

    def _page(self, site: Site) -> str:
        return f"http://{LOOPBACK}:{self.network.homeservers[site.domain].ready['http_port']}/"

    @property
    def _anchors(self) -> Path:
        return next(iter(self.network.sites.values())).folder / "anchors.ds"


async def stay_up(servers: int, narrate: Narrate, announce: Callable[[Up], None]) -> None:
    """Run a test network until cancelled; `announce` is called once it is up. Its folder is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="volly-fed-testnet-"))
    try:
        world = World()
        world.sign()
        async with trio.open_nursery() as nursery:
            resolver = await nursery.start(serve_world, world)
            network = Network(folder=folder, world=world, resolver=resolver, http=True)
            async with running(network.children):
                narrate(f"Making keys and zones for {servers} servers in {folder}")
                network.prepare(servers)
                narrate("Starting homeservers and edge nodes")
                await network.start_all()
                announce(Up(network))
                await trio.sleep_forever()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
