"""The world of the benchmark: signed DNS, homeservers A and B as processes, generators at their edges.

in: how many mailboxes, how large a body, more domains to publish; out: a Setting that is taken down with its block.
Everything that the homeservers use is real: discovery with DNSSEC, TLS, identity proofs, stores on disk.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from bench.relay.envelopes import Target
from bench.relay.processor import Look, look
from bench.relay.receiver import Receiver
from bench.relay.submitter import Submitter
from bench.relay.worker import Worker, working
from volly_fed.client.mailbox import DeviceKeys, encode_device
from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer
from volly_fed.testnet.network import Network
from volly_fed.testnet.processes import running

A, B = DomainName("a.test"), DomainName("b.test")
QUEUE = 1_000_000
"""Envelopes that a homeserver keeps for a peer here, so that a figure is about speed and not about a quota."""


@attrs.define(kw_only=True)
class Setting:
    """Two homeservers that run, and who submits and receives."""

    network: Network
    submitter: Worker
    receiver: Worker
    frames: int
    """Bytes of a body."""
    _runs: int = attrs.field(default=0, init=False)

    def next_run(self) -> int:
        """A number for envelopes that are counted together."""
        self._runs += 1
        return self._runs

    def look(self) -> Look:
        """Processor time so far, by process."""
        servers = self.network.homeservers
        return look(
            [
                ("A", servers[A].process.pid),
                ("B", servers[B].process.pid),
                ("submitter", self.submitter.pid),
                ("receiver", self.receiver.pid),
                ("this", os.getpid()),
            ]
        )


@contextmanager
def folder(parent: Path | None) -> Iterator[Path]:
    """A folder for the stores, on the disk that is to be measured."""
    made = Path(tempfile.mkdtemp(prefix="volly-fed-bench-", dir=parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@asynccontextmanager
async def setting(
    where: Path, *, mailboxes: int = 1, body_bytes: int = 1024
) -> AsyncIterator[Setting]:
    """A and B, linked to nobody yet; the submitter is an edge of A, the receiver one of B."""
    world = World()
    world.sign()
    key = os.urandom(16)
    async with trio.open_nursery() as nursery:
        network = Network(folder=where, world=world, resolver=await nursery.start(WorldServer(world).serve))
        network.prepare(2, edges=1, levels={A: {B: TrustLevel.FULL}, B: {A: TrustLevel.FULL}})
        for site in network.sites.values():
            _widen(site.config)
        devices = [DeviceKeys.generate(B, os.urandom) for _ in range(mailboxes)]
        targets = [
            Target(mailbox=device.address.mailbox, domain=B, capability=device.card().capability) for device in devices
        ]
        at_a, at_b = (str(network.sites[domain].edges[0].config) for domain in (A, B))
        async with running(network.children):
            for domain in (A, B):
                await network.start_homeserver(domain)
            async with (
                working(Receiver, at_b, [encode_device(device) for device in devices], key) as receiver,
                working(Submitter, at_a, targets, body_bytes, key) as submitter,
            ):
                yield Setting(network=network, submitter=submitter, receiver=receiver, frames=body_bytes)
        nursery.cancel_scope.cancel()


def _widen(config: Path) -> None:
    text = config.read_text()
    for name, value in (("queue_envelopes_per_peer", QUEUE), ("queue_bytes_per_peer", QUEUE * 2048)):
        before = text
        text = "\n".join(f"{name} = {value}" if line.startswith(f"# {name} =") else line for line in text.splitlines())
        assert text != before, name
    config.write_text(text + "\n")
