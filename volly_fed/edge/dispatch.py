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
from volly_fed.wire.messages import Deliver

_FRAME_OVERHEAD = 16
"""What CBOR adds to an envelope in a batch, rounded up."""


@attrs.define
class Dispatch:
    """One per edge link."""

    _waiting: tuple[deque[tuple[Delivery, bytes]], ...] = attrs.field(
        factory=lambda: tuple(deque() for _ in EnvelopeClass), repr=False, init=False
    )
    """By class, the most urgent first."""
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return sum(map(len, self._waiting))

    def room(self, urgency: EnvelopeClass) -> int:
        """How many more envelopes this edge may be given; what else comes for its mailboxes stays on the disk."""
        return max(0, int(limits.WAITING_SHARES[urgency] * limits.EDGE_QUEUE) - len(self))

    def room_bytes(self, urgency: EnvelopeClass) -> float:
        """How many more bytes; the last envelope may go beyond."""
        return max(0, limits.WAITING_SHARES[urgency] * limits.EDGE_QUEUE_BYTES - self._bytes)

    @property
    def full(self) -> bool:
        """Whether this edge has enough to do: nothing is read for it now."""
        return not self.room(EnvelopeClass.SIGNAL) or not self.room_bytes(EnvelopeClass.SIGNAL)

    def put(self, delivery: Delivery, frames: list[bytes], urgency: EnvelopeClass) -> None:
        """Queue what `delivery` has taken into its window."""
        self._waiting[urgency].extend([(delivery, frame) for frame in frames])
        self._bytes += sum(map(len, frames))

    def next(self) -> Deliver | None:
        """What leaves next: at most limits.BATCH_ENVELOPES and limits.BATCH_BYTES."""
        frames: list[bytes] = []
        size = 0
        for waiting in self._waiting:
            while waiting and len(frames) < limits.BATCH_ENVELOPES:
                delivery, frame = waiting[0]
                if not delivery.over:
                    size += len(frame) + _FRAME_OVERHEAD
                    if size > limits.BATCH_BYTES and frames:
                        return Deliver(envelopes=frames)
                    frames.append(frame)
                waiting.popleft()
                self._bytes -= len(frame)
        return Deliver(envelopes=frames) if frames else None
