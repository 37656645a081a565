"""What one claimed mailbox has been given and has not acknowledged (the homeserver's side).

in: rows of the store, in order by class; verified acknowledgements; out: frames to deliver, rows to delete.
A new claim starts a new Delivery at the beginning of the mailbox: what the last one did not acknowledge comes again.
Classes share one window, of which the lesser ones leave a part free: a call does not wait behind a backlog.
Never: holds envelopes, only ids, rows, sizes, digests; deletes what the device did not acknowledge as delivered.
"""

import math
from collections.abc import Sequence
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
        for lane in self.lanes:  # [edge-25]
            if lane.behind and not lane.reading and self.room(lane):
                return lane
        return None

    def give(
        self, lane: Lane, rows: Sequence[StoredRow], *, most: float = math.inf, most_bytes: float = math.inf
    ) -> list[bytes]:
        """Take `rows` of one class into the window as far as they fit, and `most` of them; their frames, to be sent.

        Rows at or before the lane's position are not given again, nor is an id that is in flight. What does not fit
        leaves the lane behind. The last envelope may go beyond the bytes, so that a large one is not stuck.
        """
        numbers, ids, frames = _columns(rows)
        if not self._all_fit(lane, numbers, ids, sum(map(len, frames)), most, most_bytes):
            numbers, ids, frames = _columns(self._sift(lane, rows, most, most_bytes))
        sizes = [*map(len, frames)]
        self._flight.update(zip(ids, zip(numbers, map(frame_digest, frames), sizes, strict=True), strict=True))
        self._bytes += sum(sizes)
        lane.position = max([lane.position, *numbers])  # sifting may have gone beyond the last that was taken
        return frames

    def _all_fit(
        self, lane: Lane, numbers: list[int], ids: list[bytes], size: int, most: float, most_bytes: float
    ) -> bool:
        """Whether nothing stands in the way of these, as nearly always: then they need not be looked at singly."""
        room_bytes = limits.WAITING_SHARES[lane.urgency] * limits.DELIVERY_WINDOW_BYTES - self._bytes
        return (
            min(numbers, default=0) > lane.position
            and len(numbers) <= min(self.room(lane), most)
            and size <= min(room_bytes, most_bytes)
            and len(set(ids)) == len(ids)
            and self._flight.keys().isdisjoint(ids)
        )

    def _sift(self, lane: Lane, rows: Sequence[StoredRow], most: float, most_bytes: float) -> list[StoredRow]:
        """What of `rows` is to be given. Passes over those that are not, and leaves the lane behind where room ends."""
        count, size, share = len(self._flight), self._bytes, limits.WAITING_SHARES[lane.urgency]
        full = min(int(share * limits.DELIVERY_WINDOW), count + most)
        full_size = min(share * limits.DELIVERY_WINDOW_BYTES, size + most_bytes)
        taken: dict[bytes, StoredRow] = {}
        for row in rows:
            if row.row <= lane.position:
                continue
            if count + len(taken) >= full or size >= full_size:
                lane.behind = True
                break
            lane.position = row.row
            if row.id not in self._flight and row.id not in taken:  # [edge-35]
                taken[row.id] = row
                size += len(row.frame)
        return [*taken.values()]

    def given(self, row: StoredRow) -> bool:
        """Whether `row` is in flight."""
        return row.id in self._flight

    def settle(self, message: Acknowledge) -> list[int]:
        """The rows to delete: those that were delivered, and no other of the same id.

        Raises RemoteError BAD_PROOF, and changes nothing, when an id is not in flight or the MAC is not the device's
        over these ids as they were delivered.
        """
        flight, ids = self._flight, message.ids
        try:
            settled = [flight[identity] for identity in ids]
        except KeyError:
            settled = []
        if len(settled) != len(ids) or len(set(ids)) != len(ids):
            # [edge-28]
            raise RemoteError("acknowledges what was not delivered on this claim", code=ErrorCode.BAD_PROOF)
        rows, digests, sizes = zip(*settled, strict=True) if settled else ((), (), ())
        check_acknowledge(self.key, message, digests)
        for identity in ids:
            del flight[identity]
        self._bytes -= sum(sizes)
        return [*rows]


def _columns(rows: Sequence[StoredRow]) -> tuple[list[int], list[bytes], list[bytes]]:
    return [row.row for row in rows], [row.id for row in rows], [row.frame for row in rows]
