"""How many tags want each bit of a filter set: so that taking a tag away leaves the bits that others need.

in: encrypted blocks (presence.placement) of tags that come and go; out: which bits change, and all bits.
Four bits a counter: with a thousand peers this is most of what presence holds in memory.
Never: knows a tag. Whoever takes away what was never added is told so where it shows, which is not everywhere.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from volly_fed.codepoints import FilterClass
from volly_fed.crypto.block import BLOCK
from volly_fed.errors import LocalProtocolError
from volly_fed.presence import bounds
from volly_fed.presence.placement import Positions, each_slice, filter_bits, locate, locate_all, slice_bits

_MAX: Final = bounds.COUNTER_MAX
_PAIRS: Final = np.array([((n & 15) > 0) | ((n > 15) << 1) for n in range(256)], dtype=np.uint8)
"""A byte has two counters: -> which of them are not zero, as two bits."""
_NEVER_ADDED: Final = "a tag is taken away that was not there: a bug of ours"


class Counters:
    """One counter for each bit of a filter."""

    __slots__ = ("_beyond", "_nibbles", "_size", "_width")

    def __init__(self, size: FilterClass, blocks: bytes = b"") -> None:
        """The counters for the tags that `blocks` stand for."""
        self._size = size
        self._width = slice_bits(size)
        self._nibbles = bytearray(filter_bits(size) // 2)
        self._beyond: dict[int, int] = {}  # position -> what its counter, then at its maximum, has no room for
        if blocks:
            self._fill(blocks)

    def bits(self, slices: int = bounds.SLICES) -> bytes:
        """The filter, or its first slices: a bit is set where the counter is not zero."""
        pairs = _PAIRS[np.frombuffer(self._nibbles, dtype=np.uint8, count=slices * self._width // 2)].reshape(-1, 4)
        return (pairs[:, 0] | pairs[:, 1] << 2 | pairs[:, 2] << 4 | pairs[:, 3] << 6).tobytes()

    def change(self, added: bytes, removed: bytes) -> Positions:
        """Count the blocks `added`, then discount those `removed`; which bits change, sorted.

        Raises LocalProtocolError when a block is removed that was not there; then this is good for nothing any more.
        """
        if len(added) + len(removed) > bounds.ONE_BY_ONE * BLOCK:
            return self._change_all(added, removed)
        changed: set[int] = set()
        for blocks, count in ((added, self.count), (removed, self.discount)):
            _each(blocks, count, changed)
        return np.array(sorted(changed), dtype=np.int64)

    def count(self, block: bytes) -> list[int]:
        """One more of this block; which bits are set now that were not."""
        nibbles, risen = self._nibbles, []
        for position in locate(block, self._width):
            index, shift = position >> 1, (position & 1) << 2
            byte = nibbles[index]
            value = byte >> shift & _MAX
            if value == _MAX:
                self._beyond[position] = self._beyond.get(position, 0) + 1
                continue
            nibbles[index] = byte + (1 << shift)
            if not value:
                risen.append(position)
        return risen

    def discount(self, block: bytes) -> list[int]:
        """One less of this block; which bits are no longer set."""
        nibbles, fallen = self._nibbles, []
        for position in locate(block, self._width):
            index, shift = position >> 1, (position & 1) << 2
            byte = nibbles[index]
            value = byte >> shift & _MAX
            if value == _MAX and position in self._beyond:
                self._keep(position, self._beyond[position] - 1)
                continue
            if not value:
                raise LocalProtocolError(_NEVER_ADDED)
            nibbles[index] = byte - (1 << shift)
            if value == 1:
                fallen.append(position)
        return fallen

    def _fill(self, blocks: bytes) -> None:
        half = self._width // 2
        view = self._view()
        for i, row in enumerate(each_slice(blocks, self._width)):
            counts = np.bincount(row, minlength=self._width)
            if int(counts.max()) > _MAX:
                over = np.flatnonzero(counts > _MAX)
                self._beyond |= {i * self._width + int(p): int(counts[p]) - _MAX for p in over}
                np.minimum(counts, _MAX, out=counts)
            small = counts.astype(np.uint8)
            view[i * half : (i + 1) * half] = small[::2] | small[1::2] << 4

    def _change_all(self, added: bytes, removed: bytes) -> Positions:
        """`change` for many."""
        plus, minus = locate_all(added, self._width), locate_all(removed, self._width)
        positions, inverse = np.unique(np.concatenate((plus, minus)), return_inverse=True)
        net = np.bincount(inverse[: len(plus)], minlength=len(positions))
        net -= np.bincount(inverse[len(plus) :], minlength=len(positions))
        shifts = ((positions & 1) << 2).astype(np.uint8)
        former = (self._view()[positions >> 1] >> shifts & _MAX).astype(np.int64)
        if self._beyond:
            former += np.array([self._beyond.get(p, 0) for p in positions.tolist()], dtype=np.int64)
        later = former + net
        if len(later) and int(later.min()) < 0:
            raise LocalProtocolError(_NEVER_ADDED)
        for at in np.flatnonzero((later > _MAX) | (former > _MAX)).tolist():
            self._keep(int(positions[at]), int(later[at]) - _MAX)
        self._write(positions, np.minimum(later, _MAX).astype(np.uint8))
        changed: Positions = positions[(former == 0) != (later == 0)]
        return changed

    def _write(self, positions: Positions, values: NDArray[np.uint8]) -> None:
        view = self._view()
        for odd, mask in ((0, 0xF0), (1, 0x0F)):  # two of `positions` may share a byte, two of one kind may not
            chosen = (positions & 1) == odd
            places = positions[chosen] >> 1
            view[places] = view[places] & mask | values[chosen] << (4 * odd)

    def _keep(self, position: int, beyond: int) -> None:
        if beyond > 0:
            self._beyond[position] = beyond
        else:
            self._beyond.pop(position, None)

    def _view(self) -> NDArray[np.uint8]:
        return np.frombuffer(self._nibbles, dtype=np.uint8)


def _each(blocks: bytes, change: Callable[[bytes], list[int]], changed: set[int]) -> None:
    for at in range(0, len(blocks), BLOCK):
        changed.symmetric_difference_update(change(blocks[at : at + BLOCK]))
