"""What every release left on the disk is served by this version: nothing waiting is lost, nobody has to be asked.

Each archive was made by a release's own code (README.md). Its time is brought back by the clock of the processes, for
envelopes expire.
"""

import json
import re
import sys
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest
import trio

from tests.federation.harness import PATIENCE, A, B, eventually, log_lines
from volly_fed.client.inbox import InboxMessage
from volly_fed.config.records import records_of
from volly_fed.daemon import material
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.link import PlainEdge
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.daemon.store.schema import MIGRATIONS
from volly_fed.daemon.store.store import Store
from volly_fed.names import DomainName, fingerprint_text
from volly_fed.testing.chaos_process import Wrongs
from volly_fed.testing.world import World, WorldServer
from volly_fed.testnet.processes import Child, running, start
from volly_fed.testnet.sites import LOOPBACK, free_ports

RELEASES = sorted(Path(__file__).parent.glob("v*.tar.xz"))
HOUR = 3600


@attrs.frozen(kw_only=True)
class Left:
    """A release's files, unpacked; `ports` maps those in its configuration to free ones."""

    folder: Path
    expected: dict[str, Any]
    ports: dict[int, int]

    def site(self, domain: DomainName) -> Path:
        return self.folder / "net" / domain

    @property
    def ahead(self) -> float:
        """Seconds by which a clock is ahead that shows an hour after these files were made: less than nothing."""
        return float(self.expected["made_at"]) + HOUR - time.time()

    def program(self, name: str) -> list[str]:
        """What runs volly-fed with that clock."""
        path = self.folder / f"{name}.clock"
        Wrongs.create(path).clock = self.ahead
        return [sys.executable, "-m", "volly_fed.testing.chaos_process", str(path)]


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    """The files of one release on this machine: other ports, and a name server of the test's own."""
    with tarfile.open(request.param, "r:xz") as archive:
        archive.extractall(tmp_path, filter="data")
    configs = sorted((tmp_path / "net").rglob("*.toml"))
    old = {int(port) for path in configs for port in re.findall(r"(?m)^(?!#).*?\b(\d{4,5})\"?\]?$", path.read_text())}
    ports = dict(zip(sorted(old), free_ports(len(old)), strict=True))
    for path in configs:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line if line.startswith("#") else _renumbered(line, ports) for line in lines))
    expected = json.loads((tmp_path / "expected.json").read_text())
    return Left(folder=tmp_path, expected=expected, ports=ports)


def _renumbered(line: str, ports: dict[int, int]) -> str:
    return re.sub(r"\b\d{4,5}\b", lambda found: str(ports.get(int(found[0]), found[0])), line)


@asynccontextmanager
async def served(left: Left) -> AsyncIterator[list[Child]]:
    """Both domains by this version, each with its edge."""
    world = World()
    for domain in (A, B):
        config = material.read_homeserver_config(left.site(domain) / "volly-fed.toml")
        records = [record.line() for record in records_of(config, material.load_published(config))]
        hosts = [f"{config.federation.host}. IN A {LOOPBACK}", f"signal.{domain}. IN A {LOOPBACK}"]
        world.zone(domain, [*records, *hosts])
    world.sign(time.time() + left.ahead)
    (_, port) = config.dns.resolvers[0][:2]
    for domain in (A, B):
        (left.site(domain) / "anchors.ds").write_text(world.anchor_text)
    async with trio.open_nursery() as nursery, running([]) as children:
        await nursery.start(WorldServer(world).serve, LOOPBACK, port)
        for kind, name, file in (("serve", "homeserver", "volly-fed.toml"), ("edge", "edge", "edge-1/edge.toml")):
            for domain in (B, A):
                arguments = [kind, "--config", str(left.site(domain) / file)]
                log = left.folder / f"{name}-{domain}.log"
                children.append(await start(name, arguments, log, program=left.program(f"{name}-{domain}")))
        yield children
        nursery.cancel_scope.cancel()


async def listen(left: Left, count: int) -> list[str]:
    """What Bob is given, once it is `count` messages."""
    home, texts = DeviceHome.open(left.folder / "device-bob"), list[str]()
    port = material.read_edge_config(left.site(B) / "edge-1" / "edge.toml").devices.listen.port
    store = home.messages()

    async def deliver(message: InboxMessage) -> None:
        texts.append(message.content.text or "")

    receiving = Receiving(home.keys, store, PlainEdge(LOOPBACK, port), deliver, clock=lambda: time.time() + left.ahead)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE):
                await nursery.start(receiving.run)
            await eventually(lambda: True if len(texts) >= count else None, f"{count} messages, there are {texts}")
            nursery.cancel_scope.cancel()
    finally:
        store.close()
    return texts


def table(store: Path, query: str) -> list[tuple[Any, ...]]:
    database = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


@pytest.mark.real
async def test_this_version_goes_on_where_the_release_has_stopped(left: Left) -> None:
    stores = {domain: left.site(domain) / "data" / "store.db" for domain in (A, B)}
    pins = {domain: table(stores[domain], "SELECT domain, fingerprint, first_seen FROM pin") for domain in (A, B)}
    (cursor,) = table(stores[B], "SELECT id, cursor FROM stream WHERE peer = 'a.test' AND cursor > 0")
    async with served(left) as children:
        texts = await listen(left, len(left.expected["waiting"]))
        for child in children:
            await child.stop()
    assert sorted(texts) == sorted(left.expected["waiting"]), "each once, and nothing that he has had before"
    for domain in (A, B):
        shown = material.load_material(left.site(domain) / "data").fingerprint
        assert fingerprint_text(shown) == left.expected["identities"][domain]
        assert table(stores[domain], "SELECT domain, fingerprint, first_seen FROM pin") == pins[domain] != []
        assert table(stores[domain], "PRAGMA user_version") == [(len(MIGRATIONS),)]
        events = {line["event"] for line in log_lines(left.folder / f"homeserver-{domain}.log")}
        assert not events & {"identity_changed", "identity_announced", "storage_failed"}
    assert cursor in table(stores[B], "SELECT id, cursor FROM stream WHERE peer = 'a.test'")


async def test_the_store_of_a_release_is_what_its_schema_says(left: Left) -> None:
    """Opened by this version: a store of an older schema is brought forward, and kept as it was."""
    path = left.site(B) / "data" / "store.db"
    ((version,),) = table(path, "PRAGMA user_version")
    async with Store.open(path) as store:
        standing = await store.standing(A)
        assert standing.pin is not None
        assert fingerprint_text(standing.pin.fingerprint) == left.expected["identities"][A]
    kept = path.with_name(f"store-schema-{version}.db").exists()
    assert kept == (version < len(MIGRATIONS))


def test_there_is_a_release() -> None:
    assert RELEASES
