"""The bits of a filter that change, as bytes: sorted positions, Rice coded, padded to a size class.

in: positions, or bytes from a peer; out: the other.
Format: the number n of positions as 4 bytes, little-endian; then bits, the lowest of each byte first. The gaps (the
first position; from then on, position - former - 1) are split at r bits: first the low r bits of every gap, the lowest
first, then for every gap its remaining number as that many zeros and a one. (The usual Rice code has both parts of a
gap together; apart they decode as vectors.) Zeros fill up to a size class, 2^i or 3*2^i bytes. For a filter of `bits`
r = max(0, floor(log2(11*bits / 16n))): nothing is left to choose, and one list of positions has one spelling.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.presence.placement import Positions

_HEAD: Final = 4


def size_class(size: int) -> int:
    """The smallest size class that holds `size` bytes."""
    power = bounds.MIN_DELTA
    while power < size:
        if power + power // 2 >= size:
            return power + power // 2
        power *= 2
    return power


def encode_delta(positions: Positions, bits: int) -> bytes | None:
    """Positions, sorted and each once, below `bits`. None: they take more than bounds.MAX_DELTA."""
    width = _width(len(positions), bits)
    gaps = positions.copy()
    gaps[1:] -= positions[:-1] + 1
    ends = np.cumsum((gaps >> width) + 1)
    low_bits, high_bits = len(positions) * width, int(ends[-1]) if len(ends) else 0
    size = size_class(_HEAD + -(-(low_bits + high_bits) // 8))
    if size > bounds.MAX_DELTA:
        return None
    stream = np.zeros((size - _HEAD) * 8, dtype=np.uint8)
    stream[:low_bits] = ((gaps[:, None] >> np.arange(width)) & 1).reshape(-1)
    stream[low_bits + ends - 1] = 1
    return len(positions).to_bytes(_HEAD, "little") + np.packbits(stream, bitorder="little").tobytes()


def parse_delta(data: bytes, bits: int) -> Positions:
    """The positions that `data` spells, for a filter of `bits`.

    Raises BadMessage, and nothing else, for anything that encode_delta does not make. Memory and time are in proportion
    to len(data), of which there may be bounds.MAX_DELTA.
    """
    if not bounds.MIN_DELTA <= len(data) <= bounds.MAX_DELTA:
        raise BadMessage("a delta is of no size that there is")
    count = int.from_bytes(data[:_HEAD], "little")
    width = _width(count, bits)
    room = (len(data) - _HEAD) * 8
    if count * (width + 1) > room:  # before any work in proportion to it
        raise BadMessage("a delta names more positions than it has room for")
    stream = np.unpackbits(np.frombuffer(data, dtype=np.uint8, offset=_HEAD), bitorder="little")
    low_bits = count * width
    ends = np.flatnonzero(stream[low_bits:])
    if len(ends) != count:
        raise BadMessage("a delta holds other than as many positions as it says")
    used = low_bits + (int(ends[-1]) + 1 if count else 0)
    if size_class(_HEAD + -(-used // 8)) != len(data):  # [presence-15]
        raise BadMessage("a delta has the smallest size class that it fits")
    high = np.diff(ends, prepend=-1) - 1
    positions = np.cumsum((high << width | _low(stream[:low_bits], count, width)) + 1) - 1
    if count and positions[-1] >= bits:
        raise BadMessage("a position lies beyond the filter")
    return positions


def _low(stream: NDArray[np.uint8], count: int, width: int) -> Positions:
    """The low parts of all gaps."""
    if not width:
        return np.zeros(count, dtype=np.int64)
    weights = np.left_shift(1, np.arange(width, dtype=np.int64))
    return stream.reshape(count, width).astype(np.int64) @ weights


def _width(count: int, bits: int) -> int:
    """r: how many bits of a gap are spelled out. Gaps are geometrically distributed, and 11/16 is nearly log 2."""
    if not count:
        return 0
    return max(0, (11 * bits // (16 * count)).bit_length() - 1)
