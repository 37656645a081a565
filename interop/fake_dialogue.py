"""What was said on one connection, as numbered lines, and failures that show all of it.

in: what was sent and what came, as it happens; out: text for people, and Mismatch, which carries that text.
Never: shows a secret: a fake's keys are its own business, and only their digests are shown.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import attrs

from volly_fed.errors import BadMessage
from volly_fed.wire import Message, parse_message

_SHOWN: Final = 8
"""Bytes of a longer byte string that are shown, before its length and its digest."""
_WHOLE: Final = 24


class Mismatch(AssertionError):
    """The other end did not do what the script says. Its text ends with the dialogue so far."""


@attrs.define
class Dialogue:
    """One connection's lines; `clock` gives seconds."""

    title: str
    clock: Callable[[], float]
    lines: list[str] = attrs.field(factory=list)
    _began: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    def sent(self, what: str) -> None:
        """The fake has said this."""
        self._note("->", what)

    def came(self, what: str) -> None:
        """The other end has said this."""
        self._note("<-", what)

    def note(self, what: str) -> None:
        """Neither end has said this."""
        self._note("  ", what)

    def mismatch(self, problem: str) -> Mismatch:
        """The error that tells `problem` and everything before it."""
        return Mismatch(f"{problem}\n{self}")

    def _note(self, arrow: str, what: str) -> None:
        self.lines.append(f"{len(self.lines) + 1:3} {self.clock() - self._began:7.3f} {arrow} {what}")

    def __str__(self) -> str:
        return "\n".join([f"dialogue {self.title}:", *(self.lines or ["    nothing was said"])])


def describe(data: bytes) -> str:
    """One message in a line: decoded where it can be."""
    try:
        message = parse_message(data)
    except BadMessage as error:
        return f"{len(data)} bytes that are no message ({error}): {_bytes(data)}"
    return tell(message)


def tell(message: Message) -> str:
    """A parsed message in a line."""
    fields = ", ".join(f"{a.name}={_value(getattr(message, a.name))}" for a in attrs.fields(type(message)))
    return f"{type(message).__name__}({fields})"


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"[{len(value)} items]"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else repr(value)


def _bytes(data: bytes) -> str:
    if len(data) <= _WHOLE:
        return data.hex() or "(empty)"
    return f"{data[:_SHOWN].hex()}…({len(data)} bytes, {hashlib.sha256(data).hexdigest()[:8]})"
