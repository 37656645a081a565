"""Where a tag's bits are in a filter, which only the filter's key can tell.

E = AES-256_K(tag), a = LE64(E[0:8]), s = LE64(E[8:16]) | 1; the position in slice i is (a + i*s) mod m.
in: the filter's key K and its class, tags; out: positions, for one tag by plain arithmetic, for many by numpy.
Both ways give the same. m is a power of two, so arithmetic modulo 2^64 loses nothing, and s is odd, so the slices of
one tag differ. Positions are counted through all slices: slice i begins at i*m.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from volly_fed.codepoints import ErrorCode, FilterClass, Label
from volly_fed.crypto.block import BLOCK, Blocks
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.wire.fields import uint
from volly_fed.wire.messages import FILTER_ID_BYTES

Positions: TypeAlias = NDArray[np.int64]
_HALF: Final = BLOCK // 2


def slice_bits(size: FilterClass) -> int:
    """How many bits each slice of a filter has."""
    return bounds.BITS_PER_TAG * bounds.CAPACITY[size]


def filter_bits(size: FilterClass) -> int:
    """How many bits a filter has, all slices together."""
    return bounds.SLICES * slice_bits(size)


def filter_bytes(size: FilterClass) -> int:
    """How many bytes a filter has."""
    return filter_bits(size) // 8


def spread(block: bytes, width: int) -> list[int]:
    """The position within each slice of `width` bits that the encrypted block stands for."""
    mask = width - 1
    start = int.from_bytes(block[:_HALF], "little") & mask  # now, so that all numbers are small
    step = (int.from_bytes(block[_HALF:], "little") | 1) & mask
    return [(start + i * step) & mask for i in range(bounds.SLICES)]  # [presence-8]


def locate(block: bytes, width: int) -> list[int]:
    """The positions of `spread`, counted through all slices."""
    return [i * width + position for i, position in enumerate(spread(block, width))]


def each_slice(blocks: bytes, width: int) -> Iterator[Positions]:
    """`spread` of many blocks: slice by slice, the positions in it as the blocks come."""
    halves = np.frombuffer(blocks, dtype="<u8").reshape(-1, 2)
    current, step = halves[:, 0].copy(), halves[:, 1] | np.uint64(1)
    mask = np.uint64(width - 1)
    for _ in range(bounds.SLICES):
        yield (current & mask).view(np.int64)
        current += step


def locate_all(blocks: bytes, width: int) -> Positions:
    """`locate` of many blocks, all positions in one array, slice by slice."""
    return np.concatenate([row + i * width for i, row in enumerate(each_slice(blocks, width))])


def parse_class(value: object) -> FilterClass:
    """The class with this number. Raises BadMessage BAD_FILTER when there is none."""
    try:
        return FilterClass(uint(value))
    except ValueError:
        raise BadMessage("there is no such class of filters", code=ErrorCode.BAD_FILTER) from None


class Placement:
    """One filter's key and class."""

    __slots__ = ("_blocks", "key", "size", "width")

    def __init__(self, key: Secret, size: FilterClass) -> None:
        """Raises ValueError unless `key` has 32 bytes."""
        self._blocks = Blocks(key)
        self.key = key
        self.size = size
        self.width = slice_bits(size)

    @property
    def filter_id(self) -> bytes:
        """8 bytes that stand for the filter with this key, where both ends say which one they speak of."""
        return hashlib.sha256(Label.PRESENCE_FILTER + self.key.reveal()).digest()[:FILTER_ID_BYTES]

    def encrypt(self, tags: Sequence[bytes]) -> bytes:
        """The encrypted blocks of `tags`, one after the other: one call for all of them."""
        return self._blocks.encrypt(b"".join(tags))

    def in_slices(self, tag: bytes) -> list[int]:
        """The position of `tag` in each slice."""
        return spread(self._blocks.encrypt(tag), self.width)
