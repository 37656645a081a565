"""The filter: three ways to the same bits, one of them pybloom_live's own; and what is refused."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pybloom_live import BloomFilter

from tests.presence.helpers import placement, source, tag, tags
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.presence.counters import Counters
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits, filter_bytes
from volly_fed.presence.shown import Shown

SMALL = FilterClass.TAGS_4K
NUMBERS = st.sets(st.integers(0, 2**32), max_size=60)


def of_pybloom(place: Placement, members: list[bytes]) -> BloomFilter:
    """pybloom_live's filter, made by its own constructor for another rate; its geometry happens to be ours."""
    bloom = BloomFilter(capacity=1, error_rate=2.0**-8)
    bloom.num_slices, bloom.bits_per_slice, bloom.num_bits = 8, place.width, 8 * place.width
    bloom.bitarray = type(bloom.bitarray)(8 * place.width, endian="little")
    bloom.bitarray.setall(False)
    bloom.capacity = len(members)
    bloom.make_hashes = lambda key: iter(place.in_slices(key))
    for member in members:
        bloom.add(member)
    return bloom


@settings(deadline=None)
@given(NUMBERS, NUMBERS, st.sampled_from([FilterClass.TAGS_4K, FilterClass.TAGS_16K]))
def test_all_paths_give_the_same_bits_and_the_same_answers(
    numbers: set[int], others: set[int], size: FilterClass
) -> None:
    place, members = placement(size), [tag(number) for number in sorted(numbers)]
    one_by_one, at_once = Filter(place), Filter(place)
    for member in members:
        one_by_one.add(member)
    at_once.add_all(members)
    counted = Counters(size, place.encrypt(members))
    theirs = of_pybloom(place, members)
    assert one_by_one.to_bytes() == at_once.to_bytes() == counted.bits() == theirs.bitarray.tobytes()
    assert one_by_one.ones == at_once.ones == theirs.bitarray.count()
    read = Filter.from_bytes(place, counted.bits())
    assert read.ones == at_once.ones
    assert all(member in read for member in members)
    for other in map(tag, others):
        assert (other in read) == (other in one_by_one) == (other in theirs)


def test_bits_are_counted_from_the_lowest() -> None:
    place = placement()
    made = Filter(place)
    made.add(tag(0))
    data = made.to_bytes()
    for i, position in enumerate(place.in_slices(tag(0))):
        at = i * place.width + position
        assert data[at // 8] >> at % 8 & 1
    assert sum(byte.bit_count() for byte in data) == 8


@pytest.mark.parametrize("size", FilterClass)
def test_a_full_one_is_as_full_as_the_page_says(size: FilterClass) -> None:
    shown = Shown.draw(1, tags(100), None, source())
    filled = Filter.from_bytes(shown.placement, shown.bits)
    assert abs(filled.ones / filter_bits(shown.size) - 0.393) < 0.01
    strangers = sum(stranger in filled for stranger in tags(20_000, first=1000))
    assert strangers < 30  # 11.4 expected


@pytest.mark.parametrize("size", [0, 1, filter_bytes(SMALL) - 1, filter_bytes(SMALL) + 1, filter_bytes(SMALL) * 4])
@pytest.mark.spec("presence-13")
def test_another_size_is_refused(size: int) -> None:
    with pytest.raises(BadMessage) as caught:
        Filter.from_bytes(placement(), bytes(size))
    assert caught.value.code is ErrorCode.BAD_FILTER


@pytest.mark.spec("presence-13")
def test_what_is_too_full_is_refused() -> None:
    most = int(bounds.MAX_FILL * filter_bits(SMALL))
    bits = np.zeros(filter_bits(SMALL), dtype=np.uint8)
    bits[random.Random(1).sample(range(len(bits)), most)] = 1
    full = Filter.from_bytes(placement(), np.packbits(bits, bitorder="little").tobytes())
    assert full.ones == most
    free = np.flatnonzero(bits == 0)
    before = full.to_bytes()
    with pytest.raises(BadMessage) as caught:
        full.flip(free[:1])
    assert caught.value.code is ErrorCode.BAD_FILTER
    assert full.to_bytes() == before
    full.flip(np.array([free[0], np.flatnonzero(bits)[0]]))  # as full as before
    assert full.ones == most
    bits[free[0]] = 1
    with pytest.raises(BadMessage):
        Filter.from_bytes(placement(), np.packbits(bits, bitorder="little").tobytes())


@given(st.sets(st.integers(0, filter_bits(SMALL) - 1), max_size=80), st.integers(0, 80))
def test_flipping(positions: set[int], already: int) -> None:
    chosen = sorted(positions)
    made = Filter(placement())
    made.flip(np.array(chosen[:already], dtype=np.int64))
    made.flip(np.array(chosen, dtype=np.int64))
    bits = np.unpackbits(np.frombuffer(made.to_bytes(), dtype=np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == chosen[already:]
    assert made.ones == len(chosen[already:])
