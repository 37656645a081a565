"""The filter that one peer is shown: tags that are online, and dummies that fill it up to its capacity.

in: tags that come and go; out: the bits that change, step by step; the whole filter; a record for the disk.
With every step dummies come and go too, so that as many tags come as go, and their number is one of few: a step tells
neither how many users came or went nor which of both. A dummy is a block of AES under a seed of our own, so it needs no
memory: those with numbers from `first` to `next` are in the filter.
Weakness: the oldest dummy goes first, so that what comes and soon goes again is not one of the first dummies.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from volly_fed.codepoints import FilterClass
from volly_fed.crypto.block import BLOCK, Blocks
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalProtocolError
from volly_fed.machine import RandomSource
from volly_fed.presence import bounds
from volly_fed.presence.counters import Counters
from volly_fed.presence.placement import Placement, Positions, filter_bytes, parse_class
from volly_fed.wire.fields import bstr, record, uint
from volly_fed.wire.messages import FILTER_KEY_BYTES

_NOTHING: Final = np.empty(0, dtype=np.int64)
_KEY: Final = bstr(size=FILTER_KEY_BYTES)
_DUMMIES: Final = record(_KEY, uint, uint)


def choose_class(members: int, former: FilterClass | None = None) -> FilterClass:
    """The class of a new filter for so many tags; `former`, that of the last one, is kept unless far too large."""
    fitting = (size for size in FilterClass if members <= bounds.ROOM * bounds.CAPACITY[size])
    wanted = next(fitting, FilterClass.TAGS_1M)
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


class Dummies:
    """The blocks of dummies."""

    __slots__ = ("_blocks", "first", "next", "seed")

    def __init__(self, seed: Secret, first: int, following: int) -> None:
        self._blocks = Blocks(seed)
        self.seed, self.first, self.next = seed, first, following

    def __len__(self) -> int:
        return self.next - self.first

    def present(self) -> bytes:
        """All that are in the filter."""
        return self._numbered(self.first, self.next)

    def come(self, number: int) -> bytes:
        """So many new ones, which are in the filter from now on."""
        self.next += number
        return self._numbered(self.next - number, self.next)

    def go(self, number: int) -> bytes:
        """So many of the oldest ones, which no longer are."""
        self.first += number
        return self._numbered(self.first - number, self.first)

    def _numbered(self, first: int, following: int) -> bytes:
        if following - first <= bounds.ONE_BY_ONE:
            return self._blocks.encrypt(b"".join([n.to_bytes(BLOCK, "little") for n in range(first, following)]))
        numbers = np.zeros((following - first, 2), dtype="<u8")
        numbers[:, 0] = np.arange(following - first, dtype=np.uint64) + np.uint64(first)
        return self._blocks.encrypt(numbers.tobytes())


class Shown:
    """One filter, from `sequence` to `sequence`."""

    __slots__ = ("_counters", "_dummies", "_owed", "epoch", "filter_id", "members", "placement", "sequence")

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

    @classmethod
    def draw(cls, epoch: int, tags: Collection[bytes], former: FilterClass | None, random: RandomSource) -> "Shown":
        """A new filter with a new key. Raises LocalProtocolError for more tags than the largest class has room for."""
        size = choose_class(len(tags), former)
        dummies = bounds.CAPACITY[size] - len(tags)
        if dummies < 0:
            raise LocalProtocolError("more users than the largest filter shows")
        placement = Placement(Secret(random(FILTER_KEY_BYTES)), size)
        seed = Secret(random(FILTER_KEY_BYTES))
        return cls(placement, epoch=epoch, sequence=0, tags=tags, dummies=Dummies(seed, 0, dummies))

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
        return self.members + joined - left <= bounds.CAPACITY[self.size]

    def step(self, joined: Sequence[bytes], left: Sequence[bytes], *, least: int) -> Positions:
        """These tags come and go, and at least `least` of both, with dummies; the bits that change, sorted.

        Raises LocalProtocolError when a tag goes that was not there.
        """
        self.members += len(joined) - len(left)
        come, go = self._dummy_changes(len(joined), len(left), least)
        gone = self._dummies.go(go)
        added = self.placement.encrypt(joined) + self._dummies.come(come)
        changed = self._counters.change(added, self.placement.encrypt(left) + gone)
        if len(self._owed):
            changed, self._owed = np.setxor1d(changed, self._owed, assume_unique=True), _NOTHING
        self.sequence += 1
        return changed

    def _dummy_changes(self, joined: int, left: int, least: int) -> tuple[int, int]:
        """How many dummies come and go, so that the filter is filled to its capacity again."""
        present = len(self._dummies)
        wanting = max(bounds.CAPACITY[self.size] - self.members, 0) - present
        come = max(change_class(max(joined, left, least)) - joined, wanting, 0)
        if come - wanting > present:
            return present + wanting, present
        return come, come - wanting

    # --- the disk ---

    def to_fields(self) -> dict[int, Any]:
        """What a restart must not lose."""
        dummies = self._dummies
        return {
            1: self.epoch,
            2: self.placement.key.reveal(),
            3: int(self.size),
            4: self.sequence,
            5: [dummies.seed.reveal(), dummies.first, dummies.next],
            6: self.bits,
        }

    @classmethod
    def from_fields(cls, fields: dict[int, Any], tags: Collection[bytes]) -> "Shown":
        """The filter of `to_fields`, with those who are online now. Raises BadMessage for anything else."""
        size = parse_class(fields.get(3))
        seed, first, following = _DUMMIES(fields.get(5))
        if not 0 <= following - first <= bounds.CAPACITY[size]:
            raise BadMessage("a record of more dummies than there is room for")
        kept = np.frombuffer(bstr(size=filter_bytes(size))(fields.get(6)), dtype=np.uint8)
        made = cls(
            Placement(Secret(_KEY(fields.get(2))), size),
            epoch=uint(fields.get(1)),
            sequence=uint(fields.get(4)),
            tags=tags,
            dummies=Dummies(Secret(seed), first, following),
        )
        differing = np.frombuffer(made.bits, dtype=np.uint8) ^ kept
        made._owed = np.flatnonzero(np.unpackbits(differing, bitorder="little"))
        return made
