"""Presence through a real edge node, on a real link, to a homeserver whose presence the tests make up."""

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.edge_nodes import E1, RunningNode, edge_node, home, one
from tests.daemon.sites import A
from tests.daemon.test_device_presence import Seen, exchange, introduce, of
from tests.edge.shows import Hub
from volly_fed import limits, limits_presence
from volly_fed.client.contact import ContactBook
from volly_fed.client.sightings import Presence
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.presence import Announcing, Watching
from volly_fed.daemon.edges import _EdgeLink
from volly_fed.wire import Message
from volly_fed.wire.presence import Announce, Retract, Unwatch, Watch

PATIENCE = 30
ONLINE, OFFLINE = Presence.ONLINE, Presence.OFFLINE


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BACKOFF_FIRST", "EDGE_BACKOFF_CAP"):
        monkeypatch.setattr(limits, name, 0.01)
    monkeypatch.setattr(limits_presence, "HOME_LOOK", 0.05)


@attrs.define
class Homeserver:
    """What it was told, and what it makes of it; it forgets a link's with the link."""

    hubs: dict[int, Hub] = attrs.field(factory=dict)
    heard: list[Message] = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def receive(self, edge: _EdgeLink, message: Message) -> None:
        hub = self.hubs.setdefault(edge.number, Hub(A))
        self.heard.append(message)
        for shown in hub.receive(message, time.time()):
            assert edge.link.send(shown)
        self.changed.set()
        self.changed = trio.Event()

    @property
    def hub(self) -> Hub:
        """Of the newest link."""
        return self.hubs[max(self.hubs)]

    def all(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def until(self, count: int, kind: type[Message]) -> None:
        with trio.fail_after(PATIENCE):
            while len(self.all(kind)) < count:
                await self.changed.wait()


@pytest.fixture
def homeserver(monkeypatch: pytest.MonkeyPatch) -> Homeserver:
    made = Homeserver()

    async def other(edge: _EdgeLink, message: Message) -> None:
        await made.receive(edge, message)

    monkeypatch.setattr(_EdgeLink, "other", other)
    return made


@pytest.fixture
def alice(tmp_path: Path) -> DeviceHome:
    return DeviceHome.create(tmp_path / "alice", A, os.urandom, name="Alice")


@pytest.fixture
def bob(tmp_path: Path) -> DeviceHome:
    return DeviceHome.create(tmp_path / "bob", A, os.urandom, name="Bob")


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with home(one(tmp_path), E1) as port, edge_node(port) as node:
        yield node


async def test_a_contact_comes_and_goes_and_the_edge_logs_nothing_of_it(
    tmp_path: Path, homeserver: Homeserver, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    async with running(tmp_path) as node, trio.open_nursery() as nursery:
        await nursery.start(Watching(A, of(bob, alice), node.way, seen).run)
        assert await seen.wait(1) == [OFFLINE]
        async with trio.open_nursery() as online:
            await online.start(Announcing(alice, ("*", A), node.way).run)
            assert await seen.wait(2) == [OFFLINE, ONLINE]
            online.cancel_scope.cancel()
        assert await seen.wait(3) == [OFFLINE, ONLINE, OFFLINE]
        log = json.dumps(node.log.lines)
        nursery.cancel_scope.cancel()
    for announced in homeserver.all(Announce):
        assert isinstance(announced, Announce)
        assert not any(tag.hex() in log for _, tag in announced.tags)
    assert homeserver.all(Retract) == [Retract(number=1)]
    assert homeserver.all(Watch) == [Watch(domain=A)]


async def test_after_a_broken_link_the_homeserver_is_told_everything_again(
    tmp_path: Path, homeserver: Homeserver, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    async with running(tmp_path) as node, trio.open_nursery() as nursery:
        await nursery.start(Announcing(alice, ("*",), node.way).run)
        await nursery.start(Watching(A, of(bob, alice), node.way, seen).run)
        assert await seen.wait(1) == [ONLINE]
        before = homeserver.hub
        node.shim.reset()
        await homeserver.until(4, Announce)
        await homeserver.until(2, Watch)
        assert homeserver.hub is not before
        assert homeserver.hub.announced == before.announced
        alice.put_contacts(ContactBook())  # with another key she is seen no more: what is shown now gets through
        assert await seen.wait(2) == [ONLINE, OFFLINE]
        assert homeserver.all(Retract) == []
        nursery.cancel_scope.cancel()


async def test_many_announcements_and_one_claim_share_the_link(
    tmp_path: Path, homeserver: Homeserver, alice: DeviceHome, bob: DeviceHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is owed at once on a new link, and goes out as it has room."""
    monkeypatch.setattr("volly_fed.daemon.edge_node._SPARE", limits.EXTRA_MESSAGES - 2)
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    async with running(tmp_path) as node, trio.open_nursery() as nursery:
        await nursery.start(Watching(A, of(bob, alice), node.way, seen).run)
        presence = node.node.registry.presence
        now = time.time()
        for connection in range(1000, 1400):
            node.node.registry.connect(connection)
            tags = (("*", connection.to_bytes(16, "big")),)
            node.node.perform(
                node.node.registry.receive_device(connection, Announce(epoch=int(now // 1800), tags=tags), now)
            )
        await homeserver.until(400, Announce)
        node.shim.reset()
        await homeserver.until(800, Announce)
        assert len(homeserver.hub.announced) == 400
        assert not presence.owes
        for connection in range(1000, 1400):
            node.node.perform(node.node.registry.disconnect(connection))
        await homeserver.until(400, Retract)
        assert homeserver.hub.announced == {}
        nursery.cancel_scope.cancel()


async def test_who_stops_watching_lets_the_homeserver_stop(
    tmp_path: Path, homeserver: Homeserver, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    async with running(tmp_path) as node:
        for _ in range(2):
            seen = Seen()
            async with trio.open_nursery() as nursery:
                await nursery.start(Watching(A, of(bob, alice), node.way, seen).run)
                assert await seen.wait(1) == [OFFLINE]
                nursery.cancel_scope.cancel()
        await homeserver.until(2, Unwatch)
    assert [type(message) for message in homeserver.heard] == [Watch, Unwatch] * 2
