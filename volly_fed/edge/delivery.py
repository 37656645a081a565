"""What one claimed mailbox has been given and has not acknowledged (the homeserver's side).

in: rows of the store, in order by class; verified acknowledgements; out: frames to deliver, rows to delete.
A new claim starts a new Delivery at the beginning of the mailbox: what the last one did not acknowledge comes again.
Classes share one window, of which the lesser ones leave a part free: a call does not wait behind a backlog.
Never: holds envelopes, only ids, rows, sizes, digests; deletes what the device did not acknowledge as delivered.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import check_acknowledge, frame_digest
from volly_fed.errors import RemoteError
from volly_fed.wire.messages import Acknowledge


class StoredRow(Protocol):
    """One stored envelope of a mailbox: its row in the store, its id, bytes and class. Later ones have higher rows."""

    @property
    def row(self) -> int: ...  # noqa: D102 - see above
    @property
    def id(self) -> bytes: ...  # noqa: D102 - see above
    @property
    def frame(self) -> bytes: ...  # noqa: D102 - see above

    @property
    def urgency(self) -> int: ...  # noqa: D102 - see above


class Row(NamedTuple):
    """A StoredRow as it comes from a commit."""

    row: int
    id: bytes
    frame: bytes
    urgency: int = EnvelopeClass.SIGNAL


@attrs.define
class Lane:
    """The rows of one class, which keep their order and no other class's."""

    urgency: EnvelopeClass
    position: int = 0
    """The last row that was given."""
    behind: bool = True
    """The store may hold rows after `position`."""
    reading: bool = False
    """Somebody is reading them."""


@attrs.define(kw_only=True)
class Delivery:
    """The window of one claim."""

    key: Secret
    lanes: tuple[Lane, ...] = attrs.field(factory=lambda: tuple(map(Lane, EnvelopeClass)))
    """By class, the most urgent first."""
    over: bool = False
    """The claim has ended."""
    _flight: dict[bytes, tuple[int, bytes, int]] = attrs.field(factory=dict, repr=False)
    """id -> row, digest, size. A plain tuple: one is made for every envelope delivered."""
    _bytes: int = 0

    @property
    def in_flight(self) -> int:
        """Envelopes given and not acknowledged."""
        return len(self._flight)

    def room(self, lane: Lane) -> int:
        """How many more envelopes of this class fit in the window; 0 also when its bytes are used up."""
        share = limits.WAITING_SHARES[lane.urgency]
        if self._bytes >= share * limits.DELIVERY_WINDOW_BYTES:
            return 0
        return max(0, int(share * limits.DELIVERY_WINDOW) - len(self._flight))

    @property
    def next_lane(self) -> Lane | None:
        """The most urgent class that is to be read from the store."""
        for lane in self.lanes:
            if lane.behind and not lane.reading and self.room(lane):
                return lane
        return None

    def give(
        self, lane: Lane, rows: Iterable[StoredRow], *, most: float = math.inf, most_bytes: float = math.inf
    ) -> list[bytes]:
        """Take `rows` of one class into the window as far as they fit, and `most` of them; their frames, to be sent.

        Rows at or before the lane's position are not given again, nor is an id that is in flight. What does not fit
        leaves the lane behind. The last envelope may go beyond the bytes, so that a large one is not stuck.
        """
        flight, position, size, share = self._flight, lane.position, self._bytes, limits.WAITING_SHARES[lane.urgency]
        full = min(int(share * limits.DELIVERY_WINDOW), len(flight) + most)
        full_size = min(share * limits.DELIVERY_WINDOW_BYTES, size + most_bytes)
        frames = []
        for row in rows:
            number, identity, frame = row.row, row.id, row.frame
            if number <= position:
                continue
            if len(flight) >= full or size >= full_size:
                lane.behind = True
                break
            position = number
            if identity not in flight:
                flight[identity] = (number, frame_digest(frame), len(frame))
                size += len(frame)
                frames.append(frame)
        lane.position, self._bytes = position, size
        return frames

    def given(self, row: StoredRow) -> bool:
        """Whether `row` is in flight."""
        return row.id in self._flight

    def settle(self, message: Acknowledge) -> list[int]:
        """The rows to delete: those that were delivered, and no other of the same id.

        Raises RemoteError BAD_PROOF, and changes nothing, when an id is not in flight or the MAC is not the device's
        over these ids as they were delivered.
        """
        flight, ids = self._flight, message.ids
        settled = [flight[identity] for identity in ids if identity in flight]
        if len(settled) != len(ids) or len(set(ids)) != len(ids):
            raise RemoteError("acknowledges what was not delivered on this claim", code=ErrorCode.BAD_PROOF)
        check_acknowledge(self.key, message, [digest for _, digest, _ in settled])
        for identity in ids:
            del flight[identity]
        self._bytes -= sum([size for _, _, size in settled])
        return [row for row, _, _ in settled]
