"""What one claimed mailbox has been given and has not acknowledged (the homeserver's side).

in: rows of the store, in order; verified acknowledgements; out: frames to deliver, rows to delete.
A new claim starts a new Delivery at the beginning of the mailbox: what the last one did not acknowledge comes again.
Never: holds envelopes, only ids, rows, sizes, digests; deletes what the device did not acknowledge as delivered.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import check_acknowledge, frame_digest
from volly_fed.errors import RemoteError
from volly_fed.wire.messages import Acknowledge


class StoredRow(Protocol):
    """One stored envelope of a mailbox: its row in the store, its id, its bytes. Later ones have higher rows."""

    @property
    def row(self) -> int: ...  # noqa: D102 - see above
    @property
    def id(self) -> bytes: ...  # noqa: D102 - see above
    @property
    def frame(self) -> bytes: ...  # noqa: D102 - see above


class Row(NamedTuple):
    """A StoredRow as it comes from a commit."""

    row: int
    id: bytes
    frame: bytes


@attrs.define(kw_only=True)
class Delivery:
    """The window of one claim."""

    key: Secret
    position: int = 0
    """The last row that was given."""
    behind: bool = True
    """The store may hold rows after `position`."""
    reading: bool = False
    """Somebody is reading them."""
    over: bool = False
    """The claim has ended."""
    _flight: dict[bytes, tuple[int, bytes, int]] = attrs.field(factory=dict, repr=False)
    """id -> row, digest, size. A plain tuple: one is made for every envelope delivered."""
    _bytes: int = 0

    @property
    def in_flight(self) -> int:
        """Envelopes given and not acknowledged."""
        return len(self._flight)

    @property
    def room(self) -> int:
        """How many more envelopes fit in the window; 0 also when its bytes are used up."""
        return limits.DELIVERY_WINDOW - len(self._flight) if self._bytes < limits.DELIVERY_WINDOW_BYTES else 0

    @property
    def room_bytes(self) -> int:
        """How many more bytes fit; the last envelope may go beyond, so that a large one is not stuck."""
        return max(0, limits.DELIVERY_WINDOW_BYTES - self._bytes)

    def give(self, rows: Iterable[StoredRow], *, most: float = math.inf, most_bytes: float = math.inf) -> list[bytes]:
        """Take `rows` into the window as far as they fit, and `most` of them; the frames of those, to be sent.

        Rows at or before `position` are not given again, nor is an id that is in flight. What does not fit leaves
        `behind` set.
        """
        flight, position, size = self._flight, self.position, self._bytes
        full = min(limits.DELIVERY_WINDOW, len(flight) + most)
        full_size = min(limits.DELIVERY_WINDOW_BYTES, size + most_bytes)
        frames = []
        for row in rows:
            number, identity, frame = row.row, row.id, row.frame
            if number <= position:
                continue
            if len(flight) >= full or size >= full_size:
                self.behind = True
                break
            position = number
            if identity not in flight:
                flight[identity] = (number, frame_digest(frame), len(frame))
                size += len(frame)
                frames.append(frame)
        self.position, self._bytes = position, size
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
