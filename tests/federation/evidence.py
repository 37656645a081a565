"""What a curious operator can lay hands on, and the search for things that must not be there.

in: bytes from links, files and logs, by the place where they were found; secrets by name; out: findings.
A secret is looked for in every spelling in which it could have been written, whole or in part.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from volly_fed.wire import Message, codec, parse_message
from volly_fed.wire.messages import Batch, Deliver, Submit

PIECE = 16
"""Bytes or characters of a secret that give it away: short enough to catch a part of it, too long for chance."""
PARTS = 4
"""Pieces from the beginning, the middle and the end of what is long."""

Places = dict[str, bytes]
Finding = tuple[str, str]
"""(which secret, where)."""

FIELDS: Mapping[str, set[str]] = {
    "Hello": {"versions", "own", "wanted", "identity", "nonce", "extensions"},
    "Auth": {"signature", "statement"},  # the statement is about a homeserver's own keys
    "Refuse": {"code", "text", "retry_after"},
    "Open": {"stream"},
    "Batch": {"stream", "first", "envelopes"},
    "Ack": {"stream", "cursor", "refusals", "window", "window_bytes"},
    "Close": {"code", "text", "retry_after"},
    "Ping": {"token"},
    "Pong": {"token"},
    "Claim": {"request", "key"},
    "Challenge": {"request", "ciphertext", "nonce", "domain", "edge", "expiry"},
    "Proof": {"request", "mac", "registration"},
    "Claimed": {"request", "mailbox"},
    "NotClaimed": {"request", "code", "text"},
    "Acknowledge": {"mailbox", "ids", "mac"},
    "Release": {"mailbox"},
    "Receipt": {"refused"},
    "Welcome": {"domain", "edge"},
    "Submit": {"envelopes"},
    "Submitted": {"accepted", "refused"},
    "Deliver": {"envelopes"},
}
"""All that links may carry, written down a second time: a field more is a decision about privacy."""
ENVELOPE_ITEMS = 8
"""Version, mailbox, domain, id, expiry, class, capability, body."""
COLUMNS: Mapping[str, set[str]] = {
    "peer": {"number", "name"},
    "outbound": {"row", "last", "owner", "class", "queued", "expiry", "heads", "frames"},  # heads: ids, expiries, sizes
    "outbound_gone": {"row", "last", "bytes"},
    "mailbox": {"number", "id", "claimed", "registration"},
    "inbound": {"row", "last", "owner", "class", "heads", "frames"},
    "inbound_gone": {"row", "last", "bytes"},
    "seen": {"expiry", "id", "row"},
    "stream": {"peer", "id", "cursor", "updated"},
    "refused": {"peer", "stream", "sequence", "code", "text"},  # the text is one of our own
    "pin": {"domain", "fingerprint", "first_seen", "last_seen", "sequence", "known"},
    "change": {"domain", "fingerprint", "since", "ready_at", "sequence", "not_after", "how"},
    "quarantine": {"domain", "fingerprint", "since", "reason"},
    "evidence": {"row", "domain", "obtained", "identity", "identity_next", "digest", "proof"},
    "backoff": {"peer", "failures", "next_attempt"},
    "held": {"peer", "since"},
    "presence": {"peer", "saved", "shown", "viewed"},  # filters: bits that only contacts can read
    "sqlite_sequence": {"name", "seq"},
}
"""All that a homeserver's database may hold, for the same reason."""


def tapped(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """(process, subprotocol, message) of all that the taps in `folder` wrote."""
    for path in sorted(folder.iterdir()):
        process, data, at = path.name.rpartition(" ")[0], path.read_bytes(), 0
        while (end := data.find(b"\n", at)) >= 0:
            protocol, _direction, size = data[at:end].decode().split(" ")
            at = end + 1 + int(size)
            yield process, protocol, data[end + 1 : at]


def find(places: Mapping[str, bytes], secrets: Mapping[str, bytes]) -> set[Finding]:
    """Every secret that shows in a place, whole or in a part of PIECE bytes."""
    everything = b"".join(places.values())  # one look at all of it, since hardly anything is ever found
    found = [(name, piece) for name, secret in secrets.items() for piece in pieces(secret) if piece in everything]
    return {(name, place) for name, piece in found for place, data in places.items() if piece in data}


def spellings(secret: bytes) -> Iterator[bytes]:
    """How `secret` could have been written."""
    yield secret
    digest = hashlib.sha256(secret).digest()  # an unkeyed hash of a name is as good as the name
    for raw in (secret, digest):
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield base64.b32encode(raw).rstrip(b"=")
        yield base64.b32encode(raw).rstrip(b"=").lower()
        for shift in range(3):  # inside of something else that was encoded
            spelt = base64.b64encode(bytes(shift) + raw)[4 if shift else 0 :].rstrip(b"=")
            yield spelt
            yield spelt.translate(bytes.maketrans(b"+/", b"-_"))
    yield digest


def pieces(secret: bytes) -> set[bytes]:
    """Parts of `secret` in all its spellings."""
    parts: set[bytes] = set()
    for spelling in spellings(secret):
        cut = [spelling[at : at + PIECE] for at in range(0, len(spelling) - PIECE + 1, PIECE)]
        middle = len(cut) // 2
        parts.update(cut[:PARTS], cut[middle : middle + PARTS], cut[-PARTS:])
    return parts


def unexpected_fields(message: bytes) -> list[str]:
    """What a message carries beyond FIELDS, and its envelopes beyond ENVELOPE_ITEMS."""
    decoded: Message = parse_message(message)
    names = {a.name for a in type(decoded).__attrs_attrs__}
    extra = [f"{type(decoded).__name__}.{name}" for name in names - FIELDS[type(decoded).__name__]]
    numbers: Any = codec.decode(message)
    extra += [f"{type(decoded).__name__} field {number}" for number in numbers if number > len(names)]
    if isinstance(decoded, Batch | Submit | Deliver):
        items: list[Any] = [codec.decode(frame) for frame in decoded.envelopes]
        extra += [f"Envelope of {len(item)} items" for item in items if len(item) != ENVELOPE_ITEMS]
    return extra
