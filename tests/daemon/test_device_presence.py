"""A device that announces and one that watches, through an edge's registry, as trio tasks and as commands."""

import json
import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.daemon.device_world import DeviceWorld
from tests.daemon.door import plain
from tests.daemon.sites import A
from tests.daemon.test_device_cli import command, make
from volly_fed import limits, limits_presence
from volly_fed.cli import failure
from volly_fed.cli.app import run
from volly_fed.client import DeviceKeys
from volly_fed.client.card import Card
from volly_fed.client.contact import ContactBook
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.presence import Handed, PresenceBook
from volly_fed.client.seal import Content
from volly_fed.client.sightings import Presence, Sighting
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.device import presence
from volly_fed.daemon.device.device import Sent
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.link import GivenEdge, PlainEdge
from volly_fed.daemon.device.presence import Announcing, Contacts, HandingOut, Watching, take_key
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.errors import ChannelError, LocalError, RemoteError
from volly_fed.names import DomainName
from volly_fed.presence import bounds, presence_tag
from volly_fed.wire import Message
from volly_fed.wire.messages import Submit
from volly_fed.wire.presence import Announce, Retract, Unwatch, Watch

HOME, FAR = DomainName("home.test"), DomainName("far.test")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(limits_presence, "HOME_LOOK", 0.01)
    monkeypatch.setattr(limits_presence, "HAND_OVER_LINGER", 0.0)


@pytest.fixture
async def world(nursery: trio.Nursery) -> DeviceWorld:
    made = DeviceWorld(HOME)
    await nursery.start(made.serve)
    return made


@pytest.fixture
def alice(tmp_path: Path) -> DeviceHome:
    return DeviceHome.create(tmp_path / "alice", HOME, os.urandom, name="Alice")


@pytest.fixture
def bob(tmp_path: Path) -> DeviceHome:
    return DeviceHome.create(tmp_path / "bob", HOME, os.urandom, name="Bob")


def introduce(*homes: DeviceHome) -> None:
    for home in homes:
        book = ContactBook()
        for other in homes:
            book = book if other is home else book.with_card(other.keys.card())
        home.put_contacts(book)


def keys_of(home: DeviceHome) -> PresenceBook:
    return home.change_presence(lambda book: book, os.urandom, time.time())


def exchange(home: DeviceHome, other: DeviceHome) -> None:
    """`other` has the key of `home`, as if it had come in an envelope."""
    handed = keys_of(home).handed(other.keys.fingerprint)
    content = Content(sent_at=1, presence=handed)
    message = InboxMessage(key=bytes(32), id=bytes(16), sender=home.keys.fingerprint, content=content)
    assert take_key(other, message, time.time())
    told = partial(PresenceBook.with_told, identity=other.keys.fingerprint, serial=handed.serial, now=time.time())
    home.change_presence(told, os.urandom, time.time())


class Seen:
    """What a watcher reports, to be waited for."""

    def __init__(self) -> None:
        self.all: list[Sighting] = []
        self.changed = trio.Event()

    def __call__(self, sightings: list[Sighting]) -> None:
        self.all += sightings
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, count: int) -> list[Presence]:
        with trio.fail_after(20):
            while len(self.all) < count:
                await self.changed.wait()
        return [sighting.presence for sighting in self.all]


def of(home: DeviceHome, *others: DeviceHome) -> Callable[[], Contacts]:
    def contacts() -> Contacts:
        book = home.presence()
        assert book is not None
        found: dict[DomainName, dict] = {}  # type: ignore[type-arg]
        for other in others:
            key = book.person(other.keys.fingerprint).key
            if key is not None:
                found.setdefault(other.keys.domain, {})[other.keys.fingerprint] = key
        return found

    return contacts


async def until(world: DeviceWorld, what: str, true: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not true():
            await world.changed(what)


def owed(world: DeviceWorld, kind: type[Message]) -> list[Message]:
    return [message for direction, message in world.wire if direction == "owed" and isinstance(message, kind)]


# --- announcing and watching


async def test_a_contact_is_seen_coming_and_going(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    await nursery.start(Watching(HOME, of(bob, alice), world.way, seen).run)
    assert await seen.wait(1) == [Presence.OFFLINE]
    async with trio.open_nursery() as online:
        await online.start(Announcing(alice, ("*",), world.way).run)
        assert await seen.wait(2) == [Presence.OFFLINE, Presence.ONLINE]
        online.cancel_scope.cancel()
    assert await seen.wait(3) == [Presence.OFFLINE, Presence.ONLINE, Presence.OFFLINE]
    (first, second, *_) = owed(world, Announce)
    assert isinstance(first, Announce)
    assert isinstance(second, Announce)
    assert second.epoch == first.epoch + 1
    assert owed(world, Retract) == [Retract(number=first.number)]


async def test_the_two_are_different_connections_and_nothing_of_the_contact_goes_over_them(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    await nursery.start(Announcing(alice, (HOME, "*"), world.way).run)
    await nursery.start(Watching(HOME, of(bob, alice), world.way, seen).run)
    assert await seen.wait(1) == [Presence.ONLINE]
    assert world._connections == 2
    up = [message for direction, message in world.wire if direction == "up"]
    assert {type(message) for message in up} == {Announce, Watch}
    assert [message for message in up if isinstance(message, Watch)] == [Watch(domain=HOME)]
    book = alice.presence()
    assert book is not None
    for message in up:
        assert book.key.reveal() not in repr(message).encode()
        if isinstance(message, Announce):
            assert [scope for scope, _ in message.tags] == [HOME, "*"]
            assert message.tags[1][1] == presence_tag(book.key, message.epoch, "*")


async def test_a_lost_connection_is_made_again_and_says_nothing_new(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    await nursery.start(Announcing(alice, ("*",), world.way).run)
    await nursery.start(Watching(HOME, of(bob, alice), world.way, seen).run)
    assert await seen.wait(1) == [Presence.ONLINE]
    watches = len([m for _, m in world.wire if isinstance(m, Watch)])
    await world.sockets[2].aclose()
    await until(world, "up", lambda: len([m for _, m in world.wire if isinstance(m, Watch)]) > watches)
    assert [sighting.presence for sighting in seen.all] == [Presence.ONLINE]


async def test_a_key_that_is_replaced_is_announced_at_once(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    await nursery.start(Announcing(alice, ("*",), world.way).run)
    await nursery.start(Watching(HOME, of(bob, alice), world.way, seen).run)
    assert await seen.wait(1) == [Presence.ONLINE]
    before = keys_of(alice)
    alice.put_contacts(ContactBook())  # Bob is removed
    assert await seen.wait(2) == [Presence.ONLINE, Presence.OFFLINE]
    after = keys_of(alice)
    assert after.key != before.key
    last = owed(world, Announce)[-1]
    assert isinstance(last, Announce)
    assert last.tags[0][1] == presence_tag(after.key, last.epoch, "*")


async def test_contacts_and_keys_that_come_later_are_watched_too(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome
) -> None:
    introduce(alice, bob)
    keys_of(bob)
    seen = Seen()
    await nursery.start(Announcing(alice, ("*",), world.way).run)
    await nursery.start(Watching(HOME, of(bob, alice), world.way, seen).run)
    exchange(alice, bob)
    assert await seen.wait(1) == [Presence.ONLINE]
    bob.change_presence(lambda book: PresenceBook(key=book.key, serial=book.serial), os.urandom, time.time())
    await until(world, "owed", lambda: bool(owed(world, Unwatch)))


async def test_a_refusal_is_reported_and_asked_about_again(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_presence, "WATCH_AGAIN", 0.05)
    world.hub.deny = frozenset({HOME})
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    await nursery.start(Watching(HOME, of(bob, alice), world.way, seen).run)
    assert await seen.wait(1) == [Presence.UNKNOWN]
    assert seen.all[0].reason == "it is not heard (POLICY)"
    world.hub.deny = frozenset()
    assert await seen.wait(2) == [Presence.UNKNOWN, Presence.OFFLINE]


async def test_a_gap_leads_to_watch_again(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_presence, "WATCH_AGAIN", 0.05)
    introduce(alice, bob)
    exchange(alice, bob)
    seen = Seen()
    watching = Watching(HOME, of(bob, alice), world.way, seen)
    await nursery.start(watching.run)
    assert await seen.wait(1) == [Presence.OFFLINE]
    watching._sightings._domains[HOME].view.sequence -= 1
    world.show([*world.hub.own.join(os.urandom(16))])
    assert await seen.wait(3) == [Presence.OFFLINE, Presence.UNKNOWN, Presence.OFFLINE]


async def test_a_clock_that_is_wrong_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    alice = DeviceHome.create(tmp_path, A, os.urandom)
    wrong = time.time() + 10 * bounds.EPOCH
    async with plain().running() as edge:
        announcing = Announcing(alice, ("*",), PlainEdge("127.0.0.1", edge.port), clock=lambda: wrong)
        with trio.fail_after(20), pytest.raises(RemoteError, match="note: check this device's clock") as caught:
            await announcing.run()
        assert caught.value.code is ErrorCode.WRONG_EPOCH


async def test_an_edge_that_sends_us_away_is_not_hammered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = DeviceHome.create(tmp_path, A, os.urandom)
    monkeypatch.setattr(limits_presence, "ANNOUNCED_TAGS_PER_EDGE", 1)
    naps: list[float] = []
    original = trio.sleep

    async def nap(seconds: float) -> None:
        if seconds >= limits_presence.REFUSED_RETRY:
            naps.append(seconds)
            seconds = 0.0
        await original(seconds)

    monkeypatch.setattr(trio, "sleep", nap)
    async with plain().running() as edge:
        with trio.move_on_after(20) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Announcing(alice, ("*",), PlainEdge("127.0.0.1", edge.port)).run)
                while len(naps) < 3:
                    await original(0.01)
                nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert naps[:3] == [limits_presence.REFUSED_RETRY] * 3


async def _only(do: Callable[[], object]) -> None:
    try:
        await do()  # type: ignore[misc]
    except BaseExceptionGroup as group:
        leaf: BaseException = group
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        raise leaf from None


async def test_an_edge_that_is_not_there_at_first_is_an_error(alice: DeviceHome) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    world = DeviceWorld(HOME, port=listener.socket.getsockname()[1])
    await listener.aclose()
    with pytest.raises(ChannelError, match="cannot connect"):
        await Announcing(alice, ("*",), world.way).run()
    with pytest.raises(ChannelError, match="cannot connect"):
        await _only(Watching(HOME, dict, world.way, Seen()).run)


# --- handing the key out


async def test_the_key_is_handed_out_in_envelopes_until_it_was_taken(
    world: DeviceWorld, nursery: trio.Nursery, alice: DeviceHome, bob: DeviceHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    introduce(alice, bob)
    handing = HandingOut(alice, world.way)
    await handing.hand_out()  # nobody has ever claimed Bob's mailbox
    assert keys_of(alice).person(bob.keys.fingerprint).told == 0
    monkeypatch.setattr(limits_presence, "HAND_OVER_RETRY", 0.0)
    came: list[InboxMessage] = []
    arrived = trio.Event()

    async def deliver(message: InboxMessage) -> None:
        came.append(message)
        arrived.set()

    store = bob.messages()
    await nursery.start(Receiving(bob.keys, store, world.way, deliver).run)
    await handing.hand_out()
    submitted = len([m for _, m in world.wire if isinstance(m, Submit)])
    assert submitted == 1
    handing._not_before.clear()
    await handing.hand_out()
    await handing.hand_out()
    with trio.fail_after(20):
        await arrived.wait()
    assert len(came) == len([m for _, m in world.wire if isinstance(m, Submit)]) - 1 == 1
    handed = came[0].content.presence
    assert handed is not None
    assert handed.wants
    assert take_key(bob, came[0], time.time())
    assert not take_key(bob, came[0], time.time())
    book = keys_of(bob).person(alice.keys.fingerprint)
    assert (book.key, book.told) == (keys_of(alice).key, 0)
    store.close()


async def test_who_is_removed_while_keys_are_handed_out_gets_none(
    alice: DeviceHome, bob: DeviceHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol = DeviceHome.create(tmp_path / "carol", HOME, os.urandom)
    introduce(alice, bob, carol)
    given: list[tuple[bytes, Secret]] = []

    async def send(_keys: DeviceKeys, _way: object, card: Card, content: Content, **_: object) -> Sent:
        assert content.presence is not None
        given.append((card.identity, content.presence.key))
        others = tuple(known for known in alice.contacts().cards if known.identity == card.identity)
        alice.put_contacts(ContactBook(cards=others))
        return Sent(id=bytes(16), accepted=True)

    monkeypatch.setattr(presence, "send", send)
    handing = HandingOut(alice, GivenEdge(None))  # type: ignore[arg-type] # nobody calls it
    await handing.hand_out()
    assert [identity for identity, _ in given] == [bob.keys.fingerprint]
    await handing.hand_out()
    assert len(given) == 1


@pytest.mark.spec("presence-3")
def test_a_strangers_key_is_not_kept(alice: DeviceHome, bob: DeviceHome) -> None:
    stranger = DeviceKeys.generate(FAR, os.urandom)
    introduce(alice, bob)
    for sender in (stranger.fingerprint, bob.keys.fingerprint):
        handed = Handed(serial=9, key=Secret(b"s" * 32), wants=True)
        content = Content(sent_at=1, presence=handed)
        known = take_key(alice, InboxMessage(key=bytes(32), id=bytes(16), sender=sender, content=content), time.time())
        assert known is (sender == bob.keys.fingerprint)
    text = Content(sent_at=1, text="x")
    assert not take_key(
        alice, InboxMessage(key=bytes(32), id=bytes(16), sender=bob.keys.fingerprint, content=text), time.time()
    )
    assert [person.identity for person in keys_of(alice).people] == [bob.keys.fingerprint]


def test_the_message_store_keeps_a_key_as_a_key(alice: DeviceHome) -> None:
    store = alice.messages()
    handed = Handed(serial=9, key=Secret(b"s" * 32), wants=True)
    messages = [
        InboxMessage(key=bytes([n]) * 32, id=bytes(16), sender=alice.keys.fingerprint, content=content)
        for n, content in enumerate(
            (Content(sent_at=1, presence=handed), Content(sent_at=2, text="x"), Content(sent_at=3, data=b"y"))
        )
    ]
    store.take_in(messages, time.time())
    assert [message for _, message in store.waiting()] == messages
    store.close()


# --- the folder


def test_the_keys_are_the_owners_only_and_others_are_refused(alice: DeviceHome) -> None:
    assert alice.presence() is None
    keys_of(alice)
    path = alice.path / "presence.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys_of(alice) == alice.presence()
    path.chmod(0o640)
    with pytest.raises(LocalError, match="chmod 600"):
        alice.presence()
    path.chmod(0o600)
    path.write_text("junk")
    with pytest.raises(LocalError, match="presence keys"):
        alice.presence()


def test_a_removal_that_was_cut_off_is_made_good_by_whoever_comes_next(alice: DeviceHome, bob: DeviceHome) -> None:
    introduce(alice, bob)
    exchange(alice, bob)
    before = keys_of(alice)
    alice.put_contacts(ContactBook())  # and then the process was killed
    after = keys_of(alice)
    assert (after.key != before.key, after.people) == (True, ())
    assert keys_of(alice) == after


# --- commands


async def claimed_once(world: DeviceWorld, home: DeviceHome) -> None:
    """Its mailbox is known to the homeserver."""
    store = home.messages()

    async def deliver(_: InboxMessage) -> None:
        pass

    async with trio.open_nursery() as nursery:
        await nursery.start(Receiving(home.keys, store, world.way, deliver).run)
        nursery.cancel_scope.cancel()
    store.close()


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.slow
async def test_the_commands_from_two_cards_to_online(
    world: DeviceWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    cards = {bob: make(alice, "Alice", capsys), alice: make(bob, "Bob", capsys)}
    edge = ["--edge", f"ws://127.0.0.1:{world.port}"]
    device = {home: ["device", "--home", str(home), *edge] for home in cards}
    for home, card in cards.items():
        assert run([*device[home], "contacts", "add", card]) == failure.OK
        await claimed_once(world, DeviceHome.open(home))
    assert await command(*device[alice], "online", "--timeout", "2") == failure.OK
    assert await command(*device[bob], "listen", "--timeout", "1") == failure.OK
    printed = capsys.readouterr()
    assert "online for contacts of all domains" in printed.err
    assert "the presence key of Alice has come" in printed.err
    assert lines(printed.out) == []
    watched: list[int] = []

    async def watch() -> None:
        watched.append(await command(*device[bob], "watch", "--json", "--timeout", "5"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await until(world, "owed", lambda: bool(owed(world, Watch)))
        assert await command(*device[alice], "online", "--timeout", "1") == failure.OK
    assert watched == [failure.OK]
    said = [(line["contact"], line["presence"], line["domain"]) for line in lines(capsys.readouterr().out)]
    assert said == [("Alice", state, HOME) for state in ("offline", "online", "offline")]


async def test_watch_for_people_is_a_line_for_each(
    world: DeviceWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = make(tmp_path / "alice", "Alice", capsys)
    make(tmp_path / "bob", "Bob", capsys)
    alice, bob = DeviceHome.open(tmp_path / "alice"), DeviceHome.open(tmp_path / "bob")
    introduce(alice, bob)
    exchange(alice, bob)
    for who in ("Alice", card):
        edge = ["--edge", f"ws://127.0.0.1:{world.port}"]
        code = await command("device", "--home", str(bob.path), *edge, "watch", who, "--timeout", "0.5")
        printed = capsys.readouterr()
        assert (code, printed.err) == (failure.OK, "watching 1 contacts at 1 domains\n")
        assert printed.out.endswith("Z offline Alice (home.test)\n")


async def test_watch_says_why_nothing_is_shown(
    world: DeviceWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "alice", "Alice", capsys)
    make(tmp_path / "bob", "Bob", capsys)
    alice, bob = DeviceHome.open(tmp_path / "alice"), DeviceHome.open(tmp_path / "bob")
    introduce(alice, bob)
    exchange(alice, bob)
    world.hub.deny = frozenset({HOME})
    arguments = ["device", "--home", str(bob.path), "--edge", f"ws://127.0.0.1:{world.port}", "watch"]
    assert await command(*arguments, "--timeout", "0.5") == failure.OK
    assert capsys.readouterr().out.endswith("Z unknown Alice (home.test): it is not heard (POLICY)\n")
    assert await command(*arguments, "--timeout", "0.5", "--json") == failure.OK
    (line,) = lines(capsys.readouterr().out)
    assert (line["presence"], line["reason"]) == ("unknown", "it is not heard (POLICY)")


def test_what_cannot_be_watched_is_said_with_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alice = make(tmp_path / "alice", "Alice", capsys)
    make(tmp_path / "bob", "Bob", capsys)
    device = ["device", "--home", str(tmp_path / "bob")]
    for arguments, problem in (
        (["watch"], "there are no contacts"),
        (["watch", "Alice"], "no contact has this name"),
        (["watch", alice], "this is nobody of your contacts"),
        (["watch", "volly:?"], "this contact card is damaged"),
    ):
        assert run([*device, *arguments]) == failure.FAILED
        error = capsys.readouterr().err
        assert error.startswith(f"error: {problem}")
        assert "\nnote: " in error
    assert run([*device, "contacts", "add", alice]) == failure.OK
    for arguments in (["watch"], ["watch", "Alice"]):
        assert run([*device, *arguments]) == failure.FAILED
        assert "no presence key has come from Alice\nnote: both of you" in capsys.readouterr().err
    scopes = [part for n in range(65) for part in ("--scope", f"d{n}.test")]
    assert run([*device, "online", *scopes]) == failure.FAILED
    assert "at most 64 scopes" in capsys.readouterr().err


def test_removing_a_contact_replaces_the_key_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("alice", "bob", "carol"):
        make(tmp_path / name, name, capsys)
    alice, bob, carol = (DeviceHome.open(tmp_path / name) for name in ("alice", "bob", "carol"))
    introduce(alice, bob, carol)
    exchange(alice, bob)
    before = keys_of(alice)
    remove = ["device", "--home", str(alice.path), "contacts", "remove"]
    assert run([*remove, "carol"]) == failure.OK  # who never had it
    assert keys_of(alice).key == before.key
    assert "replaced" not in capsys.readouterr().err
    assert run([*remove, "bob"]) == failure.OK
    assert keys_of(alice).key != before.key
    assert "your presence key was replaced" in capsys.readouterr().err


def test_a_device_without_presence_keys_gets_none_by_removing_somebody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = make(tmp_path / "alice", "Alice", capsys)
    make(tmp_path / "bob", "Bob", capsys)
    book = ["device", "--home", str(tmp_path / "bob"), "contacts"]
    assert run([*book, "add", card]) == run([*book, "remove", "Alice"]) == failure.OK
    assert DeviceHome.open(tmp_path / "bob").presence() is None
