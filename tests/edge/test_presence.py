"""Presence through the registry: what a connection may be, and what follows for the homeserver and the daemon."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.net import HOME, WALL, edge_fingerprint
from tests.edge.shows import Showing
from tests.edge.test_registry import frame
from volly_fed import limits
from volly_fed.client import DeviceKeys
from volly_fed.edge.registry import Feed, HangUp, Registry, Role, Speak
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName
from volly_fed.presence import epoch_of
from volly_fed.wire import Message
from volly_fed.wire.messages import Claim, Ping, Submit
from volly_fed.wire.presence import Announce, Retract, Shown, Unwatch, Watch

FAR = DomainName("far.test")
NOW = epoch_of(WALL)
ANNOUNCE = Announce(epoch=NOW, tags=(("*", bytes(16)),))


@pytest.fixture
def registry() -> Registry:
    fresh = Registry(domain=HOME, edge=edge_fingerprint("e1"))
    fresh.link_up()
    for connection in range(1, 20):
        fresh.connect(connection)
    return fresh


def owed(registry: Registry) -> list[Message]:
    said: list[Message] = []
    while (message := registry.presence.next_owed()) is not None:
        said.append(message)
    return said


def messages(bob: DeviceKeys) -> dict[Role, list[Message]]:
    return {
        Role.RECEIVES: [Claim(request=1, key=bob.mailbox.public)],
        Role.SUBMITS: [Submit(envelopes=[frame(1)])],
        Role.ANNOUNCES: [ANNOUNCE, Retract()],
        Role.WATCHES: [Watch(domain=FAR), Unwatch(domain=FAR)],
    }


@pytest.mark.spec("presence-44", "security-3")
def test_a_connection_has_one_role(registry: Registry, bob: DeviceKeys) -> None:
    numbers = itertools.count(1)
    for first, second in itertools.permutations(messages(bob), 2):
        connection = next(numbers)
        for message in messages(bob)[first]:
            registry.receive_device(connection, message, WALL)
        for message in messages(bob)[second]:
            with pytest.raises(RemoteError, match="one thing"):
                registry.receive_device(connection, message, WALL)


def test_who_tries_another_role_is_retracted_with_its_connection(registry: Registry) -> None:
    registry.receive_device(1, ANNOUNCE, WALL)
    (announced,) = owed(registry)
    assert isinstance(announced, Announce)
    with pytest.raises(RemoteError):
        registry.receive_device(1, Watch(domain=FAR), WALL)
    assert registry.disconnect(1) == [Speak()]
    assert owed(registry) == [Retract(number=announced.number)]


@pytest.mark.spec("privacy-3")
def test_the_homeserver_hears_of_no_connection(registry: Registry) -> None:
    registry.receive_device(17, ANNOUNCE, WALL)
    registry.receive_device(18, Watch(domain=FAR), WALL)
    assert owed(registry) == [Announce(number=1, epoch=NOW, tags=ANNOUNCE.tags), Watch(domain=FAR)]


def test_the_daemon_is_told_when_there_is_something_to_say_or_to_show(registry: Registry) -> None:
    assert registry.receive_device(1, ANNOUNCE, WALL) == [Speak()]
    owed(registry)
    assert registry.receive_device(2, Watch(domain=FAR), WALL) == [Speak()]
    owed(registry)
    for message in Showing(FAR, WALL).watched():
        assert registry.receive_homeserver(message, WALL) == [Feed(2)]
    assert isinstance(registry.presence.next_shown(2), bytes)
    assert registry.presence.next_shown(1) is None
    assert registry.receive_device(3, Watch(domain=FAR), WALL) == [Feed(3)]
    assert registry.disconnect(3) == []
    assert registry.disconnect(2) == [Speak()]


def test_refusals_of_the_homeserver_and_what_it_may_not_send(registry: Registry) -> None:
    assert registry.receive_homeserver(Unwatch(domain=FAR), WALL) == []
    for message in (ANNOUNCE, Retract(), Watch(domain=FAR)):
        with pytest.raises(RemoteError):
            registry.receive_homeserver(message, WALL)
    with pytest.raises(RemoteError):
        registry.receive_device(1, Shown(domain=FAR, message=b""), WALL)


def test_who_announces_or_watches_stays_and_who_has_stopped_does_not(registry: Registry) -> None:
    fresh = Registry(domain=HOME, edge=edge_fingerprint("e1"))
    fresh.connect(1)
    fresh.connect(2)
    fresh.receive_device(1, ANNOUNCE, WALL)
    fresh.receive_device(2, Watch(domain=FAR), WALL)
    assert fresh.tick(0.0) == fresh.tick(10 * limits.DEVICE_IDLE) == []
    fresh.receive_device(1, Retract(), WALL)
    fresh.receive_device(2, Unwatch(domain=FAR), WALL)
    fresh.tick(1000.0)
    ended = fresh.tick(1000.0 + limits.DEVICE_IDLE)
    assert {action.connection for action in ended if isinstance(action, HangUp)} == {1, 2}


STEPS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from([ANNOUNCE, Retract(), Watch(domain=FAR), Unwatch(domain=FAR), "end", "link", Ping(token=1)]),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_a_connection_says_it_has_one_role_and_leaves_nothing(steps: list[tuple[int, Message | str]]) -> None:
    registry = Registry(domain=HOME, edge=edge_fingerprint("e1"))
    alive: dict[int, int] = {}
    last = 0
    for slot, step in steps:
        if step == "link":
            registry.link_down()
            registry.link_up()
            continue
        if slot not in alive:
            last += 1
            alive[slot] = last
            registry.connect(last)
        connection = alive[slot]
        if isinstance(step, Message):
            try:
                registry.receive_device(connection, step, WALL)
            except RemoteError:
                step = "end"
        if step == "end":
            registry.disconnect(alive.pop(slot))
        assert not (connection in registry.presence.announcers and connection in registry.presence.watches)
    for connection in alive.values():
        registry.disconnect(connection)
    owed(registry)
    presence = registry.presence
    assert (len(presence.announcers), presence.announcers.tags, len(presence.watches)) == (0, 0, 0)
    assert not presence.owes
