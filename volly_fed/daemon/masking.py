"""WebSocket masking in C, and frames made with one copy: wsproto's own take a third of the time of a busy channel.

in: a masking key and bytes in any split, or the payload of a data frame; out: the same bytes that wsproto makes.
Never: changes what goes over the wire. `install` replaces two names in wsproto; where the C code is missing,
everything works as before, only slower. Source: RFC 6455 §5.2, §5.3.
"""

import os
import struct
from collections.abc import Callable
from typing import Final

from wsproto import frame_protocol
from wsproto.frame_protocol import FrameProtocol, Opcode

_SHORT: Final = 125
_TWO_BYTES: Final = 0xFFFF
_FIN: Final = 0x80
_MASKED: Final = 0x80
_KEY_BYTES: Final = 4
_original_frame = FrameProtocol._serialize_frame  # noqa: SLF001 - wsproto has no other place to change


def _find() -> Callable[[bytes | bytearray, bytes], bytes] | None:
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        return None
    return apply_mask


_apply_mask = _find()


class FastMasker:
    """A drop-in for wsproto's XorMaskerSimple, which it is tested against."""

    __slots__ = ("_key",)

    def __init__(self, masking_key: bytes | bytearray) -> None:
        self._key = bytes(masking_key)

    def process(self, data: bytes | bytearray) -> bytes | bytearray:
        """`data` masked, or unmasked; the next call goes on with the key byte after the last one used."""
        if _apply_mask is None:
            raise RuntimeError("install() said that the C masker is missing")
        masked = _apply_mask(data, self._key)
        if used := len(data) & 3:
            self._key = self._key[used:] + self._key[:used]
        return masked


def serialize_frame(
    protocol: FrameProtocol, opcode: Opcode, payload: bytes | bytearray = b"", fin: bool = True
) -> bytes | bytearray:
    """A drop-in for FrameProtocol._serialize_frame, which makes four copies of the payload where one will do.

    Control frames and connections with extensions (we negotiate none) are left to the original.
    """
    if _apply_mask is None or opcode.iscontrol() or protocol.extensions:
        return _original_frame(protocol, opcode, payload, fin)
    first = (_FIN if fin else 0) | int(opcode)
    masked = _MASKED if protocol.client else 0
    size = len(payload)
    if size <= _SHORT:
        header = bytes((first, masked | size))
    elif size <= _TWO_BYTES:
        header = struct.pack("!BBH", first, masked | 126, size)
    else:
        header = struct.pack("!BBQ", first, masked | 127, size)
    if not masked:
        return b"".join((header, payload))
    key = os.urandom(_KEY_BYTES)  # fresh and unpredictable for every frame (RFC 6455 §5.3)
    return b"".join((header, key, _apply_mask(payload, key)))


def install() -> bool:
    """Make wsproto use the C masker and the cheaper frames; whether that is possible. Twice is once."""
    if _apply_mask is None or not hasattr(frame_protocol, "XorMaskerSimple"):
        return False
    frame_protocol.XorMaskerSimple = FastMasker  # type: ignore[assignment,misc]  # the replacement is the point
    FrameProtocol._serialize_frame = serialize_frame  # type: ignore[assignment]  # noqa: SLF001 - the same here
    return True
