"""The messages of presence: between homeservers, and between device, edge and homeserver.

in: values; out: frozen messages; wire.messages encodes and parses them like all others.
Filters, keys and tags are bytes here: volly_fed.presence knows what they mean.
"""

import attrs

from volly_fed.codepoints import ErrorCode, MessageType
from volly_fed.names import DomainName
from volly_fed.wire.fields import array, bstr, domain, error_code, field, record, text, uint
from volly_fed.wire.message import Message

FILTER_KEY_BYTES = 32
FILTER_ID_BYTES = 8
TAG_BYTES = 16
ANNOUNCED_SCOPES = 64
"""Scopes of one user: contacts beyond them are reached by "*"."""


# --- between homeservers ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PresenceResume(Message):
    """Says "I hold this filter of yours up to `sequence`"; answered by what came after it, or by another filter."""

    TYPE = MessageType.PRESENCE_RESUME
    filter: bytes = field(1, bstr(size=FILTER_ID_BYTES))
    sequence: int = field(2, uint)


@attrs.frozen(kw_only=True)
class PresenceRequest(Message):
    """Says "I hold no filter of yours, show me one"."""

    TYPE = MessageType.PRESENCE_REQUEST


@attrs.frozen(kw_only=True)
class PresenceSnapshot(Message):
    """A piece of a filter, its bytes from `offset` on, as it is at `sequence`; pieces come in order, none is left out.

    `key` places tags in it, `size` is a FilterClass, from which follows how many bytes there are in all.
    """

    TYPE = MessageType.PRESENCE_SNAPSHOT
    epoch: int = field(1, uint)
    key: bytes = field(2, bstr(size=FILTER_KEY_BYTES), repr=False)
    size: int = field(3, uint)
    sequence: int = field(4, uint)
    offset: int = field(5, uint)
    bits: bytes = field(6, bstr(), repr=False)


@attrs.frozen(kw_only=True)
class PresenceDelta(Message):
    """The bits of a filter that change from `sequence` - 1 to `sequence` (presence.delta)."""

    TYPE = MessageType.PRESENCE_DELTA
    filter: bytes = field(1, bstr(size=FILTER_ID_BYTES))
    sequence: int = field(2, uint)
    changes: bytes = field(3, bstr(), repr=False)


@attrs.frozen(kw_only=True)
class PresenceWithdraw(Message):
    """Says "forget what I have shown": nothing is shown any more."""

    TYPE = MessageType.PRESENCE_WITHDRAW


# --- presence, between device, edge and homeserver -----------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Announce(Message):
    """Says "this user is online, with these tags in `epoch`": (scope, tag) each, a domain or "*" as the scope.

    `number` is the edge's for the connection it comes from, or 0 on that connection. What the same number has announced
    for the same epoch before is replaced; of two epochs, this one and the next, all is kept.
    """

    TYPE = MessageType.ANNOUNCE
    number: int = field(1, uint, default=0)
    epoch: int = field(2, uint)
    tags: tuple[tuple[str, bytes], ...] = field(
        3, array(record(text, bstr(size=TAG_BYTES)), limit=ANNOUNCED_SCOPES), repr=False
    )


@attrs.frozen(kw_only=True)
class Retract(Message):
    """Says "what `number` has announced holds no longer"."""

    TYPE = MessageType.RETRACT
    number: int = field(1, uint, default=0)


@attrs.frozen(kw_only=True)
class Watch(Message):
    """Asks for what `domain` shows, now and as it changes; answered by Shown, at once or when there is something."""

    TYPE = MessageType.WATCH
    domain: DomainName = field(1, domain)


@attrs.frozen(kw_only=True)
class Unwatch(Message):
    """Says "no more of that"; towards a device with the reason why it is not, or no longer, shown anything."""

    TYPE = MessageType.UNWATCH
    domain: DomainName = field(1, domain)
    code: ErrorCode = field(2, error_code, default=ErrorCode.NONE)
    text: str = field(3, text, default="")


@attrs.frozen(kw_only=True)
class Shown(Message):
    """What `domain` shows: `message` is an encoded PresenceSnapshot, PresenceDelta or PresenceWithdraw, in order."""

    TYPE = MessageType.SHOWN
    domain: DomainName = field(1, domain)
    message: bytes = field(2, bstr(), repr=False)
