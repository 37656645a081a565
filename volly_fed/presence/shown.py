"""The filter that one peer is shown: tags that are online, and dummies that fill it up to its capacity.

in: tags that come and go; out: the bits that change, step by step; the whole filter; a record for the disk.
With every step dummies come and go too, so that as many tags come as go, and their number is one of few: a step tells
neither how many users came or went nor which of both. Which dummies go: presence.dummies.
Never: keeps tags. Whether somebody who goes was there first is told by the filter as it was.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from volly_fed.codepoints import FilterClass
from volly_fed.crypto.block import BLOCK
from volly_fed.crypto.secret import Secret
from volly_fed.errors import LocalProtocolError
from volly_fed.machine import RandomSource
from volly_fed.presence import bounds
from volly_fed.presence.counters import Counters
from volly_fed.presence.dummies import Dummies
from volly_fed.presence.placement import Placement, Positions, filter_bytes, locate, locate_all, parse_class
from volly_fed.wire.fields import bstr, uint
from volly_fed.wire.messages import FILTER_KEY_BYTES

_NOTHING: Final = np.empty(0, dtype=np.int64)
_KEY: Final = bstr(size=FILTER_KEY_BYTES)


def choose_class(members: int, former: FilterClass | None = None) -> FilterClass:
    """The class of a new filter for so many tags; `former`, that of the last one, is kept unless far too large."""
    fitting = (size for size in FilterClass if members <= bounds.ROOM * bounds.CAPACITY[size])
    wanted = next(fitting, FilterClass.TAGS_1M)
    # [presence-10]
    if former is not None and wanted < former and members > bounds.SHRINK * bounds.CAPACITY[FilterClass(former - 1)]:
        return former
    return wanted


def change_class(number: int) -> int:
    """So many tags come, and go, in a step that `number` of users would make: 2^i or 3*2^i."""
    power = 1
    while power < number:
        if power > 1 and power + power // 2 >= number:
            return power + power // 2
        power *= 2
    return power


class Shown:
    """One filter, from `sequence` to `sequence`."""

    __slots__ = ("_counters", "_dummies", "_first", "_owed", "epoch", "filter_id", "members", "placement", "sequence")

    def __init__(
        self, placement: Placement, *, epoch: int, sequence: int, tags: Collection[bytes], dummies: Dummies
    ) -> None:
        self.placement = placement
        self.filter_id = placement.filter_id
        self.epoch = epoch
        self.sequence = sequence
        self.members = len(tags)
        self._dummies = dummies
        self._owed = _NOTHING  # positions in which `bits` differ from the counters; after a restart
        self._counters = Counters(placement.size, placement.encrypt(tuple(tags)) + dummies.present())
        self._first = self._counters.bits(bounds.FIRST_SLICES)

    @classmethod
    def draw(cls, epoch: int, tags: Collection[bytes], former: FilterClass | None, random: RandomSource) -> "Shown":
        """A new filter with a new key. Raises LocalProtocolError for more tags than the largest class has room for."""
        size = choose_class(len(tags), former)
        number = bounds.CAPACITY[size] - len(tags)  # [presence-11]
        if number < 0:
            raise LocalProtocolError("more users than the largest filter shows")
        placement = Placement(Secret(random(FILTER_KEY_BYTES)), size)  # [presence-9]
        recent = bounds.CAPACITY[size] // bounds.RECENT_SHARE
        dummies = Dummies(Secret(random(FILTER_KEY_BYTES)), number, recent=recent)
        return cls(placement, epoch=epoch, sequence=0, tags=tags, dummies=dummies)

    @property
    def size(self) -> FilterClass:
        """Its class."""
        return self.placement.size

    @property
    def bits(self) -> bytes:
        """The filter at `sequence`."""
        bits = self._counters.bits()
        if not len(self._owed):
            return bits
        flipped = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
        flipped[self._owed] ^= 1
        return np.packbits(flipped, bitorder="little").tobytes()

    @property
    def differs(self) -> bool:
        """Whether a step is wanted though nobody came or went: who is online has changed with a restart."""
        return bool(len(self._owed))

    def has_room(self, joined: int, left: int) -> bool:
        """Whether a step with so many would not need a larger class."""
        return self.members + joined - left <= bounds.CAPACITY[self.size]  # [presence-12]

    def step(self, joined: Sequence[bytes], left: Sequence[bytes], *, least: int) -> Positions:
        """These tags come and go, and at least `least` of both, with dummies; the bits that change, sorted.

        Raises LocalProtocolError when a tag goes that was not there.
        """
        self.members += len(joined) - len(left)
        come, go = self._dummy_changes(len(joined), len(left), least)
        leaving = self.placement.encrypt(left)
        # [presence-30]
        gone = self._dummies.go(go, users=len(left), first=self._were_first(leaving))  # none that comes with this step
        added = self.placement.encrypt(joined) + self._dummies.come(come)
        changed = self._counters.change(added, leaving + gone)
        if len(self._owed):
            changed, self._owed = np.setxor1d(changed, self._owed, assume_unique=True), _NOTHING
        self.sequence += 1
        return changed

    def _dummy_changes(self, joined: int, left: int, least: int) -> tuple[int, int]:
        """How many dummies come and go, so that the filter is filled to its capacity again."""
        present = len(self._dummies)
        wanting = max(bounds.CAPACITY[self.size] - self.members, 0) - present
        come = max(change_class(max(joined, left, least)) - joined, wanting, 0)  # [presence-25]
        if come - wanting > present:
            return present + wanting, present
        return come, come - wanting

    def _were_first(self, blocks: bytes) -> int:
        """How many of them were there when the filter was made; one in forty of the others seems so too."""
        first, width = self._first, self.placement.width
        if len(blocks) <= bounds.ONE_BY_ONE * BLOCK:
            each = (locate(blocks[at : at + BLOCK], width) for at in range(0, len(blocks), BLOCK))
            return sum(all(first[p >> 3] >> (p & 7) & 1 for p in places[: bounds.FIRST_SLICES]) for places in each)
        places = locate_all(blocks, width).reshape(bounds.SLICES, -1)[: bounds.FIRST_SLICES]
        found = np.frombuffer(first, dtype=np.uint8)[places >> 3] >> (places & 7) & 1
        return int(np.count_nonzero(found.all(axis=0)))

    # --- the disk ---

    def to_fields(self) -> dict[int, Any]:
        """What a restart must not lose."""
        return {
            1: self.epoch,
            2: self.placement.key.reveal(),
            3: int(self.size),
            4: self.sequence,
            5: self._dummies.to_fields(),
            6: self.bits,
        }

    @classmethod
    def from_fields(cls, fields: dict[int, Any], tags: Collection[bytes]) -> "Shown":
        """The filter of `to_fields`, with those who are online now. Raises BadMessage for anything else."""
        size = parse_class(fields.get(3))
        kept = np.frombuffer(bstr(size=filter_bytes(size))(fields.get(6)), dtype=np.uint8)
        made = cls(
            Placement(Secret(_KEY(fields.get(2))), size),
            epoch=uint(fields.get(1)),
            sequence=uint(fields.get(4)),
            tags=tags,
            dummies=Dummies.from_fields(fields.get(5), bounds.CAPACITY[size]),
        )
        differing = np.frombuffer(made.bits, dtype=np.uint8) ^ kept
        made._owed = np.flatnonzero(np.unpackbits(differing, bitorder="little"))
        return made
