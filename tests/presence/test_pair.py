"""A showing and a viewing machine over a link that is lost anywhere, with restarts on both sides (hypothesis).

After each message that is delivered the view's bits are the filter that was shown at that sequence number; whoever is
shown is found; a peer that comes back to what both remember is sent no filter; and one that has asked holds nothing
that was withdrawn.
"""

import random
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.presence.helpers import tag
from volly_fed.codepoints import FilterClass
from volly_fed.presence import Gone, Pace, Show, View, bounds
from volly_fed.presence.state import Showing, Viewing
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import PresenceDelta, PresenceResume, PresenceSnapshot, PresenceWithdraw

FIRST_EPOCH = 1000
MEMBERS = st.sampled_from([0, 5, 3000, 3590, 15_000])
PAUSES = st.sampled_from([bounds.PROMPT, 0.5, bounds.TICK, bounds.SNAPSHOT_PAUSE, bounds.AWAY])
FilterKey = tuple[bytes, int]
"""(filter id, sequence number)."""


class PresencePair(RuleBasedStateMachine):
    """`online` is what the showing side's devices say; everything else follows from the machines."""

    @initialize(
        seed=st.integers(0, 1000), pace=st.sampled_from(Pace), members=st.sampled_from([0, 5, 3000, 3590, 15_000])
    )
    def begin(self, seed: int, pace: Pace, members: int) -> None:
        self.random = random.Random(seed).randbytes
        self.pace = pace
        self.now = 0.0
        self.epoch = FIRST_EPOCH
        self.online = {tag(number) for number in range(members)}
        self.serial = members
        self.show = self.new_show()
        self.view = View()
        self.linked = False
        self.withdrawn = False
        self.to_view: deque[bytes] = deque()
        self.to_show: deque[bytes] = deque()
        self.states: dict[FilterKey, tuple[bytes, frozenset[bytes]]] = {}  # -> bits, and who was shown
        self.may_snapshot = True
        self.room = 100
        self.connect()

    # --- the daemon's part ---

    def new_show(self) -> Show:
        return Show(pace=self.pace, random=self.random, now=self.now)

    @property
    def wall(self) -> float:
        return self.epoch * bounds.EPOCH + 900.0

    def write(self) -> None:
        """What the showing side wants to send now; at times the link has not room for all of it at once."""
        for _ in range(self.room):
            if self.show.wants_tags:
                self.may_snapshot |= len(self.online) > bounds.CAPACITY[FilterClass.TAGS_4K]  # it has grown
                self.show.begin(self.epoch, sorted(self.online), self.now)
            message = self.show.next_message(self.now)
            if message is None and not self.show.wants_tags:
                return
            if message is not None:
                self.note(message)
                self.to_view.append(encode_message(message))

    def note(self, message: Message) -> None:
        shown = self.show._shown
        assert self.show.state is not Showing.SILENT
        if isinstance(message, PresenceSnapshot):
            assert self.may_snapshot
            assert not self.withdrawn
        if shown is None or not isinstance(message, PresenceSnapshot | PresenceDelta):
            return
        sure = not (shown.differs or self.show._joined or self.show._left)  # else not all who are online are shown yet
        members = frozenset(self.online) if sure else frozenset()
        self.states.setdefault((shown.filter_id, shown.sequence), (shown.bits, members))

    def deliver(self) -> None:
        data = self.to_view.popleft()
        before = self.view.sequence, self.view._filter_id
        message = parse_message(data)
        self.view.receive(message, self.wall)
        events = self.view.events()
        if self.view.filter is None or (not events and (self.view.sequence, self.view._filter_id) == before):
            return
        bits, members = self.states[self.view._filter_id, self.view.sequence]
        assert self.view.filter.to_bytes() == bits
        assert all(member in self.view.filter for member in members)
        assert Gone() not in events

    def ask(self) -> None:
        """What the view wants reaches the showing side; changes that have waited too long are worth a filter."""
        self.may_snapshot |= self.pace is Pace.TICK and self.now - self.show._tick_at > bounds.AWAY
        self.show.receive(parse_message(self.to_show.popleft()), self.now)

    # --- rules ---

    @rule(joining=st.integers(0, 40), leaving=st.integers(0, 40))
    def come_and_go(self, joining: int, leaving: int) -> None:
        for one in sorted(self.online)[:leaving]:
            self.online.discard(one)
            self.show.leave(one, self.now)
        for _ in range(joining):
            one = tag(self.serial)
            self.serial += 1
            self.online.add(one)
            self.show.join(one, self.now)

    @rule(
        seconds=st.sampled_from([bounds.PROMPT, 0.5, bounds.TICK, bounds.SNAPSHOT_PAUSE, bounds.AWAY]),
        room=st.integers(0, 4),
    )
    def pass_time(self, seconds: float, room: int = 100) -> None:
        self.now += seconds
        self.room = room or 100
        if self.linked:
            self.write()

    @precondition(lambda self: self.linked)
    @rule(number=st.integers(1, 5))
    def deliver_some(self, number: int) -> None:
        for _ in range(number):
            if self.to_show:
                self.ask()
                self.write()
            if self.to_view:
                self.deliver()

    @precondition(lambda self: not self.linked)
    @rule()
    def connect(self) -> None:
        self.linked = True
        self.show.connected()
        message = self.view.connected()
        shown = self.show._shown
        remembered = (
            isinstance(message, PresenceResume)
            and shown is not None
            and message.filter == shown.filter_id
            and 0 <= shown.sequence - message.sequence <= len(self.show._history)
        )
        self.may_snapshot = not remembered
        self.to_show.append(encode_message(message))

    @precondition(lambda self: self.linked)
    @rule()
    def lose(self) -> None:
        self.linked = False
        self.to_view.clear()
        self.to_show.clear()
        self.show.lost()
        self.view.lost()

    @rule()
    def next_epoch(self) -> None:
        self.epoch += 1
        self.view.tick(self.wall)
        self.view.events()
        if self.linked and any(True for _ in self.to_view):
            while self.to_view:  # what is under way is of the old epoch: it comes before the clock has moved
                self.epoch -= 1
                self.deliver()
                self.epoch += 1
        self.may_snapshot = True
        if self.show.epoch is not None:
            self.show.begin(self.epoch, sorted(self.online), self.now)
            if self.linked:
                self.write()

    @precondition(lambda self: not self.linked)
    @rule(kept=st.booleans(), changed=st.integers(0, 20))
    def restart_show(self, kept: bool, changed: int) -> None:
        record = self.show.to_record() if kept else None
        self.show = self.new_show()
        for one in sorted(self.online)[:changed]:
            self.online.discard(one)
        if record is not None:
            self.show.restore(record, self.epoch, sorted(self.online))
        if self.withdrawn:
            self.show.withdraw()

    @precondition(lambda self: not self.linked)
    @rule(kept=st.booleans())
    def restart_view(self, kept: bool) -> None:
        record = self.view.to_record() if kept else None
        self.view = View.from_record(record) if record is not None else View()

    @precondition(lambda self: self.linked)
    @rule()
    def ask_again(self) -> None:
        self.may_snapshot = True
        self.to_show.append(encode_message(self.view.again()))

    @rule()
    def withdraw(self) -> None:
        """Who has asked is told at once; who is away, or has not asked yet, when it asks for what it holds."""
        self.withdrawn = True
        self.show.withdraw()
        self.room = 100
        if self.linked:
            self.write()

    @precondition(lambda self: self.withdrawn)
    @rule(at_once=st.booleans())
    def show_again(self, at_once: bool) -> None:
        self.withdrawn = False
        self.may_snapshot = True
        if at_once:
            self.show.begin(self.epoch, sorted(self.online), self.now)
        else:
            self.show.expire()

    @invariant()
    def nothing_withdrawn_is_held(self) -> None:
        if getattr(self, "withdrawn", False) and self.linked and not (self.to_show or self.to_view):
            assert self.view.filter is None

    @invariant()
    def nothing_is_fuller_than_it_may_be(self) -> None:
        shown = getattr(self, "show", None) and self.show._shown
        if shown is not None and not shown.differs:
            assert shown.members + len(shown._dummies) == bounds.CAPACITY[shown.size]

    def teardown(self) -> None:
        if not hasattr(self, "show"):
            return
        if self.withdrawn:
            self.show_again(at_once=False)
        if not self.linked:
            self.connect()
        for _ in range(4):  # a pause for a filter that was asked for, and a tick for what has changed meanwhile
            while self.to_show:
                self.ask()
            self.pass_time(bounds.SNAPSHOT_PAUSE)
            while self.to_view:
                self.deliver()
            self.write()
        while self.to_view:
            self.deliver()
        assert self.view.state is Viewing.FOLLOWING
        assert self.view.filter is not None
        assert self.show._shown is not None
        assert self.view.filter.to_bytes() == self.show._shown.bits
        assert all(member in self.view.filter for member in self.online)


TestPresencePair = PresencePair.TestCase
TestPresencePair.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.spec("presence-17")
def test_withdrawn_when_the_peer_is_back_and_has_not_asked_yet(pace: Pace, again: bool) -> None:
    """Until its question is there it is told nothing, and follows; then it forgets, or is shown another filter."""
    pair = PresencePair()
    pair.begin(seed=0, pace=pace, members=5)
    pair.deliver_some(number=1)
    held = pair.view.filter
    assert held is not None
    pair.lose()
    pair.connect()
    pair.withdraw()
    assert not pair.to_view
    if again:
        pair.show_again(at_once=True)
    pair.ask()
    pair.write()
    kind = PresenceSnapshot if again else PresenceWithdraw
    assert [type(parse_message(data)) for data in pair.to_view] == [kind]
    pair.deliver()
    assert (pair.view.filter is None) is not again
    assert pair.view.filter is not held
    pair.teardown()
