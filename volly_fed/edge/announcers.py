"""Which tags the connections of an edge node announce, and what the homeserver is to be told of it.

in: ANNOUNCE and RETRACT of devices, connections that end, links that come and go; out: the same for the homeserver,
under a number in the connection's place.
What is owed to the homeserver is kept as state, not as messages: a link that is lost, or has no room, loses nothing.
Never: gives a number twice, or keeps what an epoch was announced with longer than the connection lasts.
"""

from collections import deque

import attrs

from volly_fed import limits, limits_presence
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.names import BadName, parse_domain
from volly_fed.presence import epoch_of
from volly_fed.trust.gates import EVERYBODY
from volly_fed.wire.message import Message
from volly_fed.wire.presence import Announce, Retract

_CLOCK = "tags of an epoch that is over, or far from beginning; note: check this device's clock"
_TOO_OFTEN = "too many announcements on this connection; note: announce once for each epoch"
_FULL = "this edge has no room for more announcements; note: try another one, or later"


@attrs.define
class Allowance:
    """So many at once, and one more every `each` seconds. `now` may run backwards: then nothing flows in."""

    burst: float
    each: float
    _left: float = attrs.field(init=False)
    _at: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.burst

    def take(self, now: float) -> bool:
        """Whether one more is allowed; then it is taken."""
        self._left = min(self.burst, self._left + max(0.0, now - self._at) / self.each)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@attrs.define(eq=False)
class _Announcer:
    number: int
    epochs: dict[int, Announce] = attrs.field(factory=dict, repr=False)
    """What it has announced last for each, under its number; at most three: clocks differ."""
    told: bool = False
    """The homeserver has heard of it on this link."""
    allowance: Allowance = attrs.field(
        factory=lambda: Allowance(limits_presence.ANNOUNCE_BURST, limits_presence.ANNOUNCE_EACH)
    )

    @property
    def tags(self) -> int:
        """How many are kept for it."""
        return sum(len(announced.tags) for announced in self.epochs.values())


class Announcers:
    """One per edge node. Connections are the daemon's numbers; they go no further."""

    def __init__(self) -> None:
        self._announcers: dict[int, _Announcer] = {}
        self._by_number: dict[int, _Announcer] = {}
        self._owed: deque[tuple[int, int]] = deque()  # (number, epoch)
        self._to_retract: deque[int] = deque()
        self._linked = False
        self._tags = 0
        self._last = 0

    def __len__(self) -> int:
        return len(self._announcers)

    def __contains__(self, connection: int) -> bool:
        """Whether it announces something."""
        return connection in self._announcers and bool(self._announcers[connection].epochs)

    @property
    def tags(self) -> int:
        """How many are announced in all."""
        return self._tags

    @property
    def owes(self) -> bool:
        """Whether `next_owed` may have something."""
        return bool(self._to_retract or self._owed)

    def take(self, connection: int, message: Announce | Retract, now: float) -> None:
        """What a device says; `now` is the wall clock. Raises RemoteError, and then nothing has changed but the rate.

        WRONG_EPOCH: its clock, or ours, is wrong. BUSY: too often, or the edge has no room.
        """
        announcer = self._announcers.get(connection)
        if announcer is None:
            self._last += 1
            announcer = _Announcer(self._last)  # [presence-49]
            self._announcers[connection] = self._by_number[announcer.number] = announcer
        if not announcer.allowance.take(now):  # [presence-48]
            raise RemoteError(_TOO_OFTEN, code=ErrorCode.BUSY, retry_after=limits_presence.REFUSED_RETRY)
        if message.number:
            raise BadMessage("a number is the edge's to give")
        if isinstance(message, Retract):
            self._retract(announcer)
        else:
            self._announce(announcer, message, now)

    def gone(self, connection: int) -> None:
        """It has ended, and what it announced with it."""
        announcer = self._announcers.pop(connection, None)
        if announcer is not None:
            self._retract(announcer)
            del self._by_number[announcer.number]

    def link_up(self) -> None:
        """There is a link, on which the homeserver knows of nobody yet."""
        self._linked = True
        for announcer in self._announcers.values():
            announcer.told = False
            self._owed.extend((announcer.number, epoch) for epoch in announcer.epochs)  # [presence-50]

    def link_down(self) -> None:
        """There is none: the homeserver forgets everybody."""
        self._linked = False
        self._to_retract.clear()
        self._owed.clear()

    def next_owed(self) -> Message | None:
        """What the homeserver is to be told next; None: it knows everything."""
        if self._to_retract:
            return Retract(number=self._to_retract.popleft())
        while self._owed:
            number, epoch = self._owed.popleft()
            announcer = self._by_number.get(number)
            announced = announcer.epochs.get(epoch) if announcer else None
            if announcer is not None and announced is not None:
                announcer.told = True
                return announced
        return None

    def _announce(self, announcer: _Announcer, message: Announce, now: float) -> None:
        oldest, newest = epoch_of(now - limits.CLOCK_SKEW), epoch_of(now + limits.CLOCK_SKEW) + 1
        if not oldest <= message.epoch <= newest:  # [presence-46]
            raise RemoteError(_CLOCK, code=ErrorCode.WRONG_EPOCH)
        _check_scopes([scope for scope, _ in message.tags])
        kept = {e: known for e, known in announcer.epochs.items() if e >= oldest and e != message.epoch}
        former = announcer.tags
        tags = sum(len(known.tags) for known in kept.values()) + len(message.tags)
        if tags > former and self._tags + tags - former > limits_presence.ANNOUNCED_TAGS_PER_EDGE:
            raise RemoteError(_FULL, code=ErrorCode.BUSY, retry_after=limits_presence.REFUSED_RETRY)
        announcer.epochs = kept | {message.epoch: attrs.evolve(message, number=announcer.number)}
        self._tags += tags - former
        if self._linked:
            self._owed.append((announcer.number, message.epoch))

    def _retract(self, announcer: _Announcer) -> None:
        self._tags -= announcer.tags
        announcer.epochs = {}
        if announcer.told and self._linked:
            self._to_retract.append(announcer.number)
        announcer.told = False


def _check_scopes(scopes: list[str]) -> None:
    if len(set(scopes)) != len(scopes):  # [presence-47]
        raise BadMessage("a scope is named once")
    for scope in scopes:
        try:
            canonical = scope == EVERYBODY or parse_domain(scope) == scope
        except BadName as error:
            raise BadMessage(f"a scope is a domain or {EVERYBODY}: {error}") from error
        if not canonical:
            raise BadMessage("a scope is a domain in canonical form")
