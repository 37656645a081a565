"""What connections watch: one copy of each domain's filter, from which each device makes its own, at its pace."""

import os

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edge.net import WALL
from tests.edge.shows import Showing
from volly_fed import limits_presence
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.edge.actions import Action, Feed, ToDevice
from volly_fed.edge.watches import Watches
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName
from volly_fed.presence import View
from volly_fed.presence.placement import filter_bytes
from volly_fed.presence.state import Viewing
from volly_fed.wire import Message, parse_message
from volly_fed.wire.presence import Shown, Unwatch, Watch

FAR, OTHER = DomainName("far.test"), DomainName("other.test")
SIZE = filter_bytes(FilterClass.TAGS_4K)


def tag(number: int) -> bytes:
    return number.to_bytes(16, "big")


@attrs.define
class Viewer:
    """A device that watches one domain and never asks for anything."""

    view: View = attrs.field(factory=View)

    def __attrs_post_init__(self) -> None:
        self.view.connected()

    def sees(self, *numbers: int) -> list[bool]:
        assert self.view.filter is not None
        return [tag(number) in self.view.filter for number in numbers]


@attrs.define
class Edge:
    """Watches, a homeserver that shows what tests say, and devices."""

    watches: Watches = attrs.field(factory=Watches)
    shows: dict[DomainName, Showing] = attrs.field(factory=dict)
    viewers: dict[tuple[int, DomainName], Viewer] = attrs.field(factory=dict)
    asked: list[Message] = attrs.field(factory=list)

    def link_up(self) -> None:
        self.watches.link_up()
        self.tell()

    def tell(self) -> None:
        """The homeserver answers everything that is owed to it."""
        while (message := self.watches.next_owed()) is not None:
            self.asked.append(message)
            if isinstance(message, Watch) and message.domain in self.shows:
                self.say(self.shows[message.domain].watched())

    def say(self, messages: list[Shown]) -> list[Action]:
        actions: list[Action] = []
        for message in messages:
            actions += self.watches.shown(message, self.shows[message.domain].wall)
        return actions

    def watch(self, connection: int, domain: DomainName = FAR) -> list[Action]:
        self.viewers[connection, domain] = Viewer()
        actions = self.watches.take(connection, Watch(domain=domain), WALL)
        self.tell()
        return actions

    def read(self, connection: int, most: int = 10_000) -> int:
        """The device reads so many frames; how many there were."""
        for count in range(most):
            frame = self.watches.next_shown(connection)
            if frame is None:
                return count
            message = parse_message(frame)
            assert isinstance(message, Shown)
            view = self.viewers[connection, message.domain].view
            view.receive(parse_message(message.message), self.shows[message.domain].wall)
        return most


@pytest.fixture
def edge() -> Edge:
    made = Edge()
    for domain in (FAR, OTHER):
        made.shows[domain] = Showing(domain, WALL)
        made.shows[domain].tags |= {tag(1), tag(2)}
    made.link_up()
    return made


def test_a_domain_is_asked_for_once_however_many_watch(edge: Edge) -> None:
    for connection in (1, 2, 3):
        edge.watch(connection)
    edge.watch(1, OTHER)
    assert edge.asked == [Watch(domain=FAR), Watch(domain=OTHER)]
    for connection in (1, 2):
        edge.watches.gone(connection)
    edge.tell()
    assert edge.asked[2:] == [Unwatch(domain=OTHER)]
    edge.watches.take(3, Unwatch(domain=FAR), WALL)
    edge.watches.take(3, Unwatch(domain=FAR), WALL)
    edge.tell()
    assert edge.asked[3:] == [Unwatch(domain=FAR)]
    assert (len(edge.watches), edge.watches.held, edge.watches._pairs) == (0, 0, 0)


def test_each_watcher_gets_the_filter_and_then_what_changes(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    assert edge.viewers[1, FAR].sees(1, 2, 3) == [True, True, False]
    actions = edge.say(edge.shows[FAR].join(tag(3)))
    assert actions == [Feed(1)]
    edge.watch(2)
    edge.read(2)
    edge.read(1)
    for connection in (1, 2):
        assert edge.viewers[connection, FAR].sees(1, 2, 3) == [True, True, True]
    assert edge.say(edge.shows[FAR].leave(tag(1))) == [Feed(1), Feed(2)]
    assert edge.read(1) == edge.read(2) == 1
    for connection in (1, 2):
        assert edge.viewers[connection, FAR].sees(1, 2, 3) == [False, True, True]


def test_a_large_filter_goes_in_pieces_and_changes_meanwhile_come_after_it(edge: Edge) -> None:
    showing = edge.shows[FAR]
    showing.tags |= {os.urandom(16) for _ in range(20_000)}
    edge.watch(1)
    assert edge.read(1, 1) == 1
    assert edge.viewers[1, FAR].view.filter is None
    edge.say(showing.join(tag(3)))
    assert edge.read(1) == 2
    assert edge.viewers[1, FAR].sees(1, 3) == [True, True]
    assert edge.viewers[1, FAR].view.filter.to_bytes() == edge.watches._watched[FAR].view.filter.to_bytes()  # type: ignore[union-attr] # both have one


def test_domains_take_turns_and_do_not_mix(edge: Edge) -> None:
    for domain in (FAR, OTHER):
        edge.watch(1, domain)
    for number in range(3, 6):
        edge.say(edge.shows[FAR].join(tag(number)))
    edge.say(edge.shows[OTHER].join(tag(9)))
    domains = []
    while (frame := edge.watches.next_shown(1)) is not None:
        message = parse_message(frame)
        assert isinstance(message, Shown)
        domains.append(message.domain)
    assert domains == [FAR, OTHER, FAR, OTHER, FAR, FAR]


@pytest.mark.spec("presence-59")
def test_a_device_that_lags_gets_the_filter_anew_and_nothing_is_kept_for_it(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_presence, "VIEW_STEPS", 8)
    for connection in (1, 2):
        edge.watch(connection)
        edge.read(connection)
    for number in range(3, 60):
        edge.say(edge.shows[FAR].join(tag(number)))
        assert edge.read(2) == 1  # who keeps up is never sent the filter again
        watched = edge.watches._watched[FAR]
        assert len(watched.log) <= 10
        assert edge.watches.held == watched.held <= 4 * SIZE
    assert edge.read(1) < 12
    assert edge.viewers[1, FAR].sees(1, 30, 59, 60) == edge.viewers[2, FAR].sees(1, 30, 59, 60)
    assert edge.viewers[1, FAR].sees(59) == [True]


def test_the_log_is_never_longer_than_the_filter(edge: Edge) -> None:
    edge.watch(1)
    for _ in range(400):
        edge.say(edge.shows[FAR].join(os.urandom(16)))
        assert edge.watches._watched[FAR].steps_bytes <= SIZE + 1024
    edge.read(1)
    assert edge.viewers[1, FAR].view.sequence == edge.watches._watched[FAR].view.sequence


def test_another_filter_takes_the_place_of_the_one_before(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    showing = edge.shows[FAR]
    showing.tags = {tag(5)}
    edge.say(showing.watched())
    edge.read(1)
    assert edge.viewers[1, FAR].sees(1, 5) == [False, True]
    assert edge.watches.held == 2 * SIZE


def test_a_withdrawal_reaches_everybody_and_frees_the_memory(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    edge.say([edge.shows[FAR].withdraw()])
    assert edge.watches.held == 0
    edge.watch(2)
    for connection in (1, 2):
        edge.read(connection)
        assert edge.viewers[connection, FAR].view.filter is None
    edge.say(edge.shows[FAR].watched())
    edge.read(2)
    assert edge.viewers[2, FAR].sees(1) == [True]


def test_a_lost_link_leaves_devices_as_they_are_and_the_next_one_begins_anew(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    edge.watches.link_down()
    edge.watch(2, OTHER)
    assert edge.asked == [Watch(domain=FAR)]
    edge.shows[FAR].tags.add(tag(7))
    edge.link_up()
    assert set(edge.asked[1:]) == {Watch(domain=FAR), Watch(domain=OTHER)}
    edge.read(1)
    edge.read(2)
    assert edge.viewers[1, FAR].sees(1, 7) == [True, True]
    assert edge.viewers[2, OTHER].sees(1) == [True]


@pytest.mark.spec("presence-58")
def test_without_a_homeserver_for_long_devices_are_told_that_nothing_is_known(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    edge.watches.link_down()
    stale = limits_presence.VIEW_STALE
    assert [edge.watches.tick(now) for now in (0.0, stale - 1)] == [[], []]
    assert edge.watches.tick(stale) == [Feed(1)]
    assert edge.watches.tick(2 * stale) == []
    edge.read(1)
    assert edge.viewers[1, FAR].view.filter is None
    edge.link_up()
    assert edge.watches.tick(3 * stale) == []
    edge.read(1)
    assert edge.viewers[1, FAR].sees(1) == [True]


@pytest.mark.spec("presence-57")
def test_what_cannot_be_used_is_dropped_and_asked_for_again_later(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    assert edge.say([edge.shows[FAR].gap()]) == [Feed(1)]
    edge.read(1)
    assert edge.viewers[1, FAR].view.filter is None
    assert edge.say(edge.shows[FAR].join(tag(5))) == []
    assert [edge.watches.tick(now) for now in (0.0, limits_presence.VIEW_RETRY - 1)] == [[], []]
    edge.tell()
    assert edge.asked == [Watch(domain=FAR)]
    edge.watches.tick(limits_presence.VIEW_RETRY)
    edge.tell()
    assert edge.asked[1:] == [Unwatch(domain=FAR), Watch(domain=FAR)]
    edge.read(1)
    assert edge.viewers[1, FAR].sees(5) == [True]


@pytest.mark.parametrize("message", [b"", b"\xa0", b"junk" * 9])
def test_any_bytes_of_a_peer_end_nothing(edge: Edge, message: bytes) -> None:
    edge.watch(1)
    assert edge.say([Shown(domain=FAR, message=message)]) == [Feed(1)]


def test_what_was_not_asked_for_is_ignored(edge: Edge) -> None:
    edge.watch(1)
    late = edge.shows[OTHER].watched()
    assert edge.say(late) == []
    edge.watches.gone(1)
    assert edge.say(edge.shows[FAR].join(tag(4))) == []


def test_the_rest_of_a_former_answer_is_passed_over(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volly_fed.presence.bounds.SNAPSHOT_PIECE", 1024)
    edge.watch(1)
    pieces = edge.shows[FAR].watched()
    edge.watches.gone(1)
    edge.watch(2)
    edge.watches._watched[FAR].view = View()
    edge.watches._watched[FAR].view.connected()
    for piece in pieces[1:]:
        assert edge.say([piece]) == []
    assert not edge.watches._watched[FAR].broken


def test_a_refusal_of_the_homeserver_reaches_who_watches(edge: Edge) -> None:
    edge.watch(1)
    edge.watch(1, OTHER)
    no = Unwatch(domain=FAR, code=ErrorCode.POLICY, text="what far.test shows is not heard")
    assert edge.watches.refused(no) == [ToDevice(1, no)]
    assert edge.watches.refused(no) == []
    edge.tell()
    assert edge.asked == [Watch(domain=FAR), Watch(domain=OTHER)]
    assert 1 in edge.watches
    edge.read(1)
    assert edge.viewers[1, OTHER].sees(1) == [True]


def refusals(actions: list[Action]) -> list[tuple[int, ErrorCode]]:
    return [
        (a.connection, a.message.code) for a in actions if isinstance(a, ToDevice) and isinstance(a.message, Unwatch)
    ]


@pytest.mark.parametrize("bound", ["WATCHED_PER_DEVICE", "WATCHED_PER_EDGE", "WATCHES_PER_EDGE"])
@pytest.mark.spec("presence-55")
def test_watches_are_bounded(edge: Edge, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.watch(1)
    monkeypatch.setattr(limits_presence, bound, 1)
    assert refusals(edge.watch(1, OTHER)) == [(1, ErrorCode.BUSY)]
    assert len(edge.watches) == 1
    second = edge.watch(2)
    assert refusals(second) == ([(2, ErrorCode.BUSY)] if bound == "WATCHES_PER_EDGE" else [])
    edge.watches.gone(1)
    edge.watches.gone(2)
    assert refusals(edge.watch(3, OTHER)) == []


@pytest.mark.spec("presence-55")
def test_the_memory_for_filters_is_bounded(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_presence, "VIEW_BYTES_PER_EDGE", 3 * SIZE)
    edge.watch(1)
    actions: list[Action] = []
    edge.viewers[2, OTHER] = Viewer()
    edge.watches.take(2, Watch(domain=OTHER), WALL)
    while (message := edge.watches.next_owed()) is not None:
        edge.asked.append(message)
        actions += edge.say(edge.shows[OTHER].watched()) if isinstance(message, Watch) else []
    assert refusals(actions) == [(2, ErrorCode.OVERLOADED)]
    assert edge.asked == [Watch(domain=FAR), Watch(domain=OTHER), Unwatch(domain=OTHER)]
    assert edge.watches.held == 2 * SIZE
    edge.read(1)
    assert edge.viewers[1, FAR].sees(1) == [True]


@pytest.mark.spec("presence-56")
def test_requests_of_one_connection_have_a_rate(edge: Edge) -> None:
    for _ in range(limits_presence.WATCH_BURST):
        edge.watches.take(1, Watch(domain=FAR), WALL)
    with pytest.raises(RemoteError) as caught:
        edge.watches.take(1, Unwatch(domain=FAR), WALL)
    assert caught.value.code is ErrorCode.BUSY
    edge.watches.take(2, Watch(domain=FAR), WALL)


def test_who_asks_again_is_shown_everything_again(edge: Edge) -> None:
    edge.watch(1)
    edge.read(1)
    edge.say(edge.shows[FAR].join(tag(3)))
    edge.read(1)
    edge.watch(1)
    assert edge.asked == [Watch(domain=FAR)]
    edge.read(1)
    assert edge.viewers[1, FAR].sees(1, 3) == [True, True]


STEPS = st.lists(st.tuples(st.sampled_from("wwuglnrjjjoxbt"), st.integers(0, 2), st.integers(0, 1)), max_size=60)


@settings(deadline=None)
@given(STEPS)
def test_whatever_the_order_devices_end_up_with_what_is_shown(steps: list[tuple[str, int, int]]) -> None:
    edge = Edge()
    for domain in (FAR, OTHER):
        edge.shows[domain] = Showing(domain, WALL)
    linked, last, joined, now = False, 3, 0, 0.0
    connections = [1, 2, 3]
    for step, slot, which in steps:
        domain, connection = (FAR, OTHER)[which], connections[slot]
        if step == "w":
            edge.watch(connection, domain)
        elif step == "u":
            edge.watches.take(connection, Unwatch(domain=domain), WALL)
        elif step == "g":
            edge.watches.gone(connection)
            last += 1
            connections[slot] = last
        elif step == "l":
            edge.watches.link_down()
            linked = False
        elif step == "n" and not linked:
            edge.link_up()
            linked = True
        elif step == "r":
            edge.read(connection, 1 + which)
        elif step in "jo" and linked and edge.shows[domain].show.epoch is not None:
            showing = edge.shows[domain]
            if step == "j":
                joined += 1
                edge.say(showing.join(tag(joined)))
            elif showing.tags:
                edge.say(showing.leave(min(showing.tags)))
        elif step == "x" and linked:
            edge.say([edge.shows[domain].withdraw()])
        elif step == "b" and linked:
            edge.say([edge.shows[domain].gap()])
        elif step == "t":
            now += limits_presence.VIEW_RETRY
            edge.watches.tick(now)
            edge.tell()
    edge.watches.link_down()
    edge.link_up()
    for connection in connections:
        edge.read(connection)
    for (connection, domain), viewer in edge.viewers.items():
        watching = edge.watches._watched.get(domain)
        if watching is not None and connection in watching.positions:
            assert viewer.view.state is Viewing.FOLLOWING
            assert viewer.view.filter is not None
            assert watching.view.filter is not None
            assert viewer.view.filter.to_bytes() == watching.view.filter.to_bytes()
            assert all(present in viewer.view.filter for present in edge.shows[domain].tags)
    assert edge.watches.held == sum(watched.held for watched in edge.watches._watched.values())
    for connection in connections:
        edge.watches.gone(connection)
    assert (len(edge.watches), edge.watches.held, edge.watches._pairs) == (0, 0, 0)
