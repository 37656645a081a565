"""How many of some envelopes go into what room there is: asked for every batch, so not one by one.

in: byte strings, bytes of room; out: a count. Never: skips one that does not fit for a smaller one after it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


def fitting(frames: Sequence[bytes], room: int) -> int:
    """How many of `frames`, from the first, have at most `room` bytes together."""
    if sum(map(len, frames)) <= room:
        return len(frames)
    return bisect_right([*accumulate(map(len, frames))], room)
