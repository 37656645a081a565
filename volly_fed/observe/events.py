"""Which fields a log line may have, and how each value is made harmless before it is written.

in: an event name and raw values; out: a flat dict that holds nothing but allowed fields.
Never: lets through a field that is not in FIELDS, an address or edge name in plain, or text that looks like a key, a
mailbox, a card or bytes. House rule: a peer is public; its users, our edges' names and our users' addresses are not.
"""

import enum
import hmac
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

_MAX_TEXT = 300
_DIGEST_CHARS = 8
_ENCODED = re.compile(r"[A-Za-z0-9+/_=-]{32,}")
_BYTES = re.compile(r"""\bb(?:ytearray\()?(['"]).*?\1""")
_REMOVED = "[removed]"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


def scrub(text: object) -> str:
    """`text` on one line of at most 300 characters, without anything as long as a key, a mailbox or a card.

    Words of 32 and more characters of base64, base32 or hexadecimal are replaced, and so are printed bytes.
    """
    line = _UNPRINTABLE.sub(" ", str(text))
    line = _ENCODED.sub(_REMOVED, _BYTES.sub(_REMOVED, line))
    return line if len(line) <= _MAX_TEXT else line[: _MAX_TEXT - 1] + "…"


def number(value: object) -> int | float:
    """`value` if it is a number; times are rounded to microseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return -1
    return int(value) if isinstance(value, int) else round(value, 6)


def word(value: object) -> str:
    """One of our own words (a role, a level, a code): short, and an enumeration member by its name."""
    text = value.name if isinstance(value, enum.Enum) and not isinstance(value, str) else str(value)
    return scrub(text)[:64]


def domain(value: object) -> str:
    """A peer's domain or our own. Labels may be long, so it is not scrubbed; anything but a name is removed."""
    text = str(value)
    return text if re.fullmatch(r"[a-z0-9.-]{1,253}", text) else _REMOVED


def fingerprint(value: object) -> str:
    """The text form of a domain's identity fingerprint, which its zone publishes anyway."""
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9_-]{43}", text) else _REMOVED


FIELDS: Mapping[str, Callable[[object], object]] = {
    "domain": domain,
    "peer": domain,
    "fingerprint": fingerprint,
    "previous": fingerprint,
    "listen": scrub,
    "subject": scrub,  # our own records, zones of trust anchors, resolvers
    "reason": scrub,
    "edge": word,
    "device": word,
    "role": word,
    "trust": word,
    "before": word,
    "code": word,
    "gate": word,
    "direction": word,
    "verdict": word,
    "group": word,
    "signature": word,
    "provider": scrub,
    "version": word,
    "size": number,
    "age_s": number,
    "count": number,
    "bytes": number,
    "retry_in_s": number,
    "wait_s": number,
    "ready_in_s": number,
    "took_ms": number,
}
"""Every field there is. A new one needs a reason why it tells nothing about a user."""


class Digest:
    """Stands in for addresses and edge names: the same within one process, meaningless outside it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, kind: str, value: str) -> str:
        """8 hexadecimal characters of HMAC-SHA256 under this process's key; `kind` keeps the uses apart."""
        return hmac.digest(self._key, f"{kind}\0{value}".encode(), "sha256").hex()[:_DIGEST_CHARS]


def allow(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor that keeps the allowed fields, each made harmless, and counts the others."""
    kept: dict[str, Any] = {"event": word(line.get("event", ""))}
    dropped = 0
    for name, value in line.items():
        reader = FIELDS.get(name)  # [security-5]
        if reader is not None and value is not None:
            kept[name] = reader(value)
        elif name != "event" and reader is None:
            dropped += 1
    return kept | {"dropped_fields": dropped} if dropped else kept
