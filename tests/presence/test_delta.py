"""Deltas: one spelling for each list of positions, and nothing but BadMessage for other bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed.codepoints import FilterClass
from volly_fed.errors import BadMessage
from volly_fed.presence import bounds
from volly_fed.presence.delta import encode_delta, parse_delta, size_class
from volly_fed.presence.placement import filter_bits

BITS = st.sampled_from([filter_bits(size) for size in FilterClass])


def spell(positions: list[int], bits: int) -> bytes:
    made = encode_delta(np.array(positions, dtype=np.int64), bits)
    assert made is not None
    return made


@st.composite
def a_delta(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(BITS)
    span = draw(st.sampled_from([bits, 5000]))
    return sorted(draw(st.sets(st.integers(0, span - 1), max_size=300))), bits


@settings(deadline=None)
@given(a_delta())
def test_there_and_back(case: tuple[list[int], int]) -> None:
    positions, bits = case
    data = spell(positions, bits)
    assert parse_delta(data, bits).tolist() == positions
    assert size_class(len(data)) == len(data)


@pytest.mark.parametrize("count", [1, 30, 1000, 27_000, 150_000])
def test_random_positions_cost_what_they_must(count: int) -> None:
    bits = filter_bits(FilterClass.TAGS_1M)
    positions = np.unique(np.random.default_rng(count).integers(0, bits, count))
    data = encode_delta(positions, bits)
    assert data is not None
    assert (parse_delta(data, bits) == positions).all()
    entropy = len(positions) * (np.log2(bits / len(positions)) + 1.45) / 8
    assert len(data) <= size_class(int(1.05 * entropy) + 8)


def test_too_much_for_a_delta() -> None:
    bits = filter_bits(FilterClass.TAGS_1M)
    assert encode_delta(np.arange(0, bits, 2), bits) is None


def test_size_classes() -> None:
    assert [size_class(n) for n in (0, 64, 65, 96, 97, 128, 129, 200)] == [64, 64, 96, 96, 128, 128, 192, 256]
    assert size_class(bounds.MAX_DELTA) == bounds.MAX_DELTA


def test_the_format_bit_by_bit() -> None:
    bits = filter_bits(FilterClass.TAGS_4K)  # 65536; two positions: r = floor(log2(11*65536/32)) = 14
    data = spell([5, 40_000], bits)  # gaps 5 and 39994 = 2 * 2^14 + 7226
    stream = 5 | 7226 << 14 | 1 << 28 | 1 << (28 + 1 + 2)
    assert data == (2).to_bytes(4, "little") + stream.to_bytes(60, "little")


GOOD = spell([5, 40_000], 65536)
HOSTILE = {
    "empty": b"",
    "shorter than the smallest": GOOD[:-1],
    "not of a size class": GOOD + b"\0",
    "padded to a larger class": GOOD + bytes(32),
    "larger than the largest": bytes(bounds.MAX_DELTA * 3 // 2),
    "says more than there is": b"\x03" + GOOD[1:],
    "says less than there is": b"\x01" + GOOD[1:],
    "says four billion": b"\xff" * 4 + GOOD[4:],
    "says as many as the filter has bits": (65536).to_bytes(4, "little") + GOOD[4:],
    "all ones": b"\x02\0\0\0" + b"\xff" * 60,
    "all zeros": b"\x02\0\0\0" + bytes(60),
    "something behind the end": GOOD[:-1] + b"\x80",
    "nothing, in too many bytes": bytes(96),
    "beyond the filter": b"\x01\0\0\0" + ((1 << 15) - 1 | 1 << 17 | 1 << 40).to_bytes(60, "little"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.spec("presence-15")
def test_hostile(name: str) -> None:
    with pytest.raises(BadMessage):
        parse_delta(HOSTILE[name], 65536)


def test_just_beyond_the_filter() -> None:
    data = spell([65_536], 65_536 * 4)  # r is larger for the larger filter, so it is spelled by hand
    with pytest.raises(BadMessage):
        parse_delta(data, 65_536)
    for position in (65_535, 65_536):
        width = 15
        low, high = position & ((1 << width) - 1), position >> width
        made = b"\x01\0\0\0" + (low | 1 << (width + high)).to_bytes(60, "little")
        if position < 65_536:
            assert parse_delta(made, 65_536).tolist() == [position]
        else:
            with pytest.raises(BadMessage, match="beyond"):
                parse_delta(made, 65_536)


@settings(deadline=None)
@given(st.binary(min_size=0, max_size=200) | st.binary(min_size=64, max_size=64), st.integers(0, 20), BITS)
@pytest.mark.spec("presence-15")
def test_any_bytes_are_the_one_spelling_or_bad_message(data: bytes, count: int, bits: int) -> None:
    for candidate in (data, count.to_bytes(4, "little") + data[4:]):
        try:
            positions = parse_delta(candidate, bits)
        except BadMessage:
            continue
        assert spell(positions.tolist(), bits) == candidate


@settings(deadline=None)
@given(a_delta(), st.data())
def test_any_damage_is_another_list_or_bad_message(case: tuple[list[int], int], draw: st.DataObject) -> None:
    data, bits = bytearray(spell(*case)), case[1]
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    try:
        positions = parse_delta(bytes(data), bits)
    except BadMessage:
        return
    assert spell(positions.tolist(), bits) == bytes(data)
