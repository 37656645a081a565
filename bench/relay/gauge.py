"""How many envelopes have arrived, for a submitter that keeps only so many under way.

in: counts, in the receiver's process; out: the sum, in the submitter's. One process writes.
"""

import ctypes
import multiprocessing
from typing import Any


class Gauge:
    """One number in memory that worker processes share. Make it before them and give it to them."""

    def __init__(self) -> None:
        self._value: Any = multiprocessing.get_context("forkserver").RawValue(ctypes.c_uint64, 0)

    @property
    def arrived(self) -> int:
        """So many until now."""
        count: int = self._value.value
        return count

    def add(self, count: int) -> None:
        """So many more."""
        self._value.value += count
