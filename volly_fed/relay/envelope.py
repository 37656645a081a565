"""The envelope: all that a relay may know of what it carries, and the bytes that it carries unchanged.

in: one byte string of a batch; out: an Envelope; and back, once, where the envelope is made.
Wire form: the deterministic CBOR array [1, mailbox, domain, id, expiry, class, capability, body].
Never: a sender, a name of a user, or a body whose size is not one of limits.BODY_CLASSES.
Source: RFC 8949 §4.2 (one spelling for every value).
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import sub
from typing import Final, NamedTuple

import attrs

from volly_fed import limits
from volly_fed.codepoints import ENVELOPE_VERSION, EnvelopeClass, ErrorCode
from volly_fed.errors import BadMessage
from volly_fed.names import BadName, DomainName, MailboxId, parse_domain
from volly_fed.wire import codec

ID_BYTES: Final = 16
CAPABILITY_BYTES: Final = 16
MAILBOX_BYTES: Final = 32


@attrs.define
class Envelope:
    """`mailbox@domain`, id (16 bytes), expiry (Unix seconds), class, capability (16 bytes) and the sealed body.

    Not frozen, because a frozen class costs three times as much to make and one is made per envelope relayed;
    nobody changes one. Its repr shows neither mailbox nor capability nor body.
    """

    mailbox: MailboxId = attrs.field(repr=False)
    domain: DomainName
    id: bytes = attrs.field(repr=False)
    expiry: int
    urgency: EnvelopeClass
    capability: bytes = attrs.field(repr=False)
    body: bytes = attrs.field(repr=lambda body: f"{len(body)} bytes")


def encode_envelope(envelope: Envelope) -> bytes:
    """The one spelling of `envelope`. The caller keeps to the field sizes; `parse_envelope` holds it to that."""
    return codec.encode(
        [
            ENVELOPE_VERSION,
            envelope.mailbox,
            envelope.domain,
            envelope.id,
            envelope.expiry,
            int(envelope.urgency),
            envelope.capability,
            envelope.body,
        ]
    )


# Why not codec.decode: an envelope's head has a fixed layout, and reading it by position costs a third of decoding,
# checking and encoding again, which is what strictness costs in general. tests/relay/test_envelope.py holds this
# reader to exactly what the codec accepts.

_ARRAY: Final = 0x88
_HEAD: Final = bytes([_ARRAY, ENVELOPE_VERSION, 0x58, MAILBOX_BYTES])
_MAILBOX: Final = slice(len(_HEAD), len(_HEAD) + MAILBOX_BYTES)
_DOMAIN: Final = _MAILBOX.stop
_TEXT: Final = 0x60
_TEXT_1: Final = 0x78  # the length follows in one byte
_BSTR_16: Final = 0x50
_INLINE: Final = 24  # values and lengths below it stand in the head byte itself
_UINT_WIDTH: Final = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}
"""Head byte -> (bytes that follow, least value that needs them)."""
_URGENCY: Final = {int(kind): kind for kind in EnvelopeClass}
_BODY_HEAD: Final = {codec.encode(bytes(size))[: 3 if size < 1 << 16 else 5]: size for size in limits.BODY_CLASSES}
_LAYOUTS: Final = {
    _TEXT + size: struct.Struct(f">{len(_HEAD)}s{MAILBOX_BYTES}s{1 + size}sB{ID_BYTES}sBIH{CAPABILITY_BYTES}s3s")
    for size in range(1, _INLINE)
}
"""By the head of the domain, everything before the body as nearly all envelopes have it: one call reads it.

Start, mailbox, domain, the id's head, id, the expiry's head, expiry, class and the capability's head, capability, the
body's head.
"""
_EXPIRY_4: Final = 0x1A
_KINDS: Final = {kind << 8 | _BSTR_16: kind for kind in _URGENCY}
_SHORTEST: Final = limits.BODY_CLASSES[0] + len(_HEAD) + MAILBOX_BYTES + ID_BYTES + CAPABILITY_BYTES
"""Longer than any head, so that the reader below never indexes beyond the end."""


def parse_envelope(data: bytes) -> Envelope:
    """The envelope `data` spells.

    Raises BadMessage, and nothing else: another version (code UNSUPPORTED_VERSION), another layout, a field out of
    its range, a body of a size outside limits.BODY_CLASSES. An expiry in the past is not an error (check_lifetime).
    """
    mailbox, domain, identity, expiry, urgency, capability, size = read_head(data)
    return Envelope(mailbox, domain, identity, expiry, _URGENCY[urgency], capability, data[-size:])


class Head(NamedTuple):
    """What a relay needs to know of an envelope, without its body. A tuple, for one is made per envelope relayed."""

    mailbox: MailboxId
    domain: DomainName
    id: bytes
    expiry: int
    urgency: int
    capability: bytes
    size: int
    """Bytes of the body, which is the end of the envelope."""


def read_head(data: bytes) -> Head:
    """The head of the envelope that `data` spells; raises exactly as `parse_envelope` does. No body is copied."""
    if not _SHORTEST < len(data) <= limits.MAX_ENVELOPE:
        raise _wrong_head(data)
    layout = _LAYOUTS.get(data[_DOMAIN])
    if layout is None:
        return _read_unusual(data)
    start, mailbox, domain, id_head, identity, expiry_head, expiry, kind, capability, body = layout.unpack_from(data)
    urgency, size = _KINDS.get(kind), _BODY_HEAD.get(body)
    if (
        start == _HEAD
        and id_head == _BSTR_16
        and expiry_head == _EXPIRY_4
        and expiry >= 1 << 16
        and urgency is not None
        and size is not None
        and len(data) == layout.size + size
    ):
        return Head(mailbox, _canonical_domain(domain), identity, expiry, urgency, capability, size)
    return _read_unusual(data)


class Heads(NamedTuple):
    """The heads of a batch of envelopes for one domain, as columns: no object is made for an envelope as a whole."""

    domain: DomainName
    mailboxes: tuple[MailboxId, ...]
    ids: tuple[bytes, ...]
    expiries: tuple[int, ...]
    urgencies: list[int]
    capabilities: tuple[bytes, ...]


def read_heads(frames: Sequence[bytes]) -> Heads | None:
    """The heads of `frames`, at least one, where all are for the same domain and laid out as nearly all are.

    None: `read_head` has to look at each. It alone says what is wrong; what is taken here, it reads the same.
    """
    layout = _LAYOUTS.get(frames[0][_DOMAIN]) if min(map(len, frames)) > _SHORTEST else None
    if layout is None:
        return None
    starts, mailboxes, domains, id_heads, ids, expiry_heads, expiries, kinds, capabilities, bodies = zip(
        *map(layout.unpack_from, frames), strict=True
    )
    urgencies = [*map(_KINDS.get, kinds)]
    sizes = [*map(_BODY_HEAD.get, bodies)]
    count = len(frames)
    if (
        starts.count(_HEAD) == count
        and domains.count(domains[0]) == count
        and id_heads.count(_BSTR_16) == count
        and expiry_heads.count(_EXPIRY_4) == count
        and min(expiries) >= 1 << 16
        and None not in urgencies
        and sizes == [*map(sub, map(len, frames), repeat(layout.size))]  # None is no number
    ):
        try:
            domain = _canonical_domain(domains[0])
        except BadMessage:
            return None
        return Heads(domain, mailboxes, ids, expiries, urgencies, capabilities)  # type: ignore[arg-type] # not None
    return None


def _read_unusual(data: bytes) -> Head:
    """A long domain, an expiry that 4 bytes do not hold, or fewer do, a body of 64 KiB, or a mistake: step by step."""
    if data[: len(_HEAD)] != _HEAD:
        raise _wrong_head(data)
    domain, at = _read_domain(data)
    if data[at] != _BSTR_16:
        raise BadMessage("an envelope's id has 16 bytes")
    identity = data[at + 1 : at + 1 + ID_BYTES]
    expiry, at = _read_uint(data, at + 1 + ID_BYTES)
    urgency = data[at]
    if urgency not in _URGENCY or data[at + 1] != _BSTR_16:
        raise BadMessage("an envelope has a known class and a capability of 16 bytes")
    capability = data[at + 2 : at + 2 + CAPABILITY_BYTES]
    size = _body_size(data, at + 2 + CAPABILITY_BYTES)
    return Head(MailboxId(data[_MAILBOX]), domain, identity, expiry, urgency, capability, size)


def _wrong_head(data: bytes) -> BadMessage:
    if len(data) > 1 and data[0] == _ARRAY and data[1] != ENVELOPE_VERSION:
        return BadMessage("an envelope of another version", code=ErrorCode.UNSUPPORTED_VERSION)
    return BadMessage("not an envelope")


def _read_domain(data: bytes) -> tuple[DomainName, int]:
    head = data[_DOMAIN]
    if _TEXT < head < _TEXT + _INLINE:
        size, skip = head - _TEXT, 1
    elif head == _TEXT_1 and data[_DOMAIN + 1] >= _INLINE:
        size, skip = data[_DOMAIN + 1], 2
    else:
        raise BadMessage("an envelope's domain is a short text")
    end = _DOMAIN + skip + size
    return _canonical_domain(data[_DOMAIN:end]), end


@lru_cache(maxsize=limits.DOMAIN_MEMORY)
def _canonical_domain(item: bytes) -> DomainName:
    """What a text item, its head included, spells; one whose length does not fit its head never gets here."""
    raw = item[2 if item[0] == _TEXT_1 else 1 :]
    try:
        text = raw.decode("ascii")
        name = parse_domain(text)
    except (UnicodeDecodeError, BadName) as error:
        raise BadMessage("an envelope's domain is a domain name") from error
    if name != text:
        raise BadMessage("an envelope's domain is in canonical form")
    return name


def _read_uint(data: bytes, at: int) -> tuple[int, int]:
    head = data[at]
    if head < _INLINE:
        return head, at + 1
    width, least = _UINT_WIDTH.get(head, (0, 1))
    value = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    if value < least:
        raise BadMessage("an envelope's expiry is an unsigned integer in its shortest form")
    return value, at + 1 + width


def _body_size(data: bytes, at: int) -> int:
    for width in (3, 5):
        size = _BODY_HEAD.get(data[at : at + width])
        if size is not None and len(data) == at + width + size:
            return size
    raise BadMessage("an envelope's body has one of the agreed sizes and is the end of it")


def check_lifetime(envelope: Envelope, now: float) -> ErrorCode:
    """NONE if `envelope` may be carried at `now` (Unix seconds); EXPIRED; or MALFORMED: it wants to live too long.

    Both ends tolerate a clock that is wrong by limits.CLOCK_SKEW seconds.
    """
    return check_expiry(envelope.expiry, now)


def check_expiry(expiry: int, now: float) -> ErrorCode:
    """`check_lifetime` of an envelope with this expiry."""
    earliest, latest = expiries(now)
    if expiry < earliest:
        return ErrorCode.EXPIRED
    return ErrorCode.MALFORMED if expiry > latest else ErrorCode.NONE


def expiries(now: float) -> tuple[float, float]:
    """The earliest and the latest expiry that an envelope may have at `now`."""
    return now - limits.CLOCK_SKEW, now + limits.MAX_LIFETIME + limits.CLOCK_SKEW
