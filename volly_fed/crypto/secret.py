"""Bytes that must not be shown.

in: key material; out: a wrapper whose every textual form is "Secret(32 bytes)".
Never: prints, formats, pickles or iterates its content, or compares it in variable time. Only `reveal` gives it out.
Weakness: Python cannot wipe `bytes`, so the content stays in memory until the allocator reuses it; keep secrets few
and short-lived, and run the daemon without core dumps and with encrypted or no swap.
"""

import hmac
from typing import Any, NoReturn


class Secret:
    """Immutable secret bytes. Equality takes the same time wherever the contents differ; therefore no hash either."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        """Wrap `value`; raises TypeError unless it is `bytes`."""
        if not isinstance(value, bytes):
            raise TypeError("a Secret wraps bytes")
        self._value = value

    def reveal(self) -> bytes:
        """The content. Pass the result on at once: a local variable would show in tracebacks that print locals."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
