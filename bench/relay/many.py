"""Many peers: quiet ones with one envelope at a time, all of them coming back at once, and one of them dark.

Quiet: 200 domains have one proved link each to B; each sends one envelope and the next when that is acknowledged, so
that nothing can be batched on a link. The figure is envelopes per second of B's processor time.
Storm: B is stopped and started again; all 200 call at once. Its DNS answers come from this benchmark's own server.
Dark: A has queues for 100 peers; the link of one of them is a black hole. The figure is by how much the 99th
percentile of the others rises. Time with and without it takes turns, and the middle rise is given: with a thousand
envelopes a second, a few pauses of the machine more or less are a percentile.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from statistics import median

import attrs
import trio

from bench.relay.acceptors import Acceptors
from bench.relay.callers import Callers, Quiet, Whom
from bench.relay.envelopes import Target
from bench.relay.figure import Result, least, most, percentile
from bench.relay.load import BUSY_TICK, Load, p, paced
from bench.relay.options import Options
from bench.relay.peer_keys import PeerSeed, seed
from bench.relay.setting import (
    KEY_BYTES,
    LINKED_WITHIN,
    A,
    B,
    Setting,
    folder,
    make_devices,
    receiving,
    servers,
    submitting,
    targets,
)
from bench.relay.worker import Worker, working
from volly_fed.daemon import material
from volly_fed.names import DomainName, Fingerprint
from volly_fed.testing.link_shim import LinkShim
from volly_fed.testnet.network import Network
from volly_fed.testnet.sites import LOOPBACK, free_ports

QUIET_PEERS = 200
AT_ONCE = 8
"""Links that are opened at one time before anything is measured."""
DARK_PEERS = 100
DARK_RATE = 1000
DARK_TURNS = 3
DARK_SECONDS = 40.0
"""Longer than it takes to notice that a link is dead (PING_AFTER and PONG_WITHIN) and to call in vain."""
DARK_SETTLE = 1.0
"""For what is under way; what is for the dark one is not waited for."""
BODY = 1024


async def quiet(options: Options) -> Result:
    """200 peers, one envelope at a time each; then all of them come back at once after B was restarted."""
    result = Result("quiet")
    count = options.scaled(QUIET_PEERS, 4)
    with folder(options.folder) as where:
        async with _called(where, count) as (setting, callers):
            linked = await callers.call("connect", AT_ONCE)
            result.add(f"{count} peers linked, {AT_ONCE} at a time", max(linked), "s")
            run = setting.next_run()
            look = setting.look()
            measured: Quiet = await callers.call("quiet", run, options.seconds)
            spent = setting.look().since(look)
            sent = await callers.call("sent", run)
            arrived = await setting.receiver.call("wait", run, sent - measured.refused, 30.0)
            result.add("quiet peers", measured.settled / spent.by["B"], "envelopes/s a core", least(7000))
            result.add("rate", measured.settled / measured.seconds, "envelopes/s")
            result.add("p50 to the acknowledgement", p(measured.took_ms, 50), "ms")
            result.add("p99 to the acknowledgement", p(measured.took_ms, 99), "ms")
            result.add("lost", sent - measured.refused - arrived, "envelopes", most(0))
            result.add("refused", measured.refused, "envelopes", most(0))
            result.curves[f"{count} quiet peers"] = measured.took_ms
            await _storm(result, setting, callers, count)
    return result


async def _storm(result: Result, setting: Setting, callers: Worker, count: int) -> None:
    network = setting.network
    await network.homeservers[B].stop()
    await callers.call("wait_gone")
    await network.start_homeserver(B)
    look, began = setting.look(), trio.current_time()
    linked = await callers.call("connect", count)
    spent, took = setting.look().since(look), trio.current_time() - began
    result.add(f"{count} peers come back at once: all linked", max(linked), "s")
    result.add("half of them", percentile(linked, 0.5), "s")
    result.add("CPU of B meanwhile", spent.by["B"], "s")
    result.add("CPU of B for each link", spent.by["B"] / count * 1e3, "ms")
    result.add("other load meanwhile", spent.others / took, "processors")


@asynccontextmanager
async def _called(where: Path, count: int) -> AsyncIterator[tuple[Setting, Worker]]:
    peers = [seed(number, port=1, listens=0) for number in range(count)]
    key, devices = os.urandom(KEY_BYTES), make_devices(1)
    async with servers(where, B, peers=peers) as network, receiving(network, devices, key) as receiver:
        site = network.sites[B]
        whom = Whom(domain=B, host=site.host, port=site.port, fingerprint=_identity(network, B))
        async with working(Callers, peers, whom, targets(devices), BODY, key) as callers:
            yield Setting(network=network, submitter=callers, receiver=receiver), callers


async def dark(options: Options) -> Result:
    """One of 100 peers is a black hole: what the others notice."""
    result = Result("dark")
    count = options.scaled(DARK_PEERS, 4)
    seconds = options.seconds if options.quick else DARK_SECONDS
    async with trio.open_nursery() as nursery:
        ports = free_ports(count)
        shim = LinkShim((LOOPBACK, ports[0]))
        _, behind = await nursery.start(shim.serve)
        peers = [seed(number, port=port, listens=port) for number, port in enumerate(ports)]
        peers[0] = attrs.evolve(peers[0], port=behind)
        with folder(options.folder) as where:
            async with _calling(where, peers) as world:
                turns = [await _turn(world, shim, seconds) for _ in range(1 if options.quick else DARK_TURNS)]
                _add_dark(result, turns)
        nursery.cancel_scope.cancel()
    return result


async def _turn(world: Setting, shim: LinkShim, seconds: float) -> tuple[Load, Load]:
    """Without and with a dark peer; afterwards its link comes about again."""
    before = await paced(world, DARK_RATE, seconds / 2, tick=BUSY_TICK, settle=DARK_SETTLE)
    shim.blackhole()
    during = await paced(world, DARK_RATE, seconds, tick=BUSY_TICK, settle=DARK_SETTLE)
    shim.heal()
    shim.reset()
    links = shim.accepted
    with trio.fail_after(LINKED_WITHIN):
        await shim.until(lambda: shim.accepted > links)
    return before, during


def _add_dark(result: Result, turns: list[tuple[Load, Load]]) -> None:
    before, during = (list(chain.from_iterable(load.took_ms for load in loads)) for loads in zip(*turns, strict=True))
    rises = [(p(dark.took_ms, 99) / p(clear.took_ms, 99) - 1) * 100 for clear, dark in turns]
    result.add("p50 of the others, before", p(before, 50), "ms")
    result.add("p50 of the others, one is dark", p(during, 50), "ms")
    result.add("p99 of the others, before", p(before, 99), "ms")
    result.add("p99 of the others, one is dark", p(during, 99), "ms")
    result.add("rise of the others' p99, the middle turn", median(rises), "%", most(20))
    result.add("the least turn", min(rises), "%")
    result.add("the most turn", max(rises), "%")
    for side, name in enumerate(("before", "one is dark")):
        loads = [turn[side] for turn in turns]
        result.add(f"CPU of A, {name}", median(load.cpu_us("A") for load in loads), "µs/envelope")
        result.add(f"other load, {name}", median(load.others for load in loads), "processors")
    result.add("others' envelopes that came", sum(len(dark.run.seen) for _, dark in turns), "envelopes")
    result.curves["peers, before one is dark"] = before
    result.curves["the other peers, one is dark"] = during


@asynccontextmanager
async def _calling(where: Path, peers: list[PeerSeed]) -> AsyncIterator[Setting]:
    """A submits for all `peers`, in turn."""
    key = os.urandom(KEY_BYTES)
    to = [Target(mailbox=os.urandom(32), domain=peer.name, capability=bytes(16)) for peer in peers]
    async with (
        servers(where, A, peers=peers) as network,
        working(Acceptors, peers, _identity(network, A), key) as acceptors,
        submitting(network, to, BODY, key) as submitter,
    ):
        yield Setting(network=network, submitter=submitter, receiver=acceptors)


def _identity(network: Network, domain: DomainName) -> Fingerprint:
    data = material.read_homeserver_config(network.sites[domain].config).server.data_dir
    return material.load_material(data).fingerprint
