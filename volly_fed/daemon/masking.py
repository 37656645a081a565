"""WebSocket masking in C: wsproto's own takes a third of the time of a busy channel.

in: a masking key and bytes in any split; out: the same bytes that wsproto's masker makes.
Never: changes what goes over the wire. `install` replaces one name in wsproto; where the C code is missing,
everything works as before, only slower. Source: RFC 6455 §5.3.
"""

from collections.abc import Callable

from wsproto import frame_protocol


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


def install() -> bool:
    """Make wsproto use the C masker; whether it is there. Calling it again does nothing."""
    if _apply_mask is None or not hasattr(frame_protocol, "XorMaskerSimple"):
        return False
    frame_protocol.XorMaskerSimple = FastMasker  # type: ignore[assignment,misc]  # the replacement is the point
    return True
