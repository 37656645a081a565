"""Showing our users to one peer: a filter when it asks, then what changes, paced.

in: tags that come and go (who is shown is for the caller to decide: trust.gates), the peer's messages, time.
out: messages, one at a time; whether all tags are wanted; a record for the disk.
Never: sends anything unasked, draws a filter for a peer that does not ask, or keeps tags: when another filter is needed
(`wants_tags`), the caller gives all of them with `begin`.
"""

import math
from collections import deque
from collections.abc import Collection
from typing import Any

from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.machine import RandomSource
from volly_fed.presence import bounds
from volly_fed.presence.delta import encode_delta
from volly_fed.presence.placement import filter_bits, filter_bytes
from volly_fed.presence.shown import Shown
from volly_fed.presence.snapshot import snapshot_pieces
from volly_fed.presence.state import SHOWING, Pace, Redrawn, Showing
from volly_fed.wire import Message, codec
from volly_fed.wire.messages import (
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
)

_VERSION = 1


class Show:
    """One peer. `now` is on a clock that does not run backwards; epochs are the caller's."""

    def __init__(self, *, pace: Pace, random: RandomSource, now: float) -> None:
        self.pace = pace
        self.state = Showing.AWAY
        self._random = random
        self._shown: Shown | None = None
        self._size: FilterClass | None = None  # of the last filter: classes change with hysteresis
        self._joined: dict[bytes, None] = {}  # since the last step; in order
        self._left: dict[bytes, None] = {}
        self._changed_at: float | None = None
        self._tick_at = now + bounds.TICK
        self._prompts = 0  # since the last tick
        self._prompted_at = -math.inf
        self._snapshot_at = now  # not before
        self._history: deque[tuple[int, bytes]] = deque()
        self._history_bytes = 0
        self._outbox: deque[Message] = deque()
        self._withdrawn = False

    # --- who is online ---

    @property
    def wants_tags(self) -> bool:
        """Whether the peer waits for a filter that only `begin` can give."""
        return self.state is Showing.OWING and self._shown is None and not self._withdrawn

    @property
    def epoch(self) -> int | None:
        """Of the filter there is; None: there is none, and who comes and goes need not be told."""
        return None if self._shown is None else self._shown.epoch

    def begin(self, epoch: int, tags: Collection[bytes], now: float) -> None:
        """A new filter with a new key, for a new epoch or because `wants_tags`.

        `tags`: of all who are shown, each once. Raises LocalProtocolError when the largest class has not room for them.
        """
        self._redraw(Shown.draw(epoch, tags, self._size, self._random))
        self._snapshot_at = now
        self._withdrawn = False

    def join(self, tag: bytes, now: float) -> None:
        """Somebody is online from now on, with a tag that was not there."""
        self._note(tag, self._left, self._joined, now)

    def leave(self, tag: bytes, now: float) -> None:
        """Somebody no longer is, whose tag was there."""
        self._note(tag, self._joined, self._left, now)

    def expire(self) -> None:
        """The filter's epoch is over, or the level has changed while the peer was away: it is spoken of no more.

        The next one that is asked for is another, also after `withdraw`. For a peer that follows, `begin` is enough.
        """
        self._redraw(None)
        self._withdrawn = False

    def withdraw(self) -> None:
        """Nobody is shown to this peer any more, until the next `begin`: its level was lowered.

        A peer that is away, or has not asked yet, is told when it asks.
        """
        self._redraw(None)
        self._withdrawn = True
        if self.state not in {Showing.AWAY, Showing.SILENT}:
            self._say_withdrawn()

    # --- the link ---

    def connected(self) -> None:
        """There is a link; the peer has the first word."""
        self.state = Showing.SILENT

    def lost(self) -> None:
        """There is none any more."""
        self.state = Showing.AWAY
        self._outbox.clear()

    def receive(self, message: Message, now: float) -> None:
        """Take PresenceResume or PresenceRequest. Raises RemoteError UNEXPECTED for others, or out of turn."""
        if not isinstance(message, PresenceResume | PresenceRequest):
            raise RemoteError(f"{type(message).__name__} does not belong here", code=ErrorCode.UNEXPECTED)
        if self.pace is Pace.TICK and now - self._tick_at > bounds.AWAY and self._shown is not None:  # [presence-27]
            self._redraw(None)
        self.state = SHOWING.after(self.state, type(message), remote=True)  # [presence-18]
        if isinstance(message, PresenceRequest):
            return
        if self._withdrawn:
            self._say_withdrawn()
        elif self._resume(message):
            self.state = SHOWING.after(self.state, PresenceDelta, remote=False)
            self._tick_at = max(self._tick_at, now)

    @property
    def may_send(self) -> bool:
        """Whether `next_message` has something at once, whatever the time."""
        return bool(self._outbox)

    @property
    def deadline(self) -> float | None:
        """When `next_message` wants to be asked at the latest; None: not before something happens."""
        if self.state is Showing.OWING and self._shown is not None:
            return self._snapshot_at
        if self.state is not Showing.FOLLOWING:
            return None
        if self.pace is Pace.TICK:  # [presence-23]
            return self._tick_at
        if self._changed_at is not None and self._prompts < bounds.PROMPTS_PER_TICK:  # [presence-24]
            return max(self._changed_at, self._prompted_at + bounds.PROMPT)
        return self._tick_at if self._wants_step or self._prompts else None

    def next_message(self, now: float) -> Message | None:
        """What leaves next, or None. When it has left, ask again."""
        if self._outbox:
            return self._outbox.popleft()
        due = self.deadline
        if due is None or now < due:
            return None
        if self.state is Showing.OWING:
            return self._snapshot(now)
        return self._step(now)

    # --- the disk ---

    def to_record(self) -> bytes | None:
        """What to keep so that the peer need not be sent its filter anew after a restart; None: nothing.

        Secret, as the filter is. It is good only for the state it is taken in, so it is taken last of all: a peer that
        is ahead of it gets a new filter.
        """
        if self._shown is None:
            return None
        steps = [changes for _, changes in self._history]
        return codec.encode({0: _VERSION} | self._shown.to_fields() | {7: steps})

    def restore(self, record: bytes, epoch: int, tags: Collection[bytes]) -> None:
        """Go on with what `to_record` gave, if it is of `epoch`. `tags`: of all who are shown now, as for `begin`.

        Devices come back one by one after a restart, so this had better wait until they have. Raises BadMessage for
        something that is no record, and then nothing has changed.
        """
        fields: Any = codec.decode(record, limit=bounds.MAX_RECORD)
        if type(fields) is not dict or fields.get(0) != _VERSION:
            raise BadMessage("not the record of a presence filter")
        shown = Shown.from_fields(fields, tags)
        steps = fields.get(7)
        if type(steps) is not list or not all(type(changes) is bytes for changes in steps):
            raise BadMessage("not the record of a presence filter")
        self._size = shown.size
        if shown.epoch != epoch or not shown.has_room(0, 0):
            return
        self._redraw(shown)
        for number, changes in enumerate(steps, shown.sequence - len(steps) + 1):
            self._remember(number, changes)

    # --- inside ---

    @property
    def _wants_step(self) -> bool:
        return self._changed_at is not None or (self._shown is not None and self._shown.differs)

    def _note(self, tag: bytes, undone: dict[bytes, None], done: dict[bytes, None], now: float) -> None:
        if self._shown is None:
            return
        if tag in undone:
            del undone[tag]
        elif tag in done:
            raise LocalProtocolError("a tag comes or goes twice")
        else:
            done[tag] = None
            if self._changed_at is None:
                self._changed_at = now
        waiting = len(self._joined) + len(self._left)
        if not waiting:
            self._changed_at = None
        elif self.state is not Showing.FOLLOWING and waiting > self._patience():
            self._redraw(None)

    def _say_withdrawn(self) -> None:
        self.state = SHOWING.after(self.state, PresenceWithdraw, remote=False)
        self._outbox.append(PresenceWithdraw())

    def _patience(self) -> int:
        size = self._size or FilterClass.TAGS_4K
        return bounds.CAPACITY[size] // bounds.WAITING_SHARE

    def _redraw(self, shown: Shown | None) -> None:
        """From now on this is the filter, and no other is spoken of."""
        self._shown = shown
        self._size = shown.size if shown else self._size
        self._joined.clear()
        self._left.clear()
        self._changed_at = None
        self._history.clear()
        self._history_bytes = 0
        self._outbox.clear()
        self.state = SHOWING.after(self.state, Redrawn, remote=False)

    def _resume(self, message: PresenceResume) -> bool:
        """Whether the peer can go on from where it is; then what it has missed waits to be sent."""
        shown = self._shown
        if shown is None or shown.filter_id != message.filter:
            return False
        # [presence-20]
        if message.sequence > shown.sequence:  # an old record of ours: the same numbers would mean other bits
            self._redraw(None)
            return False
        if message.sequence < shown.sequence - len(self._history):
            return False
        self._outbox.extend(
            PresenceDelta(filter=shown.filter_id, sequence=number, changes=changes)
            for number, changes in self._history
            if number > message.sequence
        )
        return True

    def _snapshot(self, now: float) -> PresenceSnapshot:
        shown = self._require_shown()
        first, *others = snapshot_pieces(
            epoch=shown.epoch,
            key=shown.placement.key.reveal(),
            size=shown.size,
            sequence=shown.sequence,
            bits=shown.bits,
        )
        self._outbox.extend(others)
        self._snapshot_at = now + bounds.SNAPSHOT_PAUSE  # [presence-19]
        self._tick_at = now + bounds.TICK
        self.state = SHOWING.after(self.state, PresenceSnapshot, remote=False)
        return first

    def _step(self, now: float) -> Message | None:
        prompt = now < self._tick_at
        if not prompt:
            self._tick_at = now + bounds.TICK
            self._prompts = 0
            if self.pace is Pace.PROMPT and not self._wants_step:
                return None
        shown = self._require_shown()
        if not shown.has_room(len(self._joined), len(self._left)):
            self._redraw(None)
            return None
        if prompt:
            self._prompts += 1
            self._prompted_at = now
        least = bounds.PROMPT_CHANGES if prompt else bounds.TICK_CHANGES
        positions = shown.step(list(self._joined), list(self._left), least=least)
        self._joined.clear()
        self._left.clear()
        self._changed_at = None
        changes = encode_delta(positions, filter_bits(shown.size))
        # [presence-26]
        if changes is None or len(changes) > filter_bytes(shown.size):  # then the filter itself is less
            self._forget_history()
            self.state = SHOWING.after(self.state, Redrawn, remote=False)
            return self._snapshot(now)
        self._remember(shown.sequence, changes)
        return PresenceDelta(filter=shown.filter_id, sequence=shown.sequence, changes=changes)

    def _remember(self, number: int, changes: bytes) -> None:
        self._history.append((number, changes))
        self._history_bytes += len(changes)
        while len(self._history) > bounds.HISTORY or self._history_bytes > bounds.HISTORY_BYTES:
            self._history_bytes -= len(self._history.popleft()[1])

    def _forget_history(self) -> None:
        self._history.clear()
        self._history_bytes = 0

    def _require_shown(self) -> Shown:
        if self._shown is None:
            raise LocalProtocolError("there is no filter")
        return self._shown
