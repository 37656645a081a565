import os
import stat
import time
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
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.device.device import Sent, send
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.errors import ChannelError, Refused, RemoteError, StorageError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import parse_envelope
from volly_fed.wire.messages import Submit

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
        content = Content(sent_at=int(time.time()), text=text, reply=sender.card())
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


@pytest.mark.spec("client-15")
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


@pytest.mark.spec("edge-21")
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


@pytest.mark.spec("edge-9")
async def test_an_edge_of_another_domain_is_refused(nursery: trio.Nursery, store: DeviceStore, bob: DeviceKeys) -> None:
    world = DeviceWorld(DomainName("other.test"))
    await nursery.start(world.serve)
    with pytest.raises(RemoteError) as caught, trio.fail_after(10):
        await Receiving(bob, store, world.way, Application().deliver).run()
    assert caught.value.code is ErrorCode.WRONG_NAME


@pytest.mark.spec("security-2")
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


@pytest.mark.spec("client-14")
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


@pytest.mark.spec("client-17")
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
