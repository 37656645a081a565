"""The dummies of one filter: which come, and which go so that they look like users who do.

in: how many come and go with a step, and how many users leave with it; out: their blocks; numbers for the disk.
A dummy is a block of AES under a seed of our own, made again from its number when it goes. The peer sees two things of
whoever leaves: whether its bits were set from the beginning, and if not, with which step they came. So
- of all that leave, users or dummies, one in OLD_SHARE is to be from the beginning, by lot: users count, dummies are
  the rest. How many dummies there are, which is how many users there are not, has no part in it;
- the other dummies leave from the recent ones, the r-th newest with a probability like 1/r: some stay for one step,
  some for the whole epoch, and as many for every length between, so that whatever a user's stay is, dummies' are too.
  The last of those from the beginning are the first recent ones: there are as many in the first step as in any other.
Lots are drawn with blocks too, so that they need no generator to be kept.
"""

import struct
from array import array
from typing import Final

import numpy as np

from volly_fed.crypto.block import BLOCK, Blocks
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.wire.fields import bstr, record, uint
from volly_fed.wire.messages import FILTER_KEY_BYTES

_LOTS: Final = 1 << 127  # of blocks' numbers; those of dummies are below
_RECORD: Final = record(bstr(size=FILTER_KEY_BYTES), *[uint] * 6, bstr(limit=bounds.MAX_RECORD))
_STORED: Final = np.dtype("<u4")


class Dummies:
    """Which there are. Numbers from `first` to `old` are in the filter from the beginning; so may be some `recent`."""

    __slots__ = ("_blocks", "done", "drawn", "due", "first", "next", "old", "recent", "seed")

    def __init__(self, seed: Secret, number: int, *, recent: int = 0) -> None:
        """So many, of which the last are recent."""
        self._blocks = Blocks(seed)
        self.seed = seed
        self.first, self.old, self.next = 0, max(0, number - recent), number
        self.recent = array("I", range(self.old, number))  # in order: four bytes each, for there may be many
        self.drawn = 0  # lots
        self.due = 0  # of all that have left by now: so many were to be from the beginning
        self.done = 0  # so many were

    def __len__(self) -> int:
        return self.old - self.first + len(self.recent)

    def present(self) -> bytes:
        """All that are in the filter."""
        return self._numbered(np.concatenate((np.arange(self.first, self.old), np.array(self.recent, dtype=np.int64))))

    def come(self, number: int) -> bytes:
        """So many new ones, which are in the filter from now on."""
        new = range(self.next, self.next + number)
        self.next += number
        self.recent.extend(new)
        return self._blocks.encrypt(b"".join([n.to_bytes(BLOCK, "little") for n in new]))

    def go(self, number: int, *, users: int = 0, first: int = 0) -> bytes:
        """So many, which no longer are. `users` leave with the same step, of whom `first` are from the beginning."""
        lots = self._lots(number + users)
        self.due += sum(lot % bounds.OLD_SHARE == 0 for lot in lots[::2])  # [presence-29]
        wanted = min(max(0, self.due - self.done - first), number)
        old = min(max(wanted, number - len(self.recent)), self.old - self.first)
        ranks = [lot / (1 << 64) for lot in lots[1 : 2 * (number - old) : 2]]
        gone = [self.recent.pop(-int(len(self.recent) ** rank)) for rank in ranks]
        gone += range(self.first, self.first + old)
        self.first += old
        self.done += old + first
        return self._blocks.encrypt(b"".join([n.to_bytes(BLOCK, "little") for n in gone]))

    def to_fields(self) -> list[object]:
        """What a restart must not lose."""
        recent = np.array(self.recent, dtype=_STORED).tobytes()
        return [self.seed.reveal(), self.first, self.old, self.next, self.drawn, self.due, self.done, recent]

    @classmethod
    def from_fields(cls, fields: object, capacity: int) -> "Dummies":
        """Those of `to_fields`. Raises BadMessage for anything else, or when they are more than `capacity`."""
        seed, first, old, following, drawn, due, done, data = _RECORD(fields)
        if not first <= old <= following < 1 << 32 or len(data) % _STORED.itemsize:
            raise BadMessage("not the record of dummies")
        recent = np.frombuffer(data, dtype=_STORED).astype(np.int64)
        if old - first + len(recent) > capacity or np.any(np.diff(recent, prepend=old - 1, append=following) < 1):
            raise BadMessage("a record of dummies that cannot be")
        made = cls(Secret(seed), 0)
        made.first, made.old, made.next = first, old, following
        made.drawn, made.due, made.done = drawn, due, done
        made.recent = array("I", recent.tolist())
        return made

    def _lots(self, number: int) -> tuple[int, ...]:
        """Two numbers of 64 bits for each."""
        blocks = [(_LOTS | n).to_bytes(BLOCK, "little") for n in range(self.drawn, self.drawn + number)]
        self.drawn += number
        return struct.unpack(f"<{2 * number}Q", self._blocks.encrypt(b"".join(blocks)))

    def _numbered(self, numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> bytes:
        blocks = np.zeros((len(numbers), 2), dtype="<u8")
        blocks[:, 0] = numbers
        return self._blocks.encrypt(blocks.tobytes())
