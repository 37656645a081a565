"""One peer's presence: what it is shown, what it shows, and the link that carries both, when there is one.

in: the roster, the peer's messages, time; out: messages for the link, one at a time; records for the disk.
Never: lets a second message wait for the link's writer: a slow peer gets fewer steps, and each has more in it; nor goes
on with a filter of the last run before devices have had time to come back.
"""

import math
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from volly_fed import limits, limits_presence
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName
from volly_fed.presence import Appeared, Changed, Gone, Pace, Show, View, bounds, epoch_of
from volly_fed.presence.roster import Change, Reach, Roster, reach
from volly_fed.presence.state import Showing, Viewing
from volly_fed.trust import gates
from volly_fed.wire import Message
from volly_fed.wire.messages import PresenceRequest, PresenceResume

_ALONE = limits.EXTRA_MESSAGES - 1
_ASLEEP = frozenset({Showing.AWAY, Showing.SILENT})
"""The peer is sent nothing."""


class Way(Protocol):
    """Where messages for the peer go: a daemon.link.Link, or back to ourselves."""

    def send(self, message: Message) -> bool:
        """False: it is over."""
        ...

    async def wait_extra_room(self, spare: int = 0) -> None:
        """Until it takes more than `spare` messages, or is over."""
        ...


@attrs.frozen
class Terms:
    """What the policy says of a peer."""

    level: TrustLevel
    pace: Pace


class Pacer:
    """When changes may leave that want to leave at once, all peers together."""

    def __init__(self) -> None:
        self._full_at = -math.inf

    def reserve(self, now: float) -> float:
        """The time of one more."""
        each = 1 / limits_presence.PROMPTS_PER_SECOND
        self._full_at = max(self._full_at, now - limits_presence.PROMPTS_AT_ONCE * each) + each
        return max(now, self._full_at)


@attrs.frozen(kw_only=True)
class Shared:
    """What all peers of one homeserver have in common. `clock`: unix time. `restore_at` is on trio's clock."""

    roster: Roster
    clock: Callable[[], float]
    random: RandomSource
    restore_at: float
    pacer: Pacer = attrs.field(factory=Pacer)


class PresencePeer:
    """One per domain that has a link or is watched here."""

    def __init__(self, domain: DomainName, terms: Terms, shared: Shared, *, jitter: float) -> None:
        """`jitter`: so long after an epoch's beginning, at most, the peer is shown the filter of that epoch."""
        self.domain = domain
        self.terms = terms
        self.view = View()
        self.watchers: set[int] = set()
        """The edge links that want to know what it shows."""
        self.unwatched_at = -limits_presence.UNWATCHED_LINGER
        self.away_since = self.linked_at = trio.current_time()
        self.way: Way | None = None
        self.loaded = False
        """Whether the records of the last run were read."""
        self.loading = trio.Lock()
        self.deaf = False
        """On this link we take nothing any more: there is no room for what it shows."""
        self.kept_at = trio.current_time()
        self._shared = shared
        self._jitter = jitter
        self._scopes = self._reach()
        self.show = Show(pace=terms.pace, random=shared.random, now=trio.current_time())
        self._record: bytes | None = None  # of what it was shown in the last run
        self._resume: PresenceResume | None = None  # waits until that record may be used
        self._question: Message | None = None
        self._lag = random.uniform(0, jitter)  # noqa: S311 - spreads load
        self._slot: float | None = None
        self._work = trio.Event()
        self._due = 0.0

    # --- the policy ---

    @property
    def hears(self) -> bool:
        """The gate `hear`."""
        return gates.hear(self.terms.level, self.domain).allowed

    @property
    def follows(self) -> bool:
        """Whether we hold what the peer shows, and it tells us what changes."""
        return self.view.state is Viewing.FOLLOWING

    def _reach(self) -> Reach:
        return reach(self.terms.level, self.domain)

    def judge(self, terms: Terms) -> list[Gone]:
        """From now on these are the terms: who may not be seen any more is gone at once."""
        self.terms, self.show.pace = terms, terms.pace
        before, self._scopes = self._scopes, self._reach()
        if before != self._scopes:
            self._record = None
            self._show_anew()
        self.wake()
        if self.hears or self.view.filter is None:
            return []
        self.view = View()
        self._question = None
        return [Gone()]

    def _show_anew(self) -> None:
        if self.show.state in _ASLEEP:  # it is told nothing, and has no filter that it could go on with
            self.show.expire()
        elif self._scopes:
            self._begin(trio.current_time())
        else:
            self.show.withdraw()  # [presence-22]
            if self.way is not None and (message := self.show.next_message(trio.current_time())) is not None:
                self.way.send(message)  # at once: the link may be about to end

    # --- the link ---

    def connected(self, way: Way) -> None:
        """There is a link, and it takes the place of any other."""
        self.lost()
        self.way, self.linked_at = way, trio.current_time()
        self.show.connected()

    def lost(self) -> None:
        """There is none any more."""
        if self.way is not None:
            self.away_since = trio.current_time()
        self.way, self._resume, self._question, self.deaf = None, None, None, False
        self.show.lost()
        self.view.lost()
        self.wake()

    def ask(self) -> None:
        """Ask the peer for what it shows, unless it was asked on this link: it goes on until the link ends."""
        if self.way is not None and self.loaded and self.hears and self.view.state is Viewing.AWAY:
            self._question = self.view.connected()
            self.wake()

    def receive(self, message: Message) -> list[Appeared | Changed | Gone]:
        """Take a message; what it means for those who watch. Raises RemoteError: the link is to end."""
        if isinstance(message, PresenceResume | PresenceRequest):
            self._requested(message)
            self.wake()
        # [presence-43]
        elif self.hears and not self.deaf:  # else it was on its way when that ended
            self.view.receive(message, self._shared.clock())
        return self.view.events()

    def _requested(self, message: PresenceResume | PresenceRequest) -> None:
        if self._resume is not None and isinstance(message, PresenceResume):
            raise RemoteError("a filter is asked for twice", code=ErrorCode.UNEXPECTED)
        self._resume = None
        if isinstance(message, PresenceRequest):
            self._record = None
        if self._record is not None and isinstance(message, PresenceResume):
            self._resume = message
        else:
            self.show.receive(message, trio.current_time())

    async def run(self, way: Way) -> None:
        """Send what is due by `way` until it is over or another has taken its place."""
        while self.way is way:
            message = self.next_message()
            if message is None:
                with trio.move_on_at(self._due):
                    await self._work.wait()
                self._work = trio.Event()
                continue
            if not way.send(message):
                return
            await way.wait_extra_room(_ALONE)

    def wake(self) -> None:
        """There may be something to send."""
        self._work.set()

    # --- what is shown ---

    def change(self, change: Change, now: float) -> None:
        """Somebody's tags are others now."""
        if self.show.epoch != change.epoch:
            return
        gone, come = self._shared.roster.difference(change, self.domain, self._scopes)
        if gone is not None:
            self.show.leave(gone, now)
        if come is not None:
            self.show.join(come, now)
        due = self.show.deadline
        if self.show.wants_tags or (due is not None and due < self._due):
            self.wake()

    def next_message(self) -> Message | None:
        """What leaves now; if there is nothing, `run` asks again at `_due`."""
        now = trio.current_time()
        message, self._question = self._question, None
        if message is None:
            self._restore(now)
            self._follow_epoch(now)
            message = self._next_shown(now)
        if message is None:
            self._due = self._deadline(now)
        return message

    def _next_shown(self, now: float) -> Message | None:
        """Steps that are prompt share a pacer; ticks, filters and what a peer has missed do not wait."""
        due = self.show.deadline
        prompt = self.terms.pace is Pace.PROMPT and self.show.state is Showing.FOLLOWING and not self.show.may_send
        if prompt and due is not None and due <= now:
            if self._slot is None:
                self._slot = self._shared.pacer.reserve(now)
            if now < self._slot:
                return None
            self._slot = None
        return self.show.next_message(now)

    def _restore(self, now: float) -> None:
        """Go on with the filter of the last run, once devices have had time to come back."""
        if self._resume is None or (self._record is not None and now < self._shared.restore_at):  # [presence-28]
            return
        record, self._record = self._record, None
        resume, self._resume = self._resume, None
        if record is not None:
            epoch = self._epoch()
            with suppress(BadMessage):  # then it is sent another filter
                self.show.restore(record, epoch, self._shared.roster.tags(epoch, self.domain, self._scopes))
        self.show.receive(resume, now)

    def _follow_epoch(self, now: float) -> None:
        """Show what is to be shown in this epoch. Everybody's filter changes, but not in the same second."""
        if self.show.wants_tags:
            if self._scopes:
                self._begin(now)
        elif self.show.epoch is not None and self._shared.clock() >= self._epoch_ends():  # [presence-21]
            if self.show.state in _ASLEEP:
                self.show.expire()
            else:
                self._begin(now)

    def _begin(self, now: float) -> None:
        epoch = self._epoch()
        self.show.begin(epoch, self._shared.roster.tags(epoch, self.domain, self._scopes), now)
        self._lag = random.uniform(0, self._jitter)  # noqa: S311 - spreads load
        self._slot = None

    def _epoch(self) -> int:
        return epoch_of(self._shared.clock())

    def _epoch_ends(self) -> float:
        return ((self.show.epoch or 0) + 1) * bounds.EPOCH + self._lag

    def _deadline(self, now: float) -> float:
        times = [math.inf]
        if self._resume is not None:
            times.append(self._shared.restore_at)
        if self.show.deadline is not None:
            times.append(max(self.show.deadline, self._slot or 0.0))
        if self.show.epoch is not None:
            times.append(now + max(0.0, self._epoch_ends() - self._shared.clock()))
        return min(times)

    # --- the disk ---

    def use(self, records: PresenceRecords) -> None:
        """What was kept of the last run."""
        self.loaded = True
        self._record = records.shown
        if records.viewed is not None:
            try:
                self.view = View.from_record(records.viewed)
            except BadMessage:
                return
            self.view.tick(self._shared.clock())
            self.view.events()

    def records(self) -> PresenceRecords:
        """What is to be kept: all that the next link needs.

        While there is a link, what a peer is shown tick by tick is out of date before it is written.
        """
        self.kept_at = trio.current_time()
        lasting = self.way is None or self.terms.pace is Pace.PROMPT
        return PresenceRecords((self.show.to_record() or self._record) if lasting else None, self.view.to_record())
