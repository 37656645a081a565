"""Messages that are spelled wrongly: items that are not of the profile of `wire.md`, in an otherwise right message.

in: the bytes of a right message; out: bytes by the name of what is wrong with them.
Never: by an encoder: a wrong spelling is put together byte by byte.
"""

from collections.abc import Iterator
from typing import Final

from volly_fed import limits

_UNKNOWN: Final = b"\x18\x63"
"""Field 99, which no message has."""
_BAD_ITEMS: Final = {
    "negative integer": b"\x20",
    "half float": b"\xf9\x00\x00",
    "double float": b"\xfb" + bytes(8),
    "null": b"\xf6",
    "undefined": b"\xf7",
    "other simple value": b"\xf8\xff",
    "false in two bytes": b"\xf8\x14",
    "tag": b"\xc1\x00",
    "unknown tag": b"\xd9\xff\xff\x00",
    "big number": b"\xc2\x41\x01",
    "shared reference": b"\xd8\x1d\x00",
    "integer in two bytes": b"\x18\x05",
    "integer in nine bytes": b"\x1b" + bytes(7) + b"\x05",
    "length in two bytes": b"\x58\x01\x00",
    "indefinite byte string": b"\x5f\x41\x00\xff",
    "indefinite text": b"\x7f\x61a\xff",
    "indefinite array": b"\x9f\x00\xff",
    "indefinite map": b"\xbf\x00\x00\xff",
    "text that is not UTF-8": b"\x61\xff",
    "text with a surrogate": b"\x63\xed\xa0\x80",
    "reserved length": b"\x1c",
    "break alone": b"\xff",
    "map with a text key": b"\xa1\x61a\x00",
    "map with a negative key": b"\xa1\x20\x00",
    "map with a key twice": b"\xa2\x01\x00\x01\x00",
    "map in descending order": b"\xa2\x02\x00\x01\x00",
    "too deep": b"\x81" * limits.MAX_DEPTH + b"\x00",
    "array longer than the message": b"\x9b" + b"\x7f" * 8,
    "byte string longer than the message": b"\x5b" + b"\x7f" * 8,
}


def wrong_spellings(message: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of what a receiver refuses with MALFORMED; `message` is a map of fewer than 23 fields."""
    count, fields = message[0] & 0x1F, message[1:]
    first = 2 if fields[1] < 24 else 3  # field 0 and its number
    more = bytes([0xA0 | count + 1])
    yield "nothing", b""
    yield "cut short", message[:-1]
    yield "a byte too many", message + b"\x00"
    yield "twice in one frame", message + message
    yield "map of indefinite length", b"\xbf" + fields + b"\xff"
    yield "number of fields in two bytes", bytes([0xB8, count]) + fields
    yield "one field announced and not there", more + fields
    yield "field 0 in two bytes", message[:1] + b"\x18\x00" + fields[1:]
    yield "field 0 twice", more + fields[:first] + fields
    yield "field 0 at the end", message[:1] + fields[first:] + fields[:first]
    yield "a field with a text key", more + fields + b"\x61a\x00"
    yield "a field with a negative key", more + fields + b"\x20\x00"
    for name, item in _BAD_ITEMS.items():
        yield f"unknown field: {name}", more + fields + _UNKNOWN + item


def with_unknown_fields(message: bytes) -> bytes:
    """`message` with three fields that nobody knows, of different kinds; a receiver ignores them."""
    count, fields = message[0] & 0x1F, message[1:]
    last = b"\x1b" + b"\xff" * 8  # the greatest number that there is
    return (
        bytes([0xA0 | count + 3])
        + fields
        + _UNKNOWN
        + b"\x82\x01\xa1\x05\xf5"
        + b"\x19\x0a\x0a\x61x"
        + last
        + b"\x41\0"
    )


NO_TYPE: Final = {
    "a map without fields": b"\xa0",
    "a map without field 0": b"\xa1\x01\x00",
    "a type that nobody knows": b"\xa1\x00\x19\xff\xff",
    "a type that is a text": b"\xa1\x00\x61a",
    "a type that is a list": b"\xa1\x00\x80",
    "a type that is true": b"\xa1\x00\xf5",
}
"""Maps that a receiver refuses with UNEXPECTED."""
NO_MAP: Final = {"an array": b"\x81\x01", "a number": b"\x01", "a byte string": b"\x41\x01", "true": b"\xf5"}
"""Items that a receiver refuses with MALFORMED."""
