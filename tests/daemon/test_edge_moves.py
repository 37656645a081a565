"""Devices that move between edges: crashes, partitions, links cut at the worst moment. Nothing is lost or doubled."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.edge_nodes import E1, E2, RunningNode, edge_node, home, one, stored
from tests.daemon.sites import A, B, Site
from volly_fed import limits
from volly_fed.client import Content, DeviceKeys, seal
from volly_fed.client.inbox import InboxMessage
from volly_fed.daemon.device.link import OneOf, Way
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.errors import Refused
from volly_fed.relay.envelope import encode_envelope
from volly_fed.testing.link_shim import Way as Direction

PATIENCE = 30


@pytest.fixture(scope="module")
def bob() -> DeviceKeys:
    return DeviceKeys.generate(A, os.urandom, name="Bob")


@pytest.fixture(scope="module")
def alice() -> DeviceKeys:
    return DeviceKeys.generate(B, os.urandom, name="Alice")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BACKOFF_FIRST", "CLAIM_RETRY", "EDGE_BACKOFF_CAP"):
        monkeypatch.setattr(limits, name, 0.01)


@attrs.define
class Application:
    """What bob's application was given, over all lives of his device."""

    texts: list[str | None] = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def deliver(self, message: InboxMessage) -> None:
        self.texts.append(message.content.text)
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, count: int) -> None:
        with trio.fail_after(PATIENCE):
            while len(self.texts) < count:
                await self.changed.wait()


@attrs.define
class Mail:
    """A peer's messages to bob, numbered."""

    site: Site
    alice: DeviceKeys
    bob: DeviceKeys
    sent: int = 0

    async def send(self, count: int) -> None:
        frames = []
        for number in range(self.sent, self.sent + count):
            content = Content(sent_at=int(time.time()), text=str(number))
            expiry = int(time.time()) + 3600
            sealed = seal(
                content, identity=self.alice.identity, to=self.bob.card(), envelope_id=os.urandom(16), expiry=expiry
            )
            frames.append(encode_envelope(sealed))
        assert await self.site.relay(B, *frames, first=self.sent + 1) == ()
        self.sent += count

    async def all_gone(self) -> None:
        """Until the homeserver has deleted everything, as acknowledged."""
        with trio.fail_after(PATIENCE):
            while await stored(self.site, self.bob.address.mailbox):
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def listening(bob: DeviceKeys, path: Path, way: Way, application: Application) -> AsyncIterator[trio.CancelScope]:
    """Bob's device; cancelling the scope kills it where it stands."""
    async with trio.open_nursery() as nursery:
        store = DeviceStore(path / "bob.db")
        with trio.fail_after(PATIENCE):
            await nursery.start(Receiving(bob, store, way, application.deliver).run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()
    store.close()


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def held_by(site: Site, node: RunningNode, bob: DeviceKeys) -> None:
    """Until bob's mailbox is claimed through this edge."""
    with trio.fail_after(PATIENCE):
        while node.node.registry.mailboxes != 1:
            await trio.lowlevel.checkpoint()
    assert site.server.edges._claims.holder(bob.address.mailbox) is not None


async def test_an_edge_that_dies_costs_nothing(tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys) -> None:
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1, E2) as port, edge_node(port, E1) as first, edge_node(port, E2) as second:
        async with listening(bob, tmp_path, OneOf((first.way, second.way)), application):
            await mail.send(10)
            await application.until(10)
            await mail.send(10)
            first.kill()
            await mail.send(10)
            await application.until(30)
            await held_by(a, second, bob)
            await mail.all_gone()
        assert application.texts == numbers(30)


async def test_an_edge_that_is_cut_off_from_the_homeserver_is_left_for_another(
    tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ends of the dead link find out by their keepalive; the edge tells its devices, who go elsewhere."""
    monkeypatch.setattr(limits, "PING_AFTER", 0.3)
    monkeypatch.setattr(limits, "PONG_WITHIN", 0.3)
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1, E2) as port, edge_node(port, E1) as first, edge_node(port, E2) as second:
        async with listening(bob, tmp_path, OneOf((first.way, second.way)), application):
            await mail.send(5)
            await application.until(5)
            await mail.all_gone()
            began = trio.current_time()
            first.shim.blackhole()
            await mail.send(5)
            with trio.fail_after(PATIENCE):
                await a.log.wait("edge_down", code="TIMEOUT")
            assert trio.current_time() - began < 0.3 + 0.3 + 2.0
            await mail.send(5)
            await application.until(15)
            await held_by(a, second, bob)
            await mail.all_gone()
        assert application.texts == numbers(15)


async def test_a_mailbox_is_handed_over_before_the_dead_edge_is_known_to_be_dead(
    tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1, E2) as port, edge_node(port, E1) as first, edge_node(port, E2) as second:
        async with listening(bob, tmp_path, first.way, application):
            first.shim.blackhole()
            await mail.send(5)  # given to the edge that is gone
        async with listening(bob, tmp_path, second.way, application):
            await application.until(5)
            await mail.send(5)
            await application.until(10)
            await mail.all_gone()
        assert len(a.server.edges) == 2  # nobody has noticed yet
        assert a.log.all("edge_down") == []
        assert application.texts == numbers(10)


async def test_a_late_word_of_the_edge_that_was_left_does_not_take_the_mailbox_back(
    tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    """The partition heals: RELEASE and acknowledgements that were under way arrive after the mailbox has moved."""
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1, E2) as port, edge_node(port, E1) as first, edge_node(port, E2) as second:
        async with listening(bob, tmp_path, first.way, application):
            first.shim.pause(Direction.TO_LISTENER)
            await mail.send(5)
            await application.until(5)  # its acknowledgement is stuck
        async with listening(bob, tmp_path, second.way, application):
            first.shim.resume(Direction.TO_LISTENER)
            (hers := tmp_path / "another").mkdir()
            async with listening(DeviceKeys.generate(A, os.urandom), hers, first.way, Application()):
                pass  # that claim came after all that was under way
            assert not a.log.all("edge_refused")
            await mail.send(5)
            await application.until(10)
            await mail.all_gone()
        assert application.texts == numbers(10)


async def test_the_acknowledgement_is_lost_with_its_edge(tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys) -> None:
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1, E2) as port, edge_node(port, E1) as first, edge_node(port, E2) as second:
        async with listening(bob, tmp_path, OneOf((first.way, second.way)), application):
            first.shim.blackhole(Direction.TO_LISTENER)
            await mail.send(5)
            await application.until(5)
            first.kill()
            await held_by(a, second, bob)
            assert application.texts == numbers(5)
            await mail.all_gone()  # they came again, were known, and were acknowledged again
            await mail.send(1)
            await application.until(6)
        assert application.texts == numbers(6)


async def test_a_device_killed_right_after_its_acknowledgement(
    tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1) as port, edge_node(port, E1) as first:
        async with listening(bob, tmp_path, first.way, application) as life:
            await mail.send(1)
            await application.until(1)  # handed over after the acknowledgement was sent
            life.cancel()
        first.front.reset()
        await mail.all_gone()
        async with listening(bob, tmp_path, first.way, application):
            await mail.send(1)
            await application.until(2)
        assert application.texts == numbers(2)


async def test_a_link_cut_before_the_acknowledgement(tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys) -> None:
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    async with home(a, E1) as port, edge_node(port, E1) as first:
        async with listening(bob, tmp_path, first.way, application):
            first.front.blackhole(Direction.TO_LISTENER)
            await mail.send(3)
            await application.until(3)
            assert len(await stored(a, bob.address.mailbox)) == 3
            first.front.heal()
            first.front.reset()
            await mail.all_gone()
            await mail.send(1)
            await application.until(4)
        assert application.texts == numbers(4)


async def test_two_devices_with_one_mailbox_on_two_edges_do_not_fight(
    tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    """The one that is replaced stops: it would take the mailbox back, and lose it again, for ever."""
    a, application = one(tmp_path), Application()
    mail = Mail(a, alice, bob)
    (tmp_path / "twin").mkdir()
    async with home(a, E1, E2) as port, edge_node(port, E1) as first, edge_node(port, E2) as second:
        async with trio.open_nursery() as nursery:
            stopped = trio.Event()

            async def older(*, task_status: trio.TaskStatus[None]) -> None:
                with pytest.RaisesGroup(Refused, flatten_subgroups=True):
                    async with listening(bob, tmp_path, first.way, Application()):
                        task_status.started()
                        await trio.sleep_forever()
                stopped.set()

            await nursery.start(older)
            async with listening(bob, tmp_path / "twin", second.way, application):
                await mail.send(3)
                await application.until(3)
                await mail.all_gone()
                with trio.fail_after(PATIENCE):
                    await stopped.wait()
        assert application.texts == numbers(3)
