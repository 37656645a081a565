"""Deterministic CBOR in a strict profile (RFC 8949 §4.2): one spelling for every value.

in: bytes from outside, or plain values of ours; out: plain values, or bytes.
Profile: unsigned integers, byte strings, text strings, arrays, maps with unsigned integer keys, booleans.
No tags, floats, null, indefinite lengths, duplicate or unsorted keys, trailing bytes.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, NoReturn, TypeAlias

import cbor2

from volly_fed import limits
from volly_fed.errors import BadMessage

Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[int, Value]"

_ONLY_BYTES: Final = {bytes}
"""The types in a list of byte strings, as batches are: such a list is seen to as a whole, for it may be long."""
_INLINE = 24  # numbers below it stand in the head's own byte
_WIDTHS = ((24, 1), (25, 2), (26, 4), (27, 8))
"""(additional information, bytes of the number that follow), RFC 8949 §3."""


def _refuse_tag(*_: object) -> NoReturn:
    raise BadMessage("tags are outside the profile")  # [wire-9]


# Tags are refused while they are read: what cbor2 would make of them is unbounded work for a few bytes (shared
# references expand exponentially or refer to themselves, patterns get compiled, big numbers computed).
# `tag_hook` sees only the tags that cbor2 has no decoder for.
_NO_TAGS = dict.fromkeys(
    (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)


def encode(value: Value) -> bytes:  # [wire-6]
    """`value` as deterministic CBOR. Raises TypeError or ValueError for what is outside the profile: our own bug.

    Not by cbor2, whose buffer grows by copying: a batch of 512 KiB took 0.55 ms there, and takes 0.03 ms here.
    """
    parts: list[bytes] = []
    _put(value, parts)
    return b"".join(parts)


def _put(value: object, parts: list[bytes]) -> None:
    kind = type(value)
    if kind is bytes:
        parts += (_head(0x40, len(value)), value)  # type: ignore[arg-type] # narrowed by `kind`
    elif kind is str:
        text = value.encode()  # type: ignore[attr-defined] # narrowed by `kind`
        parts += (_head(0x60, len(text)), text)
    elif kind is bool:
        parts.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):  # enumerations too
        parts.append(_head(0x00, value))
    elif kind is list or kind is tuple:
        _put_list(value, parts)  # type: ignore[arg-type] # narrowed by `kind`
    elif kind is dict:
        parts.append(_head(0xA0, len(value)))  # type: ignore[arg-type] # narrowed by `kind`
        for key in sorted(value):  # type: ignore[call-overload] # narrowed by `kind`
            parts.append(_head(0x00, key))
            _put(value[key], parts)  # type: ignore[index] # narrowed by `kind`
    else:
        raise TypeError(f"{kind.__name__} is outside the profile")


def _put_list(value: Sequence[object], parts: list[bytes]) -> None:
    parts.append(_head(0x80, len(value)))
    if set(map(type, value)) == _ONLY_BYTES:
        sizes = [*map(len, value)]  # type: ignore[arg-type] # they are bytes
        heads = {size: _head(0x40, size) for size in set(sizes)}
        pairs = zip(map(heads.__getitem__, sizes), value, strict=True)
        parts.extend(chain.from_iterable(pairs))  # type: ignore[arg-type] # as above
    else:
        for item in value:
            _put(item, parts)


@lru_cache(maxsize=1024)  # the envelopes of a batch have few sizes
def _head(major: int, number: int) -> bytes:
    """An item's head: its major type (upper three bits) and its number, in the fewest bytes (RFC 8949 §3)."""
    if 0 <= number < _INLINE:
        return bytes((major | number,))
    for code, width in _WIDTHS:
        if 0 <= number < 1 << (8 * width):
            return (major | code).to_bytes(1, "big") + number.to_bytes(width, "big")
    raise ValueError("integer outside 0 … 2^64-1")


def decode(data: bytes, *, limit: int = limits.MAX_MESSAGE) -> Value:
    """The one value `data` spells.

    Raises BadMessage, and nothing else, for anything outside the profile or longer than `limit` bytes.
    """
    if len(data) > limit:
        raise BadMessage(f"message of {len(data)} bytes; the limit is {limit}")
    try:
        value: Value = cbor2.loads(
            data,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
            max_depth=limits.MAX_DEPTH,  # [wire-8]
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except Exception as error:  # cbor2 leaks TypeError, ValueError and others for hostile tags and keys
        raise BadMessage("not CBOR of the strict profile") from error
    # Every deviation from the deterministic spelling is longer than it (heads that are not minimal, trailing bytes),
    # but for the order of keys, which `_size` looks at. So there is no need to encode a batch again to compare it.
    if _size(value) != len(data):
        raise BadMessage("not deterministic CBOR")  # [wire-7]
    return value


def _size(value: object) -> int:
    """How many bytes the deterministic spelling of `value` has. Raises BadMessage for what is outside the profile."""
    kind = type(value)
    if kind is bytes:
        return _with_head(len(value))  # type: ignore[arg-type] # narrowed by `kind`
    if kind is int:
        return _head_size(value)  # type: ignore[arg-type] # narrowed by `kind`; bignums arrive as int, and are refused there
    if kind is str:
        return _with_head(len(value.encode()))  # type: ignore[attr-defined] # narrowed by `kind`
    if kind is bool:
        return 1
    if kind is list:
        return _list_size(value)  # type: ignore[arg-type] # as above
    if kind is dict:
        return _map_size(value)  # type: ignore[arg-type] # as above
    raise BadMessage("a type outside the profile")


def _list_size(value: list[object]) -> int:
    size = _head_size(len(value))
    if set(map(type, value)) == _ONLY_BYTES:
        sizes: list[int] = [*map(len, value)]  # type: ignore[arg-type] # they are bytes
        heads = {of: _head_size(of) for of in set(sizes)}
        return size + sum(sizes) + sum(map(heads.__getitem__, sizes))
    return size + sum(map(_size, value))


def _map_size(value: dict[object, object]) -> int:
    size, former = _head_size(len(value)), -1
    for key, item in value.items():
        if type(key) is not int or key <= former:
            raise BadMessage("a map's keys are unsigned integers, in order")
        former = key
        size += _head_size(key) + _size(item)
    return size


def _with_head(size: int) -> int:
    return _head_size(size) + size


def _head_size(number: int) -> int:
    """How many bytes `_head` makes of `number`; raises BadMessage, for here it comes from outside."""
    if 0 <= number < _INLINE:
        return 1
    for _, width in _WIDTHS:
        if 0 <= number < 1 << (8 * width):
            return 1 + width
    raise BadMessage("integer outside 0 … 2^64-1")
