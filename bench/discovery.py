"""How long a discovery takes and what it costs, with the round trip to the resolver made in the test world's server.

python -m bench.discovery [--samples N] [--json]   milliseconds (medians) of our own validator, of unbound's AD bit and
of libunbound, where installed, on the same world; CPU by algorithm (the least of all samples, which is what is
judged: what else runs on the machine only adds to it; and the median), of all and of parsing and validating alone; a
key trap. Exit 1 beyond the limits below.
"""

import argparse
import json
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import attrs
import dns.flags
import dns.message
import dns.name
import trio
from dns.rdatatype import RdataType

from volly_fed.config.model import Validation
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.process import look_for_garbage_seldom
from volly_fed.discovery.anchors import Anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.chain import Asking, Walk
from volly_fed.discovery.dnssec import Answer, look_up
from volly_fed.discovery.message import Message, Question, parse_response, query_for
from volly_fed.discovery.zones import Zones
from volly_fed.errors import LocalError
from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, World, WorldServer

DELAYS: Final = (0, 20, 50, 100)
"""Milliseconds of round trip to the resolver."""
ALGORITHMS: Final = (8, 13, 15, 18)
LIMITS: Final = {
    "own cold 50 ms": 130.0,
    "own warm": 1.0,
    "CPU algorithm 13, all": 5.0,
    "key trap": 250.0,
}
"""In milliseconds, all of our own validator."""
_MEDIAN: Final = ", median"
_SAMPLES: Final = 9
_CPU_SAMPLES: Final = 200
_PATIENCE: Final = 5.0
_ATTEMPTS: Final = 5
_STEP: Final = 0.05
_UNBOUND: Final = """\
server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: 127.0.0.1@{port}
    do-not-query-localhost: no
    local-zone: "test." nodefault
    trust-anchor-file: "{folder}/anchor"
    discard-timeout: 0
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""

Address = tuple[str, int]
Figures = dict[str, float]


@attrs.frozen
class Served:
    """A world in another process."""

    address: Address
    anchor: str

    @property
    def anchors(self) -> Anchors:
        """Its root's."""
        return trust_anchors(self.anchor)

    def resolver(self, validate: Validation = Validation.SELF) -> Resolver:
        """A new one, that knows nothing yet."""
        return Resolver([self.address], self.anchors, allow_private=True, validate=validate)


def domain(index: int) -> DomainName:
    """The name of one of the domains."""
    return DomainName(f"d{index}.test")


def make_world(count: int, algorithm: int) -> World:
    """So many complete domains, and one that is a key trap."""
    world = World(seed=b"bench", algorithm=algorithm)
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
    world.zone("trap.test", ["fed IN A 127.0.0.1"], algorithm=15, flaws=Flaw.KEY_TRAP)
    world.sign()
    return world


def _serve(count: int, algorithm: int, delay: float, ready: Connection) -> None:
    world = make_world(count, algorithm)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            address = await nursery.start(WorldServer(world, delay=delay / 1000).serve)
            ready.send(Served(address, world.anchor_text))

    trio.run(main)


@contextmanager
def served(count: int, *, algorithm: int = 13, delay: float = 0.0) -> Iterator[Served]:
    """A world with `count` domains; every answer takes `delay` milliseconds."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(count, algorithm, delay, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


async def validating(world: Served, samples: int, validate: Validation) -> Figures:
    """Cold (nothing known), warm (the same again), and second domain (root and top-level domain known)."""
    taken: dict[str, list[float]] = {"cold": [], "second domain": [], "warm": []}
    shared = world.resolver(validate)
    await shared.discover(domain(samples))
    for index in range(samples):
        resolver, name = world.resolver(validate), domain(index)
        taken["cold"].append(await _timed(partial(resolver.discover, name)))
        taken["warm"].append(await _timed(partial(resolver.discover, name)))
        taken["second domain"].append(await _timed(partial(shared.discover, name)))
    return {kind: statistics.median(values) for kind, values in taken.items()}


def believing(world: Served, samples: int) -> Figures:
    """The same questions, in the same two rounds, to an unbound in front of the world; its AD bit is believed."""
    taken: dict[str, list[float]] = {"cold": [], "second domain": [], "warm": []}
    for index in range(0, samples, 2):
        with unbound(world) as address:
            for kind, name in (("cold", index), ("warm", index), ("second domain", index + 1)):
                taken[kind].append(trio.run(_timed, partial(_believed, address, domain(name))))
    return {kind: statistics.median(values) for kind, values in taken.items()}


async def _believed(address: Address, name: DomainName) -> None:
    first = [(f"_volly-fed._tcp.{name}", "SRV"), (f"_volly-fed.{name}", "TXT")]
    second = [(f"fed.{name}", "AAAA"), (f"fed.{name}", "A"), (f"_5223._tcp.fed.{name}", "TLSA")]
    for questions in (first, second):
        async with trio.open_nursery() as nursery:
            for owner, rdtype in questions:
                nursery.start_soon(_ask_secure, address, owner, rdtype)


async def _ask_secure(address: Address, owner: str, rdtype: str) -> None:
    response = await _ask(address, owner, rdtype)
    if not response.flags & dns.flags.AD:
        raise RuntimeError(f"{owner} {rdtype}: not authenticated by unbound")


async def _ask(address: Address, owner: str, rdtype: str) -> dns.message.Message:
    query = dns.message.make_query(owner, rdtype, flags=dns.flags.RD | dns.flags.AD)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        await datagrams.connect(address)
        await datagrams.send(query.to_wire())
        return dns.message.from_wire(await datagrams.recv(65535))


@contextmanager
def unbound(world: Served) -> Iterator[Address]:
    """A new unbound process that forwards everything to the world."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(_ATTEMPTS):
            process, address = _started(world, folder)
            try:
                if _answers(process, address):
                    yield address
                    return
            finally:
                process.terminate()
                process.wait()
        raise RuntimeError("unbound does not start")


def _started(world: Served, folder: str) -> tuple[subprocess.Popen[bytes], Address]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        address: Address = reserved.getsockname()
    config = _UNBOUND.format(folder=folder, port=address[1], upstream=world.address[1])
    Path(folder, "unbound.conf").write_text(config)
    Path(folder, "anchor").write_text(world.anchor)
    command = [str(shutil.which("unbound")), "-d", "-c", f"{folder}/unbound.conf"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL), address


def _answers(process: subprocess.Popen[bytes], address: Address) -> bool:
    """Wait for it. False: it ended, because somebody else has taken the port meanwhile, or is stuck."""
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if trio.run(_listens, address):
            return True
        time.sleep(_STEP)
    return False


async def _listens(address: Address) -> bool:
    """Asks for a name of unbound's own, so that its caches stay empty."""
    with trio.move_on_after(_STEP):
        try:
            await _ask(address, "localhost.", "A")
        except OSError:
            return False
        return True
    return False


async def cpu(world: Served, samples: int) -> list[float]:
    """Milliseconds of this process's time for each of so many cold discoveries, sockets included."""
    await world.resolver().discover(domain(samples))
    look_for_garbage_seldom()  # as every process of ours does once it is ready
    spent = []
    for index in range(samples):
        resolver = world.resolver()
        started = time.process_time()
        await resolver.discover(domain(index))
        spent.append((time.process_time() - started) * 1000)
    return spent


def validator_cpu(algorithm: int) -> list[float]:
    """Milliseconds for parsing and validating all answers of one cold discovery; no sockets, no tasks."""
    world = make_world(1, algorithm)
    anchors = trust_anchors(world.anchor_text)
    asked = [(f"_volly-fed._tcp.{domain(0)}", "SRV"), (f"_volly-fed.{domain(0)}", "TXT")]
    asked += [(f"fed.{domain(0)}", "AAAA"), (f"fed.{domain(0)}", "A"), (f"_5223._tcp.fed.{domain(0)}", "TLSA")]
    questions = [Question(dns.name.from_text(name), RdataType.make(rdtype)) for name, rdtype in asked]
    wires: dict[Question, bytes] = {}

    def message(question: Question) -> Message:
        if question not in wires:
            response = world.respond(dns.message.from_wire(query_for(question, 1)), udp=False)
            assert isinstance(response, dns.message.Message)
            wires[question] = response.to_wire(max_size=65535)
        return parse_response(wires[question], question)

    def discover() -> None:
        walk = Walk(zones=Zones(anchors), now=time.time(), budget=Budget())
        for question in questions:
            if not _driven(look_up(walk, question), message).found:
                raise RuntimeError(f"{question}: not secure")

    discover()
    spent = []
    for _ in range(_CPU_SAMPLES):
        started = time.process_time()
        discover()
        spent.append((time.process_time() - started) * 1000)
    return spent


def _driven(asking: Asking[Answer], message: Callable[[Question], Message]) -> Answer:
    question = next(asking)
    while True:
        try:
            question = asking.send(message(question))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


async def key_trap(world: Served) -> float:
    """A hundred keys with one tag, a hundred signatures: milliseconds until it is given up."""
    resolver = world.resolver()
    await resolver.discover(domain(0))
    return await _timed(partial(resolver.lookup, "fed.trap.test", "A"))


def measured(samples: int) -> tuple[dict[str, Figures], Figures]:
    """Milliseconds by "who at round trip" and kind; and the single figures."""
    table: dict[str, Figures] = {}
    single: Figures = {}
    for delay in DELAYS:
        with served(samples + 2, delay=delay) as world:
            table[f"own {delay} ms"] = trio.run(validating, world, samples, Validation.SELF)
            if shutil.which("unbound"):
                table[f"unbound AD {delay} ms"] = believing(world, samples)
            if _has_libunbound(world):
                table[f"libunbound {delay} ms"] = trio.run(validating, world, samples, Validation.LIBUNBOUND)
            single[f"own cold {delay} ms"] = table[f"own {delay} ms"]["cold"]
    single["own warm"] = max(figures["warm"] for who, figures in table.items() if who.startswith("own"))
    for algorithm in ALGORITHMS:
        single |= _least_and_median(f"CPU algorithm {algorithm}, validator", validator_cpu(algorithm))
        with served(_CPU_SAMPLES + 2, algorithm=algorithm) as world:
            single |= _least_and_median(f"CPU algorithm {algorithm}, all", trio.run(cpu, world, _CPU_SAMPLES))
            if algorithm == ALGORITHMS[1]:
                single["key trap"] = trio.run(key_trap, world)
    return table, single


def _least_and_median(name: str, spent: list[float]) -> Figures:
    return {name: min(spent), f"{name}{_MEDIAN}": statistics.median(spent)}


def _has_libunbound(world: Served) -> bool:
    try:
        world.resolver(Validation.LIBUNBOUND)
    except LocalError:
        return False
    return True


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=_SAMPLES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table, single = measured(options.samples)
    beyond = {name: single[name] for name, limit in LIMITS.items() if single[name] > limit}
    if options.json:
        print(json.dumps({"milliseconds": table, "single": single, "limits": LIMITS, "beyond": beyond}, indent=2))
    else:
        _show(table, single)
    sys.exit(1 if beyond else 0)


def _show(table: dict[str, Figures], single: Figures) -> None:
    print(f"{'validator, round trip':32}{'cold':>10}{'second':>10}{'warm':>10}   ms, medians")
    for who, figures in table.items():
        print(f"{who:32}{figures['cold']:10.1f}{figures['second domain']:10.1f}{figures['warm']:10.2f}")
    for name, value in single.items():
        if name.endswith(_MEDIAN) or not (name.startswith("CPU") or name in LIMITS):
            continue
        median = f"   median {single[name + _MEDIAN]:.2f}" if name + _MEDIAN in single else ""
        limit = f"   limit {LIMITS[name]:.0f}: {'ok' if value <= LIMITS[name] else 'BEYOND'}" if name in LIMITS else ""
        print(f"{name:32}{value:10.2f}{median}{limit}")


if __name__ == "__main__":
    main()
