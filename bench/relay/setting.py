"""The world of the benchmark: signed DNS, homeservers A and B as processes, generators at their edges.

in: how many mailboxes, how large a body, more domains to publish; out: a Setting that is taken down with its block.
Everything that the homeservers use is real: discovery with DNSSEC, TLS, identity proofs, stores on disk.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from bench.relay.envelopes import Target
from bench.relay.gauge import Gauge
from bench.relay.peer_keys import PeerSeed
from bench.relay.processor import Look, look
from bench.relay.receiver import Receiver
from bench.relay.submitter import Submitter
from bench.relay.worker import Worker, working
from volly_fed.client.mailbox import DeviceKeys, encode_device
from volly_fed.codepoints import TrustLevel
from volly_fed.names import DomainName
from volly_fed.testing.link_shim import LinkShim
from volly_fed.testing.world import World, WorldServer
from volly_fed.testnet.network import Network
from volly_fed.testnet.processes import running
from volly_fed.testnet.sites import LOOPBACK

A, B = DomainName("a.test"), DomainName("b.test")
KEY_BYTES = 16
LINKED_WITHIN = 30.0
QUEUE = 1_000_000
"""Envelopes that a homeserver keeps for a peer or a mailbox here: a figure is about speed and not about a quota."""


@attrs.define(kw_only=True)
class Setting:
    """Two homeservers that run, and who submits and receives."""

    network: Network
    submitter: Worker
    receiver: Worker
    _runs: int = attrs.field(default=0, init=False)

    def next_run(self) -> int:
        """A number for envelopes that are counted together."""
        self._runs += 1
        return self._runs

    def look(self) -> Look:
        """Processor time so far, by process."""
        homeservers = self.network.homeservers.items()
        return look(
            [
                *((domain[0].upper(), child.process.pid) for domain, child in homeservers),
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


@attrs.frozen
class Behind:
    """B is dialled at `port`, where `shim` stands; its target is set when B's own port is known."""

    shim: LinkShim
    port: int


@asynccontextmanager
async def servers(
    where: Path, *domains: DomainName, peers: Sequence[PeerSeed] = (), behind: Behind | None = None
) -> AsyncIterator[Network]:
    """The DNS, and the homeservers of `domains`, which trust each other and `peers` fully."""
    world = World()
    async with trio.open_nursery() as nursery:
        network = Network(folder=where, world=world, resolver=await nursery.start(WorldServer(world).serve))
        for peer in peers:
            world.zone(peer.name, peer.keys().records())
        full = dict.fromkeys([A, B, *(peer.name for peer in peers)], TrustLevel.FULL)
        await trio.to_thread.run_sync(
            partial(network.prepare, 2, edges=1, levels={own: {**full, own: TrustLevel.NONE} for own in (A, B)})
        )
        if behind is not None:
            _move(network, behind)
        for site in network.sites.values():
            _widen(site.config)
        async with running(network.children):
            async with trio.open_nursery() as starting:
                for domain in domains:
                    starting.start_soon(network.start_homeserver, domain)
            yield network
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def setting(
    where: Path, *, mailboxes: int = 1, body_bytes: int = 1024, behind: Behind | None = None
) -> AsyncIterator[Setting]:
    """A and B, linked; the submitter is an edge of A, the receiver one of B."""
    key, devices, gauge = os.urandom(KEY_BYTES), make_devices(mailboxes), Gauge()
    async with (
        servers(where, A, B, behind=behind) as network,
        receiving(network, devices, key, gauge) as receiver,
        submitting(network, targets(devices), body_bytes, key, gauge) as submitter,
    ):
        made = Setting(network=network, submitter=submitter, receiver=receiver)
        await _link(made)
        yield made


async def _link(made: Setting) -> None:
    """One envelope on its way: afterwards A and B are linked."""
    run = made.next_run()
    await made.submitter.call("begin", run)
    await made.submitter.call("saturate", LINKED_WITHIN, 1)
    if not await made.receiver.call("wait", run, 1, LINKED_WITHIN):
        raise RuntimeError("the first envelope did not come; the homeservers' logs say why")


def make_devices(count: int) -> list[DeviceKeys]:
    """Devices of B."""
    return [DeviceKeys.generate(B, os.urandom) for _ in range(count)]


def targets(devices: Sequence[DeviceKeys]) -> list[Target]:
    """Where envelopes for them go."""
    return [Target(mailbox=each.address.mailbox, domain=B, capability=each.card().capability) for each in devices]


def receiving(
    network: Network, devices: Sequence[DeviceKeys], key: bytes, gauge: Gauge | None = None
) -> AbstractAsyncContextManager[Worker]:
    """B's edge, with `devices`."""
    config, texts = str(network.sites[B].edges[0].config), [encode_device(each) for each in devices]
    return working(Receiver, config, texts, key, gauge)


def submitting(
    network: Network, to: Sequence[Target], body_bytes: int, key: bytes, gauge: Gauge | None = None
) -> AbstractAsyncContextManager[Worker]:
    """A's edge."""
    return working(Submitter, str(network.sites[A].edges[0].config), list(to), body_bytes, key, gauge)


def _move(network: Network, behind: Behind) -> None:
    """Publish the shim's port in the place of B's."""
    port = network.sites[B].port
    behind.shim.target = (LOOPBACK, port)
    lines = [line for line in network.sites[B].records if str(port) in line]
    moved = [line.replace(f" {port} ", f" {behind.port} ").replace(f"_{port}.", f"_{behind.port}.") for line in lines]
    network.world.update(B, add=moved, remove=lines)


def _widen(config: Path) -> None:
    lines = config.read_text().splitlines()
    for name in ("queue_envelopes_per_peer", "mailbox_envelopes"):
        _set(lines, name, QUEUE)
    for name in ("queue_bytes_per_peer", "mailbox_bytes"):
        _set(lines, name, QUEUE * 2048)
    config.write_text("\n".join(lines) + "\n")


def _set(lines: list[str], name: str, value: int) -> None:
    (at,) = (at for at, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{name} ="))
    lines[at] = f"{name} = {value}"
