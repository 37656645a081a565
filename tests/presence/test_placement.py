"""Placement: the formula, and that one by one and all at once it is the same."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from tests.presence.helpers import placement, tag, tags
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.presence.placement import (
    each_slice,
    filter_bytes,
    locate,
    locate_all,
    parse_class,
    slice_bits,
    spread,
)

BLOCKS = st.lists(st.binary(min_size=16, max_size=16), max_size=40)
SIZES = st.sampled_from(FilterClass)


def test_the_geometry_of_the_page() -> None:
    assert [bounds.CAPACITY[size] for size in FilterClass] == [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20]
    assert [filter_bytes(size) for size in FilterClass] == [8 << 10, 32 << 10, 128 << 10, 512 << 10, 2 << 20]
    assert bounds.SLICES == 8


@given(st.binary(min_size=16, max_size=16), SIZES, st.binary(min_size=32, max_size=32))
@pytest.mark.spec("presence-8")
def test_the_formula_of_the_page(one: bytes, size: FilterClass, key: bytes) -> None:
    m = 2 * bounds.CAPACITY[size]
    e = Cipher(AES256(key), ECB()).encryptor().update(one)
    a, s = int.from_bytes(e[:8], "little"), int.from_bytes(e[8:], "little") | 1
    assert placement(size, key).in_slices(one) == [(a + i * s) % m for i in range(8)]


@given(BLOCKS, SIZES)
def test_all_at_once_is_one_by_one(blocks: list[bytes], size: FilterClass) -> None:
    width = slice_bits(size)
    slices = [row.tolist() for row in each_slice(b"".join(blocks), width)]
    assert slices == [[spread(block, width)[i] for block in blocks] for i in range(8)]
    assert sorted(locate_all(b"".join(blocks), width).tolist()) == sorted(p for b in blocks for p in locate(b, width))


def test_many_tags_are_encrypted_as_each_is() -> None:
    place = placement()
    assert place.encrypt(tags(5)) == b"".join(place.encrypt([tag(i)]) for i in range(5))


def test_a_filters_name_follows_from_its_key() -> None:
    assert placement().filter_id == placement(FilterClass.TAGS_1M).filter_id
    assert placement().filter_id != placement(key=b"l" * 32).filter_id
    assert b"k" * 4 not in placement().filter_id


@pytest.mark.parametrize("value", [5, 2**64 - 1, True, "0", None])
def test_no_such_class(value: object) -> None:
    with pytest.raises(BadMessage):
        parse_class(value)
    assert parse_class(4) is FilterClass.TAGS_1M


def test_no_such_class_has_a_code() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_class(5)
    assert caught.value.code is ErrorCode.BAD_FILTER
