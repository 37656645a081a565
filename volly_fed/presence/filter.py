"""A presence filter as its reader has it: pybloom_live's container, with our own geometry, placement and bytes.

in: a Placement, the filter's bytes from the wire, positions that change; out: whether a tag is shown.
The container has its slices in one bitarray. Bit p of the filter is bit p % 8, the lowest first, of byte p // 8.
Never: takes the number of slices or bits from anybody, uses pybloom_live's hashing (it changes with the capacity) or
its file format (a header of 40 bytes makes the reader work for seconds).
"""

from collections.abc import Sequence

import numpy as np
from bitarray import bitarray
from numpy.typing import NDArray
from pybloom_live import BloomFilter

from volly_fed.codepoints import ErrorCode
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.presence.placement import Placement, Positions, filter_bits, filter_bytes, locate_all

_ERROR_RATE = 0.001
"""Only a field of the container: nothing follows from it here."""


class Filter:
    """One filter's bits. `tag in filter` is exact for who is in it, and wrong for 5.7 of 10 000 others."""

    __slots__ = ("_bloom", "ones", "placement")

    def __init__(self, placement: Placement) -> None:
        """An empty one."""
        self.placement = placement
        self._bloom = _container(placement)
        self.ones = 0
        """How many bits are set."""

    @classmethod
    def from_bytes(cls, placement: Placement, data: bytes) -> "Filter":
        """The filter that a peer has sent. Raises BadMessage BAD_FILTER for a wrong size, or one that is too full."""
        if len(data) != filter_bytes(placement.size):
            raise BadMessage("the filter has not the size of its class", code=ErrorCode.BAD_FILTER)
        made = cls(placement)
        made._view()[:] = np.frombuffer(data, dtype=np.uint8)
        made.ones = made._bits.count()
        _refuse_full(made.ones, placement)
        return made

    def to_bytes(self) -> bytes:
        """The bytes on the wire."""
        return self._bits.tobytes()

    def add(self, tag: bytes) -> None:
        """Add one tag, by the container's own method."""
        self._bloom.count = 0  # how many fit is not its concern here: it would count, and refuse
        self._bloom.add(tag, skip_check=True)
        self.ones = self._bits.count()

    def add_all(self, tags: Sequence[bytes]) -> None:
        """Add many tags at once."""
        positions = locate_all(self.placement.encrypt(tags), self.placement.width)
        bits = np.unpackbits(self._view(), bitorder="little")
        bits[positions] = 1
        self._view()[:] = np.packbits(bits, bitorder="little")
        self.ones = self._bits.count()

    def __contains__(self, tag: bytes) -> bool:
        return bool(tag in self._bloom)

    def flip(self, positions: Positions) -> None:
        """Change these bits, each named once. Raises BadMessage BAD_FILTER, and changes none, if it would be too full.

        Positions beyond the filter are for `parse_delta` to refuse.
        """
        view = self._view()
        masks = np.left_shift(np.uint8(1), (positions & 7).astype(np.uint8))
        places = positions >> 3
        cleared = int(np.count_nonzero(view[places] & masks))
        ones = self.ones + len(positions) - 2 * cleared  # [presence-39]
        _refuse_full(ones, self.placement)
        np.bitwise_xor.at(view, places, masks)
        self.ones = ones

    @property
    def _bits(self) -> bitarray:
        bits: bitarray = self._bloom.bitarray
        return bits

    def _view(self) -> NDArray[np.uint8]:
        return np.frombuffer(memoryview(self._bits), dtype=np.uint8)


def _container(placement: Placement) -> BloomFilter:
    """pybloom_live's container with our geometry; `make_hashes` is all that its own add and look-up ask about a key."""
    bloom = BloomFilter.__new__(BloomFilter)
    bloom._setup(_ERROR_RATE, bounds.SLICES, placement.width, bounds.CAPACITY[placement.size], 0)  # noqa: SLF001 # its constructor derives the geometry from a rate
    bloom.make_hashes = placement.in_slices
    bloom.bitarray = bitarray(filter_bits(placement.size), endian="little")
    bloom.bitarray.setall(False)
    return bloom


def _refuse_full(ones: int, placement: Placement) -> None:
    if ones > bounds.MAX_FILL * filter_bits(placement.size):  # [presence-13]
        raise BadMessage("the filter is too full", code=ErrorCode.BAD_FILTER)
