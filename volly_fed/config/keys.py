"""The text form of key files: a seed between two lines that say what it is, with a check against damage.

in: a seed and its kind, or the text of a file; out: the text, or the seed as a Secret.
Never: shows a byte of the seed in an error. Seeds, not expanded keys: they are short and every provider takes them.
"""

import base64
import binascii
import enum
import zlib

from volly_fed.crypto.secret import Secret
from volly_fed.errors import LocalError

_LINE = 64
_MIN_LINES = 5


class KeyKind(enum.Enum):
    """What a key file holds: the words of its first line, and the size of its seed in bytes."""

    IDENTITY = ("VOLLY-FED IDENTITY SEED", 64)
    """Composite ML-DSA-65 + Ed25519: ML-DSA seed, then Ed25519 seed."""
    TLS = ("VOLLY-FED TLS SEED", 32)
    """ML-DSA-65."""

    def __init__(self, words: str, size: int) -> None:
        self.words = words
        self.size = size


class DamagedKey(LocalError):
    """The text is not a key file of the wanted kind; the message says how, and nothing of the content."""


def format_key(kind: KeyKind, seed: Secret) -> str:
    """The content of a key file. The check is a CRC-32: it finds damage, not forgery."""
    raw = seed.reveal()
    if len(raw) != kind.size:
        raise ValueError(f"a {kind.words} has {kind.size} bytes")
    encoded = base64.b64encode(raw).decode("ascii")
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return "\n".join([_begin(kind.words), _check(raw), "", *lines, _end(kind.words)]) + "\n"


def parse_key(text: str, kind: KeyKind, source: object) -> Secret:
    """The seed in `text`; raises DamagedKey that names `source`, for another kind of file and for any damage."""
    lines = [line.strip() for line in text.strip().splitlines()]
    other = next((known.words for known in KeyKind if lines and lines[0] == _begin(known.words)), None)
    if other is not None and other != kind.words:
        raise DamagedKey(f"{source} holds a {other}, not a {kind.words}\nnote: put the files back where they belong")
    raw = _seed_of(lines, kind)
    if raw is None:
        raise DamagedKey(
            f"{source} is damaged: it is not a whole {kind.words} file\n"
            "note: restore it from your backup; do not run init again, that would make another identity"
        )
    return Secret(raw)


def _seed_of(lines: list[str], kind: KeyKind) -> bytes | None:
    """The seed, or None for any damage: an error could quote the content."""
    if len(lines) < _MIN_LINES or (lines[0], lines[2], lines[-1]) != (_begin(kind.words), "", _end(kind.words)):
        return None
    try:
        raw = base64.b64decode("".join(lines[3:-1]), validate=True)
    except binascii.Error:
        return None
    intact = len(raw) == kind.size and lines[1] == _check(raw)
    return raw if intact else None


def _check(raw: bytes) -> str:
    return f"Check: {zlib.crc32(raw):08x}"


def _begin(words: str) -> str:
    return f"-----BEGIN {words}-----"


def _end(words: str) -> str:
    return f"-----END {words}-----"
