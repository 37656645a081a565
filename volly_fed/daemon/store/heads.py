"""What there is to know of the envelopes of a chunk, as bytes: each kind for itself, first the ids.

in: ids, expiries, sizes and classes of some envelopes; out: one byte string, and the same again.
Never: reads anything but what this wrote: a file that is damaged is SQLite's to notice.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_ID: Final = 16


class Heads(NamedTuple):
    """Unpacked."""

    ids: Sequence[bytes]
    expiries: Sequence[int]
    sizes: Sequence[int]
    classes: Sequence[int]


def pack_heads(heads: Heads) -> bytes:
    """As they lie in the file."""
    count = len(heads.ids)
    return b"".join(heads.ids) + struct.pack(_form(count), *heads.expiries, *heads.sizes, *heads.classes)


def unpack_heads(packed: bytes, count: int) -> Heads:
    """Those of `count` envelopes."""
    end = count * _ID
    numbers = struct.unpack_from(_form(count), packed, end)
    ids = [packed[at : at + _ID] for at in range(0, end, _ID)]
    return Heads(ids, numbers[:count], numbers[count : 2 * count], numbers[2 * count :])


def _form(count: int) -> str:
    return f"<{count}Q{count}I{count}B"
