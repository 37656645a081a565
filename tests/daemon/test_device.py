import os
import stat
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.device_world import DeviceWorld
from volly_fed import limits
from volly_fed.client import Content, DeviceKeys
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.mailbox import Pass
from volly_fed.client.receiver import Item
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.device.device import Sent, Submitting, send
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.link import with_socket
from volly_fed.daemon.device.receiving import RawReceiving, Receiving
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError, Refused, RemoteError, StorageError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import Envelope, encode_envelope, parse_envelope
from volly_fed.wire.messages import Acknowledge, Submit

HOME = DomainName("home.test")
SECRET = "planted words"


@pytest.fixture(scope="module")
def bob() -> DeviceKeys:
    return DeviceKeys.generate(HOME, os.urandom, name="Bob")


@pytest.fixture(scope="module")
def alice() -> DeviceKeys:
    return DeviceKeys.generate(HOME, os.urandom, name="Alice")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BACKOFF_FIRST", "CLAIM_RETRY"):
        monkeypatch.setattr(limits, name, 0.001)


@pytest.fixture
async def world(nursery: trio.Nursery) -> DeviceWorld:
    made = DeviceWorld(HOME)
    await nursery.start(made.serve)
    return made


@pytest.fixture
def store(tmp_path: Path) -> DeviceStore:
    return DeviceStore(tmp_path / "device.db")


class Application:
    """Takes messages and can be waited for."""

    def __init__(self) -> None:
        self.sender, self.receiver = trio.open_memory_channel[InboxMessage](100)

    async def deliver(self, message: InboxMessage) -> None:
        await self.sender.send(message)

    async def texts(self, count: int) -> list[str | None]:
        with trio.fail_after(10):
            return [(await self.receiver.receive()).content.text for _ in range(count)]


async def _send(
    world: DeviceWorld, sender: DeviceKeys, to: DeviceKeys, text: str = SECRET, linger: float = 0.0
) -> Sent:
    with trio.fail_after(10):
        content = Content(sent_at=1, text=text, reply=sender.card())
        return await send(sender, world.way, to.card(), content, linger=linger)


# --- sending and receiving


async def test_a_message_goes_from_one_device_to_another(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    application = Application()
    with trio.fail_after(10):
        await nursery.start(Receiving(bob, store, world.way, application.deliver).run)
    sent = await _send(world, alice, bob)
    assert sent.accepted
    assert await application.texts(1) == [SECRET]
    for direction, message in world.wire:
        assert SECRET.encode() not in repr(message).encode(), direction
        if isinstance(message, Submit):
            for frame in message.envelopes:
                planted = (SECRET.encode(), b"Alice", b"Bob", alice.fingerprint, bytes(alice.identity.public[:32]))
                assert not any(secret in frame for secret in planted)


async def test_a_refusal_says_the_same_whatever_the_reason(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    unknown = await _send(world, alice, bob)  # nobody claimed it yet
    with trio.fail_after(10):
        await nursery.start(Receiving(bob, store, world.way, Application().deliver).run)
    stranger = attrs.evolve(bob.passes[0], capability=bytes(16))
    wrong = await _send(world, alice, _with_passes(bob, stranger))
    answers = {(sent.accepted, sent.code, sent.text) for sent in (unknown, wrong)}
    assert answers == {(False, ErrorCode.UNDELIVERABLE, "this envelope cannot be delivered")}


def _with_passes(keys: DeviceKeys, *passes: Pass) -> DeviceKeys:
    return attrs.evolve(keys, passes=passes)


async def test_a_message_to_another_domain_goes_through_our_own_edge(world: DeviceWorld, alice: DeviceKeys) -> None:
    carol = DeviceKeys.generate(DomainName("far.test"), os.urandom)
    sent = await _send(world, alice, carol)
    assert sent.accepted
    assert parse_envelope(world.elsewhere[0]).domain == "far.test"


async def test_a_late_refusal_is_heard_by_who_waits(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceKeys
) -> None:
    carol = DeviceKeys.generate(DomainName("far.test"), os.urandom)

    async def refuse() -> None:
        await world.changed("up")
        await trio.testing.wait_all_tasks_blocked(0.01)
        world.refuse_late(parse_envelope(world.elsewhere[0]).id)

    nursery.start_soon(refuse)
    sent = await _send(world, alice, carol, linger=5.0)
    assert (sent.accepted, sent.late) == (False, True)


async def test_messages_that_came_before_are_received_oldest_first(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    for n in range(5):
        world.put(alice, bob, str(n))
    application = Application()
    nursery.start_soon(Receiving(bob, store, world.way, application.deliver).run)
    assert await application.texts(5) == ["0", "1", "2", "3", "4"]
    while world.rows:
        with trio.fail_after(10):
            await world.changed("deleted")


async def test_a_broken_connection_is_made_again_and_nothing_comes_twice(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    application = Application()
    world.deaf = True  # acknowledgements get lost
    with trio.fail_after(10):
        await nursery.start(Receiving(bob, store, world.way, application.deliver).run)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(world.changed, "unheard")
        world.put(alice, bob, "once")
        assert await application.texts(1) == ["once"]
    world.deaf = False
    with trio.fail_after(10):
        async with trio.open_nursery() as waiting:
            waiting.start_soon(world.changed, "deleted")  # the second delivery was acknowledged
            for socket in list(world.sockets.values()):
                await socket.aclose()
    world.put(alice, bob, "next")
    assert await application.texts(1) == ["next"]


async def test_who_loses_the_mailbox_to_another_connection_stops(
    world: DeviceWorld, nursery: trio.Nursery, tmp_path: Path, bob: DeviceKeys
) -> None:
    stopped = trio.Event()

    async def first(*, task_status: trio.TaskStatus[None]) -> None:
        store = DeviceStore(tmp_path / "one.db")
        with pytest.raises(Refused) as caught:
            await Receiving(bob, store, world.way, Application().deliver).run(task_status=task_status)
        assert caught.value.code is ErrorCode.REPLACED
        stopped.set()

    with trio.fail_after(10):
        await nursery.start(first)
        await nursery.start(Receiving(bob, DeviceStore(tmp_path / "two.db"), world.way, Application().deliver).run)
        await stopped.wait()


async def test_a_homeserver_that_is_away_is_waited_for(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    world.registry.link_down()
    application = Application()
    started = trio.Event()

    async def run() -> None:
        await nursery.start(Receiving(bob, store, world.way, application.deliver).run)
        started.set()

    nursery.start_soon(run)
    with trio.fail_after(10):
        for _ in range(6):
            await world.changed("up")
        assert not started.is_set()
        world.registry.link_up()
        await started.wait()
    world.put(alice, bob, "here again")
    assert await application.texts(1) == ["here again"]


async def test_an_edge_that_cannot_be_reached_is_an_error_at_first(store: DeviceStore, bob: DeviceKeys) -> None:
    world = DeviceWorld(HOME)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    world.port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(ChannelError), trio.fail_after(10):
        await Receiving(bob, store, world.way, Application().deliver).run()


async def test_an_edge_of_another_domain_is_refused(nursery: trio.Nursery, store: DeviceStore, bob: DeviceKeys) -> None:
    world = DeviceWorld(DomainName("other.test"))
    await nursery.start(world.serve)
    with pytest.raises(RemoteError) as caught, trio.fail_after(10):
        await Receiving(bob, store, world.way, Application().deliver).run()
    assert caught.value.code is ErrorCode.WRONG_NAME


async def test_an_application_that_fails_gets_the_message_again(
    world: DeviceWorld, nursery: trio.Nursery, store: DeviceStore, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    world.put(alice, bob, "precious")

    async def fail(_message: InboxMessage) -> None:
        raise RuntimeError("the application crashed")

    with pytest.raises(RuntimeError), trio.fail_after(10):
        await Receiving(bob, store, world.way, fail).run()
    application = Application()
    nursery.start_soon(Receiving(bob, store, world.way, application.deliver).run)
    assert await application.texts(1) == ["precious"]


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


def test_nothing_is_half_stored(tmp_path: Path, alice: DeviceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INBOX_MESSAGES", 2)
    store = DeviceStore(tmp_path / "device.db")
    messages = [
        InboxMessage(
            key=os.urandom(32), id=bytes(16), sender=alice.fingerprint, content=Content(sent_at=1, text=str(n))
        )
        for n in range(3)
    ]
    with pytest.raises(StorageError):
        store.take_in(messages, 0.0)
    assert store.waiting() == []
    assert store.take_in(messages[:2], 0.0) == 2
    assert store.take_in(messages[:2], 0.0) == 0
    number, first = store.waiting()[0]
    assert first == messages[0]
    store.took(number)
    assert store.take_in(messages, 0.0) == 1


def test_keys_are_forgotten_when_no_envelope_can_live_so_long(tmp_path: Path, alice: DeviceKeys) -> None:
    store = DeviceStore(tmp_path / "device.db")
    content = Content(sent_at=1, data=b"\0\xff", reply=alice.card())
    message = InboxMessage(key=bytes(32), id=bytes(16), sender=alice.fingerprint, content=content)
    assert store.take_in([message], 0.0) == 1
    assert store.waiting()[0][1] == message
    assert store.take_in([message], limits.MAX_LIFETIME + 2 * limits.CLOCK_SKEW) == 0
    assert store.take_in([message], limits.DUPLICATE_MEMORY + 1.0) == 1


def test_a_newer_or_foreign_store_is_refused(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path / "device.db")
    store._database.pragma("user_version", 99)
    store.close()
    with pytest.raises(StorageError, match="newer"):
        DeviceStore(tmp_path / "device.db")
    (tmp_path / "junk.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError):
        DeviceStore(tmp_path / "junk.db")


async def test_every_file_is_the_owners_alone(
    world: DeviceWorld, nursery: trio.Nursery, tmp_path: Path, alice: DeviceKeys
) -> None:
    os.umask(0o022)
    home = DeviceHome.create(tmp_path / "device", HOME, os.urandom, name="Bob")
    home.put_contacts(home.contacts().with_card(alice.card()))
    application = Application()
    nursery.start_soon(Receiving(home.keys, home.messages(), world.way, application.deliver).run)
    world.put(alice, home.keys, "hello")
    await application.texts(1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.path.iterdir()}
    assert {"device.toml", "contacts", "device.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}


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
