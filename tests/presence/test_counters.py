"""Counters: exact removal, whatever comes together in one bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.presence.helpers import tag, tags
from volly_fed.codepoints import FilterClass
from volly_fed.errors import LocalProtocolError
from volly_fed.presence import bounds
from volly_fed.presence.counters import Counters
from volly_fed.presence.placement import locate, slice_bits

SIZE = FilterClass.TAGS_4K
WIDTH = slice_bits(SIZE)
FEW, MANY = 3, 3 * bounds.ONE_BY_ONE


def crowd(number: int) -> bytes:
    """A block that meets all others of its kind in slice 0, and every other one of them everywhere."""
    return (7).to_bytes(8, "little") + (number % 2 * 2).to_bytes(8, "little")


class Reference:
    """Whole numbers in a dictionary."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def change(self, block: bytes, by: int) -> None:
        for position in locate(block, WIDTH):
            self.counts[position] = self.counts.get(position, 0) + by

    def ones(self) -> list[int]:
        return sorted(p for p, n in self.counts.items() if n)


def ones(counters: Counters) -> list[int]:
    bits = np.unpackbits(np.frombuffer(counters.bits(), dtype=np.uint8), bitorder="little")
    found: list[int] = np.flatnonzero(bits).tolist()
    return found


BLOCKS = st.builds(crowd, st.integers(0, 1)) | st.builds(tag, st.integers(0, 50))
STEPS = st.lists(st.tuples(st.lists(BLOCKS, max_size=30), st.integers(0, 30)), max_size=8)


@settings(deadline=None)
@given(st.lists(BLOCKS, max_size=60), STEPS)
def test_any_sequence_of_steps(first: list[bytes], steps: list[tuple[list[bytes], int]]) -> None:
    present, reference, counters = list(first), Reference(), Counters(SIZE, b"".join(first))
    for block in first:
        reference.change(block, 1)
    for added, number in steps:
        present += added
        removed, present = present[:number], present[number:]
        before = set(reference.ones())
        for block in added:
            reference.change(block, 1)
        for block in removed:
            reference.change(block, -1)
        changed = counters.change(b"".join(added), b"".join(removed))
        assert changed.tolist() == sorted(before ^ set(reference.ones()))
        assert ones(counters) == reference.ones()
    counters.change(b"", b"".join(present))
    assert not any(counters.bits())


@pytest.mark.parametrize("number", [FEW, MANY])
def test_more_in_one_bit_than_a_counter_holds(number: int) -> None:
    for first in (0, 300):  # counted one by one or in one step; or there from the beginning
        counters = Counters(SIZE, crowd(0) * first)
        for _ in range(100):
            counters.change(crowd(0) * number, b"")
        assert len(ones(counters)) == 8
        for _ in range(100):
            assert not len(counters.change(b"", crowd(0) * number)) or not first
        assert len(ones(counters)) == (8 if first else 0)
        if first:
            counters.change(b"", crowd(0) * first)
        assert not any(counters.bits())
        assert not counters._beyond
        assert len(counters.change(crowd(0) * number, b"")) == 8


@pytest.mark.parametrize("number", [FEW, MANY])
def test_what_was_never_there_cannot_go(number: int) -> None:
    counters = Counters(SIZE, b"".join(tags(5)))
    with pytest.raises(LocalProtocolError):
        counters.change(b"", b"".join(tags(number, first=100)))


def test_a_tag_that_comes_and_goes_in_one_step_changes_nothing() -> None:
    counters = Counters(SIZE, b"".join(tags(5)))
    for number in (FEW, MANY):
        blocks = b"".join(tags(number, first=100))
        assert not len(counters.change(blocks, blocks))
