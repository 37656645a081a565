"""Many envelopes at once, and devices that are killed between any two steps."""

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.device_world import DeviceWorld
from tests.daemon.test_device import HOME, Application, _fast, alice, bob, store, world
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.receiver import Item
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.device.link import with_socket
from volly_fed.daemon.device.receiving import RawReceiving, Receiving
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire.messages import Acknowledge, Submit

__all__ = ["_fast", "alice", "bob", "store", "world"]
# --- exactly once, wherever the process dies


Run = Callable[[DeviceStore, Application], Awaitable[None]]


class Killed(BaseException):
    """The process dies here."""


class DyingStore(DeviceStore):
    """Dies at one of its steps, before or after it took effect."""

    def __init__(self, path: Path, step: str, *, before: bool) -> None:
        super().__init__(path)
        self.step, self.before, self.armed = step, before, True

    def _die(self, step: str, *, before: bool) -> None:
        if self.armed and (step, before) == (self.step, self.before):
            self.armed = False
            self.close()
            raise Killed

    def take_in(self, messages: list[InboxMessage], now: float) -> int:
        self._die("take_in", before=True)
        new = super().take_in(messages, now)
        self._die("take_in", before=False)
        return new

    def took(self, number: int) -> None:
        self._die("took", before=True)
        super().took(number)
        self._die("took", before=False)


@pytest.mark.parametrize("step", ["take_in", "took"])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("deaf", [True, False])
@pytest.mark.spec("client-15", "client-16")
async def test_exactly_once_across_a_crash(
    nursery: trio.Nursery, tmp_path: Path, alice: DeviceKeys, bob: DeviceKeys, step: str, before: bool, deaf: bool
) -> None:
    """Killed between any two steps, acknowledged or not: each message is handed over once.

    Except that the application had a message when the process died before `took`: it comes again, with the same key.
    """
    world = DeviceWorld(HOME)
    world.deaf = deaf
    await nursery.start(world.serve)
    for n in range(3):
        world.put(alice, bob, str(n))
    handed: list[InboxMessage] = []

    async def deliver(message: InboxMessage) -> None:
        handed.append(message)
        if len({m.key for m in handed}) == 3 and not dying.armed:
            done.set()

    done = trio.Event()
    path = tmp_path / "device.db"
    dying = DyingStore(path, step, before=before)
    with pytest.raises(Killed), trio.fail_after(10):
        await Receiving(bob, dying, world.way, deliver).run()
    world.deaf = False
    with trio.fail_after(10):
        nursery.start_soon(Receiving(bob, DeviceStore(path), world.way, deliver).run)
        await done.wait()
        while world.rows:
            await world.changed("deleted")
    texts = [message.content.text for message in handed]
    repeated = step == "took" and before
    assert texts == (["0", "0", "1", "2"] if repeated else ["0", "1", "2"])
    assert len({message.key for message in handed}) == 3


# --- many at once


def light(to: DeviceKeys, number: int) -> tuple[bytes, bytes]:
    card = to.card()
    envelope = Envelope(
        card.address.mailbox,
        card.domain,
        number.to_bytes(16, "big"),
        int(2e9),
        EnvelopeClass.BULK,
        card.capability,
        os.urandom(1024),
    )
    return envelope.id, encode_envelope(attrs.evolve(envelope, expiry=int(time.time()) + 60))


async def test_thousands_are_submitted_with_several_batches_under_way(world: DeviceWorld, alice: DeviceKeys) -> None:
    far = DeviceKeys.generate(DomainName("far.test"), os.urandom)
    items = [light(far, n) for n in range(3000)]
    heard: list[Settled | RefusedLate] = []

    async def talk(socket: Socket, nursery: trio.Nursery) -> None:
        submitting = Submitting(socket, HOME, heard.append)
        await nursery.start(submitting.run)
        await submitting.submit(items)
        await submitting.wait_settled()
        assert submitting.unanswered == []

    with trio.fail_after(30):
        await with_socket(world.way, talk)
    accepted = [i for event in heard if isinstance(event, Settled) for i in event.accepted]
    assert accepted == [i for i, _ in items]
    assert world.elsewhere == [frame for _, frame in items]
    assert max(len(m.envelopes) for _, m in world.wire if isinstance(m, Submit)) <= limits.SUBMIT_ENVELOPES


async def test_what_was_not_answered_can_be_submitted_again(world: DeviceWorld, alice: DeviceKeys) -> None:
    far = DeviceKeys.generate(DomainName("far.test"), os.urandom)
    world.settle = False
    left: list[tuple[bytes, bytes]] = []
    items = [light(far, n) for n in range(10)]

    async def talk(socket: Socket, nursery: trio.Nursery) -> None:
        submitting = Submitting(socket, HOME, lambda _event: None)
        await nursery.start(submitting.run)
        nursery.start_soon(partial(hang_up, len(items)))
        await submitting.submit(items)
        try:
            await submitting.wait_settled()
        finally:
            left.extend(submitting.unanswered)

    async def hang_up(count: int) -> None:
        while len(world.elsewhere) < count:
            await world.changed("up")
        for socket in list(world.sockets.values()):
            await socket.aclose(1011, "broken")

    with pytest.raises(ChannelError), trio.fail_after(10):
        await with_socket(world.way, talk)
    assert left == items


async def test_acknowledgements_cover_whole_deliveries(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    for n in range(20):
        world.put(alice, bob, str(n))
    application = Application()
    nursery.start_soon(Receiving(bob, store, world.way, application.deliver).run)
    await application.texts(20)
    with trio.fail_after(10):
        while world.rows:
            await world.changed("deleted")
    acknowledgements = [m for _, m in world.wire if isinstance(m, Acknowledge)]
    assert [len(m.ids) for m in acknowledgements] == [20]


async def test_envelopes_are_taken_unopened_and_acknowledged_in_batches(
    world: DeviceWorld, nursery: trio.Nursery, bob: DeviceKeys
) -> None:
    frames = [light(bob, n)[1] for n in range(1000)]
    for frame in frames:
        world.put(bob, bob, "", frame)
    taken: list[bytes] = []

    async def take(items: list[Item]) -> None:
        taken.extend(encode_envelope(item.envelope) for item in items)

    nursery.start_soon(RawReceiving(bob, world.way, take).run)
    with trio.fail_after(10):
        while world.rows:
            await world.changed("deleted")
    assert taken == frames
    assert sum(isinstance(message, Acknowledge) for _, message in world.wire) <= 8
