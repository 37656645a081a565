"""Envelopes that were given to the claims of one edge link and have not left yet: bounded in number and in bytes.

in: envelopes, each for a Delivery; out: DELIVER messages, as few as hold all that waits, when the writer has room, the
most urgent class first.
What a claim was given that has ended meanwhile is left out: the next holder is given it anew, under a claim of its own,
and must not get it before, when nobody would take its acknowledgement.
Never: holds more than its bounds and what one read of the store brings; drops what a living claim was given.
"""

from collections import deque

import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.edge.delivery import Delivery
from volly_fed.wire.fit import fitting
from volly_fed.wire.messages import Deliver

_FRAME_OVERHEAD = 16
"""What CBOR adds to an envelope in a batch, rounded up."""


@attrs.define
class Dispatch:
    """One per edge link."""

    _waiting: tuple[deque[tuple[Delivery, list[bytes]]], ...] = attrs.field(
        factory=lambda: tuple(deque() for _ in EnvelopeClass), repr=False, init=False
    )
    """By class, the most urgent first. What was queued at once stays together, as far as it leaves at once."""
    _count: int = attrs.field(default=0, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return self._count

    def room(self, urgency: EnvelopeClass) -> int:
        """How many more envelopes this edge may be given; what else comes for its mailboxes stays on the disk."""
        return max(0, int(limits.WAITING_SHARES[urgency] * limits.EDGE_QUEUE) - self._count)

    def room_bytes(self, urgency: EnvelopeClass) -> float:
        """How many more bytes; the last envelope may go beyond."""
        return max(0, limits.WAITING_SHARES[urgency] * limits.EDGE_QUEUE_BYTES - self._bytes)

    @property
    def full(self) -> bool:
        """Whether this edge has enough to do: nothing is read for it now."""
        return not self.room(EnvelopeClass.SIGNAL) or not self.room_bytes(EnvelopeClass.SIGNAL)

    def put(self, delivery: Delivery, frames: list[bytes], urgency: EnvelopeClass) -> None:
        """Queue what `delivery` has taken into its window."""
        if frames:
            self._waiting[urgency].append((delivery, frames))
            self._count += len(frames)
            self._bytes += sum(map(len, frames))

    def next(self) -> Deliver | None:
        """What leaves next: at most limits.BATCH_ENVELOPES and limits.BATCH_BYTES."""
        frames: list[bytes] = []
        room = limits.BATCH_BYTES
        for queue in self._waiting:
            while queue:
                delivery, waiting = queue[0]
                if delivery.over:
                    self._remove(queue, waiting)
                    continue
                some = waiting[: limits.BATCH_ENVELOPES - len(frames)]
                some = some[: fitting(some, room - _FRAME_OVERHEAD * len(some))] or ([] if frames else some[:1])
                frames += some
                room -= self._remove(queue, some) + _FRAME_OVERHEAD * len(some)
                if len(some) < len(waiting):
                    return Deliver(envelopes=frames)
        return Deliver(envelopes=frames) if frames else None

    def _remove(self, queue: "deque[tuple[Delivery, list[bytes]]]", frames: list[bytes]) -> int:
        """Take `frames` from those of their class that wait longest; how many bytes they have."""
        delivery, waiting = queue.popleft()
        if len(frames) < len(waiting):
            queue.appendleft((delivery, waiting[len(frames) :]))
        size = sum(map(len, frames))
        self._count -= len(frames)
        self._bytes -= size
        return size
