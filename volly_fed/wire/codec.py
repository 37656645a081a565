"""Deterministic CBOR in a strict profile (RFC 8949 §4.2): one spelling for every value.

in: bytes from outside, or plain values of ours; out: plain values, or bytes.
Profile: unsigned integers, byte strings, text strings, arrays, maps with unsigned integer keys, booleans.
No tags, floats, null, indefinite lengths, duplicate or unsorted keys, trailing bytes.
"""

from typing import NoReturn, TypeAlias

import cbor2

from volly_fed import limits
from volly_fed.errors import BadMessage

Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[int, Value]"

_LEAVES = frozenset({bytes, str, bool})
_MAX_UINT = (1 << 64) - 1


def _refuse_tag(*_: object) -> NoReturn:
    raise BadMessage("tags are outside the profile")


# Tags are refused while they are read: what cbor2 would make of them is unbounded work for a few bytes (shared
# references expand exponentially or refer to themselves, patterns get compiled, big numbers computed).
# `tag_hook` sees only the tags that cbor2 has no decoder for.
_NO_TAGS = dict.fromkeys(
    (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)


def encode(value: Value) -> bytes:
    """`value` as deterministic CBOR. The caller keeps to the profile; the tests hold it to that."""
    return cbor2.dumps(value, canonical=True)


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
            max_depth=limits.MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except Exception as error:  # cbor2 leaks TypeError, ValueError and others for hostile tags and keys
        raise BadMessage("not CBOR of the strict profile") from error
    _check_profile(value)
    if encode(value) != data:  # non-minimal lengths, unsorted keys, trailing bytes
        raise BadMessage("not deterministic CBOR")
    return value


def _check_profile(value: object) -> None:
    kind = type(value)
    if kind in _LEAVES:
        return
    if kind is int:
        if not 0 <= value <= _MAX_UINT:  # type: ignore[operator] # narrowed by `kind`; bignums arrive as int
            raise BadMessage("integer outside 0 … 2^64-1")
    elif kind is list:
        for item in value:  # type: ignore[attr-defined] # narrowed by `kind`
            if type(item) is not bytes:  # the hot case: a batch of byte strings
                _check_profile(item)
    elif kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined] # narrowed by `kind`
            if type(key) is not int or not 0 <= key <= _MAX_UINT:
                raise BadMessage("a map's keys are unsigned integers")
            _check_profile(item)
    else:
        raise BadMessage("a type outside the profile")
