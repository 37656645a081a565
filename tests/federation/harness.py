"""A federation of real processes for one test, and what tests do to it again and again.

in: a folder; out: a running Federation that is taken down when the block ends, however it ends.
The DNS world is served by the test itself, so that tests can change it and count what it is asked.
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import attrs
import trio

from volly_fed.client.inbox import InboxMessage
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.device.link import PlainEdge
from volly_fed.errors import ChannelError
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer
from volly_fed.testnet.chaos import left_over
from volly_fed.testnet.devices import Device
from volly_fed.testnet.network import Network
from volly_fed.testnet.processes import Child, running
from volly_fed.testnet.sites import LOOPBACK, Site

A, B, C = DomainName("a.test"), DomainName("b.test"), DomainName("c.test")
PATIENCE = 60.0
"""Seconds for anything that is bound to happen: a limit for broken code, on a busy machine, and not a measurement."""
_GLANCE = 0.02
"""Between two looks at what cannot be awaited: the log file of another process."""

LogLine = dict[str, Any]


@attrs.define(kw_only=True)
class Federation:
    """A network of processes, the name server they ask, and the devices made for it."""

    network: Network
    names: WorldServer

    @property
    def world(self) -> World:
        """The signed zones."""
        return self.network.world

    def site(self, domain: DomainName) -> Site:
        """The files of `domain`."""
        return self.network.sites[domain]

    def homeserver(self, domain: DomainName) -> Child:
        """The process that was started last for `domain`."""
        return self.network.homeservers[domain]

    def edge(self, domain: DomainName, number: int = 1) -> Child:
        """The process of edge `number` of `domain`."""
        return self.network.edges[domain, self.site(domain).edges[number - 1].name]

    async def start(self, domain: DomainName, *, edges: Iterable[int] = (1,)) -> None:
        """Start the homeserver of `domain`, then these of its edges."""
        await self.network.start_homeserver(domain)
        for number in edges:
            await self.network.start_edge(domain, self.site(domain).edges[number - 1].name)

    async def start_homeservers(self, *domains: DomainName) -> None:
        """Start these again, all at once."""
        async with trio.open_nursery() as nursery:
            for domain in domains:
                nursery.start_soon(self.network.start_homeserver, domain)

    def device(self, domain: DomainName, name: str, *, edge: int = 1) -> Device:
        """A new device of `domain` that uses edge `edge`."""
        folder = self.network.folder.parent / f"device-{name}"
        return Device.create(folder, domain, self.site(domain).edges[edge - 1], name)

    def moved(self, device: Device, edge: int) -> Device:
        """`device` with its keys and messages, on another edge of its domain."""
        return attrs.evolve(device, way=PlainEdge(LOOPBACK, self.site(device.keys.domain).edges[edge - 1].port))

    def store(self, domain: DomainName) -> Path:
        """The homeserver's database."""
        return self.site(domain).folder / "data" / "store.db"

    async def logged(self, domain: DomainName, event: str, **fields: object) -> LogLine:
        """The first line of the homeserver's log with this event and these fields; waits for it."""
        log = self.site(domain).folder / "homeserver.log"

        def found() -> LogLine | None:
            return next((line for line in log_lines(log) if matches(line, event, fields)), None)

        line: LogLine = await eventually(found, f"{event} {fields} in {log}")
        return line


def log_lines(log: Path) -> list[LogLine]:
    """All whole lines of a log in JSON."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def matches(line: LogLine, event: str, fields: dict[str, object]) -> bool:
    """Whether `line` tells `event` with `fields`; of a reason, a part is enough."""
    return line["event"] == event and all(
        str(value) in line.get(name, "") if name == "reason" else line.get(name) == value
        for name, value in fields.items()
    )


async def eventually(found: Callable[[], Any], what: str) -> Any:
    """What `found` gives once that is not None."""
    with trio.move_on_after(PATIENCE):
        while (result := found()) is None:  # noqa: ASYNC110 - another process's file has no event to wait for
            await trio.sleep(_GLANCE)
        return result
    raise AssertionError(f"did not come about within {PATIENCE:.0f} s: {what}")


@asynccontextmanager
async def federation(
    folder: Path,
    *,
    servers: int = 2,
    edges: int = 1,
    levels: dict[DomainName, dict[DomainName, TrustLevel]] | None = None,
    level: str = "info",
    start: bool = True,
) -> AsyncIterator[Federation]:
    """Domains a.test, b.test, …, every one trusting the others fully unless `levels` says otherwise."""
    world = World()
    world.sign()
    names = WorldServer(world)
    async with trio.open_nursery() as nursery:
        resolver = await nursery.start(names.serve)
        network = Network(folder=folder / "net", world=world, resolver=resolver)
        domains = [A, B, C][:servers]
        network.prepare(servers, edges=edges, levels=levels or full_trust(*domains))
        for config in network.folder.rglob("*.toml"):
            _set_log_level(config, level)
        async with running(network.children):
            if start:
                await network.start_all()
            yield Federation(network=network, names=names)
        nursery.cancel_scope.cancel()


def _set_log_level(config: Path, level: str) -> None:
    text = config.read_text()
    if "[log]" in text:
        changed = text.replace('# level = "info"', f'level = "{level}"')
        assert changed != text, config
        config.write_text(changed)


def full_trust(*domains: DomainName) -> dict[DomainName, dict[DomainName, TrustLevel]]:
    """Everybody trusts everybody else."""
    return {own: {peer: TrustLevel.FULL for peer in domains if peer != own} for own in domains}


@attrs.define
class Heard:
    """What the application of one device was given, over all its connections."""

    counts: Counter[bytes] = attrs.field(factory=Counter)
    texts: list[str | None] = attrs.field(factory=list)
    _change: trio.Event = attrs.field(factory=trio.Event)

    def __call__(self, message: InboxMessage, _at: float) -> None:
        self.counts[message.id] += 1
        self.texts.append(message.content.text)
        self._change.set()
        self._change = trio.Event()

    async def wait(self, count: int) -> None:
        """Until `count` different messages have come."""
        with trio.move_on_after(PATIENCE):
            while len(self.counts) < count:
                await self._change.wait()
            return
        raise AssertionError(f"only {len(self.counts)} of {count} messages came within {PATIENCE:.0f} s")

    @property
    def twice(self) -> int:
        """How many were given more than once."""
        return sum(count > 1 for count in self.counts.values())


@attrs.define
class Outcomes:
    """What became of everything a device submitted, over all its connections."""

    accepted: set[bytes] = attrs.field(factory=set)
    refused: list[tuple[bytes, ErrorCode, str]] = attrs.field(factory=list)
    _change: trio.Event = attrs.field(factory=trio.Event)

    def __call__(self, event: Settled | RefusedLate) -> None:
        self.refused += event.refused
        if isinstance(event, Settled):
            self.accepted.update(event.accepted)
        self._change.set()
        self._change = trio.Event()

    async def wait(self, count: int) -> None:
        """Until `count` were accepted."""
        with trio.move_on_after(PATIENCE):
            while len(self.accepted) < count:
                await self._change.wait()
            return
        raise AssertionError(f"only {len(self.accepted)} of {count} were accepted; refused: {self.refused[:3]}")


@asynccontextmanager
async def listening(device: Device, heard: Heard) -> AsyncIterator[None]:
    """`device` holds its mailbox and receives while the block runs."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            await nursery.start(device.listen, heard)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def submitting(device: Device, outcomes: Outcomes) -> AsyncIterator[Submitting]:
    """A submitting connection of `device` while the block runs; its end, if the edge ends it, is no error."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            connection = await nursery.start(_submitting, device, outcomes)
        yield connection
        nursery.cancel_scope.cancel()


async def _submitting(device: Device, outcomes: Outcomes, *, task_status: trio.TaskStatus[Submitting]) -> None:
    with suppress(ChannelError):
        await device.submitting(outcomes, task_status=task_status)


async def submit_until_cut(connection: Submitting, sealed: list[tuple[bytes, bytes]]) -> None:
    """Submit; that the edge is killed meanwhile is no error."""
    with suppress(ChannelError):
        await connection.submit(sealed)


async def introduce(device: Device) -> None:
    """Claim the mailbox once: nothing is stored for one that nobody ever claimed."""
    async with listening(device, Heard()):
        pass


def count_rows(store: Path, table: str) -> int:
    """Rows of one table of a homeserver's database that no process has open; of envelopes, how many there are."""
    if table in ("outbound", "inbound"):
        return left_over(store, 0.0).get(table, 0)
    database = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return int(next(iter(database.execute(f"SELECT count(*) FROM {table}")))[0])
    finally:
        database.close()


def now() -> int:
    """Unix seconds."""
    return int(time.time())
