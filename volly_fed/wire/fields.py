"""The kinds of field a message has: each is a check that returns the value or raises BadMessage.

in: one decoded CBOR value; out: the value in the type the message class declares.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import BadMessage
from volly_fed.names import BadName, DomainName, parse_domain

Check = Callable[[object], Any]
T = TypeVar("T")
_MAX_UINT = (1 << 64) - 1
_ONLY_BYTES = {bytes}


def uint(value: object) -> int:
    """An unsigned integer below 2^64."""
    if type(value) is not int or not 0 <= value <= _MAX_UINT:
        raise BadMessage("an unsigned integer is wanted")
    return value


def bstr(*, size: int | None = None, limit: int = limits.MAX_MESSAGE) -> Check:
    """A byte string of exactly `size` bytes, or of at most `limit`."""

    def check(value: object) -> bytes:
        if type(value) is not bytes or len(value) > limit or (size is not None and len(value) != size):
            raise BadMessage(f"a byte string of {size if size is not None else f'at most {limit}'} bytes is wanted")
        return value

    return check


def text(value: object) -> str:
    """Text for people, at most limits.MAX_TEXT characters, without control characters (it reaches terminals)."""
    if type(value) is not str or len(value) > limits.MAX_TEXT or not value.isprintable():
        raise BadMessage("a short printable text is wanted")  # [wire-21]
    return value


def domain(value: object) -> DomainName:
    """A domain name in canonical form; another spelling of it is refused, not folded."""
    if type(value) is not str:
        raise BadMessage("a domain name is wanted")
    try:
        name = parse_domain(value)
    except BadName as error:
        raise BadMessage(str(error)) from error
    if name != value:
        raise BadMessage("a domain name in canonical form is wanted")  # [wire-18]
    return name


def error_code(value: object) -> ErrorCode:
    """A registered error code; one that we do not know reads as UNEXPECTED, so that new codes can be added."""
    number = uint(value)
    try:
        return ErrorCode(number)
    except ValueError:
        return ErrorCode.UNEXPECTED  # [wire-19]


def array(of: Check, *, limit: int) -> Check:
    """An array of at most `limit` items of one kind, as a tuple."""

    def check(value: object) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > limit:
            raise BadMessage(f"an array of at most {limit} items is wanted")
        return tuple(of(item) for item in value)

    return check


def bstr_array(*, limit: int, item_limit: int, size: int | None = None) -> Check:
    """An array of byte strings, checked as a whole: batches come this way."""
    least = 0 if size is None else size
    most = item_limit if size is None else min(size, item_limit)

    def check(value: object) -> list[bytes]:
        if type(value) is not list or len(value) > limit:
            raise BadMessage(f"an array of at most {limit} byte strings is wanted")
        if not value:
            return value
        if set(map(type, value)) != _ONLY_BYTES:
            raise BadMessage("an array of byte strings is wanted")
        sizes = set(map(len, value))
        if min(sizes) < least or max(sizes) > most:
            raise BadMessage(f"byte strings of at most {item_limit} bytes are wanted")
        return value

    return check


def record(*kinds: Check) -> Check:
    """An array with one item of each kind, in order, as a tuple."""

    def check(value: object) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(kinds):
            raise BadMessage(f"an array of {len(kinds)} items is wanted")
        return tuple(kind(item) for kind, item in zip(kinds, value, strict=True))

    return check


def extension_map(value: object) -> dict[int, bytes]:
    """Extensions by number; unknown numbers (GREASE among them) are kept for the transcript and otherwise ignored."""
    if type(value) is not dict or len(value) > limits.MAX_EXTENSIONS:
        raise BadMessage(f"a map of at most {limits.MAX_EXTENSIONS} extensions is wanted")
    for item in value.values():
        if type(item) is not bytes or len(item) > limits.MAX_EXTENSION:
            raise BadMessage(f"an extension has at most {limits.MAX_EXTENSION} bytes")
    return value


def field(number: int, check: Check, **kwargs: Any) -> Any:
    """An attrs field that stands under `number` in the message's map."""
    return attrs.field(metadata={"number": number, "check": check}, **kwargs)
