"""The messages: one frozen class each, a CBOR map from field numbers to values on the wire.

in: bytes of one WebSocket message; out: one message object, and back.
Field 0 is the type. Unknown fields are ignored (receivers MUST), unknown types are refused.
Envelopes inside a batch stay byte strings: relaying never decodes and re-encodes them.
"""

from typing import Any, TypeAlias

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, MessageType
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName
from volly_fed.wire import codec
from volly_fed.wire.fields import (
    array,
    bstr,
    bstr_array,
    domain,
    error_code,
    extension_map,
    field,
    record,
    text,
    uint,
)
from volly_fed.wire.message import Message
from volly_fed.wire.presence import (
    FILTER_ID_BYTES,
    FILTER_KEY_BYTES,
    TAG_BYTES,
    Announce,
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
    Retract,
    Shown,
    Unwatch,
    Watch,
)

__all__ = [  # of other modules; they are messages like those that follow here
    "FILTER_ID_BYTES",
    "FILTER_KEY_BYTES",
    "TAG_BYTES",
    "Announce",
    "Message",
    "PresenceDelta",
    "PresenceRequest",
    "PresenceResume",
    "PresenceSnapshot",
    "PresenceWithdraw",
    "Retract",
    "Shown",
    "Unwatch",
    "Watch",
]

IDENTITY_KEY_BYTES = 1984
IDENTITY_SIGNATURE_BYTES = 3373
MAILBOX_KEY_BYTES = 1216
MAILBOX_CIPHERTEXT_BYTES = 1120
STREAM_BYTES = 8
ENVELOPE_ID_BYTES = 16
DIGEST_BYTES = 32
NONCE_BYTES = 32

Refusal: TypeAlias = tuple[int, ErrorCode, str]
"""(sequence number, code, text)."""
Outcome: TypeAlias = tuple[bytes, ErrorCode, str]
"""(envelope id, code, text)."""

_envelope_list = bstr_array(limit=limits.BATCH_ENVELOPES, item_limit=limits.MAX_ENVELOPE)
_id_list = bstr_array(limit=limits.ACK_IDS, item_limit=ENVELOPE_ID_BYTES, size=ENVELOPE_ID_BYTES)
_outcomes = array(record(bstr(size=ENVELOPE_ID_BYTES), error_code, text), limit=limits.REFUSALS_PER_ACK)


# --- handshake -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Hello(Message):
    """Who is calling whom. `identity` is ML-DSA-65 (1952) followed by Ed25519 (32)."""

    TYPE = MessageType.HELLO
    versions: tuple[int, int] = field(1, record(uint, uint))
    own: DomainName = field(2, domain)
    wanted: DomainName = field(3, domain)
    identity: bytes = field(4, bstr(size=IDENTITY_KEY_BYTES))
    nonce: bytes = field(5, bstr(size=NONCE_BYTES))
    extensions: dict[int, bytes] = field(6, extension_map)


@attrs.frozen(kw_only=True)
class Auth(Message):
    """The composite signature over the transcript: ML-DSA-65 (3309) followed by Ed25519 (64).

    `statement`: while the signer's identity changes, its continuity statement (trust.continuity), which has signatures
    of its own; not parsed here, since a bad one is no reason to refuse an identity that has not changed.
    """

    TYPE = MessageType.AUTH
    signature: bytes = field(1, bstr(size=IDENTITY_SIGNATURE_BYTES))
    statement: bytes = field(2, bstr(limit=limits.MAX_CONTINUITY), default=b"")


@attrs.frozen(kw_only=True)
class Refuse(Message):
    """Why the handshake ends here; the sender closes next. `retry_after`: seconds (BUSY), or 0."""

    TYPE = MessageType.REFUSE
    code: ErrorCode = field(1, error_code)
    text: str = field(2, text)
    retry_after: int = field(3, uint, default=0)


# --- session -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Open(Message):
    """Says "my envelopes come on this stream"; answered by Ack with the cursor the receiver has stored for it."""

    TYPE = MessageType.OPEN
    stream: bytes = field(1, bstr(size=STREAM_BYTES))


@attrs.frozen(kw_only=True)
class Batch(Message):
    """Envelopes `first`, `first`+1, … of a stream; sequence numbers begin at 1."""

    TYPE = MessageType.BATCH
    stream: bytes = field(1, bstr(size=STREAM_BYTES))
    first: int = field(2, uint)
    envelopes: list[bytes] = field(3, _envelope_list)  # [wire-17]


@attrs.frozen(kw_only=True)
class Ack(Message):
    """Everything up to `cursor` is settled: stored, known already, or refused as listed. 0: nothing yet.

    `window`, `window_bytes`: how much the sender may have in flight beyond `cursor`; 0: nothing for now. One envelope
    may be larger than `window_bytes` if nothing else is in flight.
    """

    TYPE = MessageType.ACK
    stream: bytes = field(1, bstr(size=STREAM_BYTES))
    cursor: int = field(2, uint)
    refusals: tuple[Refusal, ...] = field(
        3, array(record(uint, error_code, text), limit=limits.REFUSALS_PER_ACK), default=()
    )
    window: int = field(4, uint, default=limits.WINDOW_ENVELOPES)
    window_bytes: int = field(5, uint, default=limits.WINDOW_BYTES)


@attrs.frozen(kw_only=True)
class Close(Message):
    """The sender sends no more batches; what is unacknowledged stays with who sent it.

    `retry_after`: seconds before a new link makes sense (BUSY), or 0.
    """

    TYPE = MessageType.CLOSE
    code: ErrorCode = field(1, error_code)
    text: str = field(2, text)
    retry_after: int = field(3, uint, default=0)


@attrs.frozen(kw_only=True)
class Ping(Message):
    """Asks whether the other end is there; `token` comes back in Pong."""

    TYPE = MessageType.PING
    token: int = field(1, uint)


@attrs.frozen(kw_only=True)
class Pong(Message):
    """The answer to Ping."""

    TYPE = MessageType.PONG
    token: int = field(1, uint)


# --- edge and device: claiming a mailbox ---------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Claim(Message):
    """Says "I hold this mailbox" by showing the X-Wing public key it is a hash of; `request` ties the answers to it."""

    TYPE = MessageType.CLAIM
    request: int = field(1, uint)
    key: bytes = field(2, bstr(size=MAILBOX_KEY_BYTES))


@attrs.frozen(kw_only=True)
class Challenge(Message):
    """Says "then open this": made by the homeserver, passed on by the edge."""

    TYPE = MessageType.CHALLENGE
    request: int = field(1, uint)
    ciphertext: bytes = field(2, bstr(size=MAILBOX_CIPHERTEXT_BYTES))
    nonce: bytes = field(3, bstr(size=NONCE_BYTES))
    domain: DomainName = field(4, domain)
    edge: bytes = field(5, bstr(size=DIGEST_BYTES))
    expiry: int = field(6, uint)


@attrs.frozen(kw_only=True)
class Proof(Message):
    """The MAC under the shared secret, over the challenge and the registration (edge.registration)."""

    TYPE = MessageType.PROOF
    request: int = field(1, uint)
    mac: bytes = field(2, bstr(size=DIGEST_BYTES))
    registration: bytes = field(3, bstr(limit=limits.MAX_ENVELOPE))


@attrs.frozen(kw_only=True)
class Claimed(Message):
    """The mailbox is the device's, on this edge, until the connection ends or another claim replaces it."""

    TYPE = MessageType.CLAIMED
    request: int = field(1, uint)
    mailbox: bytes = field(2, bstr(size=DIGEST_BYTES))


@attrs.frozen(kw_only=True)
class NotClaimed(Message):
    """The claim failed."""

    TYPE = MessageType.NOT_CLAIMED
    request: int = field(1, uint)
    code: ErrorCode = field(2, error_code)
    text: str = field(3, text)


@attrs.frozen(kw_only=True)
class Acknowledge(Message):
    """Says "these are safely with me": the device's MAC lets the homeserver, and only it, delete them."""

    TYPE = MessageType.ACKNOWLEDGE
    mailbox: bytes = field(1, bstr(size=DIGEST_BYTES))
    ids: list[bytes] = field(2, _id_list)
    mac: bytes = field(3, bstr(size=DIGEST_BYTES))


@attrs.frozen(kw_only=True)
class Release(Message):
    """Edge to homeserver: the connection that claimed this mailbox is gone."""

    TYPE = MessageType.RELEASE
    mailbox: bytes = field(1, bstr(size=DIGEST_BYTES))


@attrs.frozen(kw_only=True)
class Receipt(Message):
    """Homeserver to edge to device: envelopes that were stored and then refused by the recipient's homeserver."""

    TYPE = MessageType.RECEIPT
    refused: tuple[Outcome, ...] = field(1, _outcomes)


# --- device --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Welcome(Message):
    """Edge to device, first of all: the domain served here and the edge's identity fingerprint."""

    TYPE = MessageType.WELCOME
    domain: DomainName = field(1, domain)
    edge: bytes = field(2, bstr(size=DIGEST_BYTES))


@attrs.frozen(kw_only=True)
class Submit(Message):
    """Device to edge: carry these envelopes."""

    TYPE = MessageType.SUBMIT
    envelopes: list[bytes] = field(1, _envelope_list)


@attrs.frozen(kw_only=True)
class Submitted(Message):
    """Edge to device: `accepted` are on the homeserver's disk; `refused` are not, and why."""

    TYPE = MessageType.SUBMITTED
    accepted: list[bytes] = field(1, _id_list)
    refused: tuple[Outcome, ...] = field(2, _outcomes, default=())


@attrs.frozen(kw_only=True)
class Deliver(Message):
    """Edge to device: envelopes for a mailbox this connection has claimed."""

    TYPE = MessageType.DELIVER
    envelopes: list[bytes] = field(1, _envelope_list)


MESSAGES: dict[int, type[Message]] = {kind.TYPE: kind for kind in Message.__subclasses__()}

_Field = tuple[str, int, Any, bool, Any]
"""(attribute, number, check, required, default)."""


def _fields_of(kind: type[Message]) -> tuple[_Field, ...]:
    return tuple(
        (a.name, a.metadata["number"], a.metadata["check"], a.default is attrs.NOTHING, a.default)
        for a in attrs.fields(kind)
    )


_FIELDS: dict[type[Message], tuple[_Field, ...]] = {kind: _fields_of(kind) for kind in MESSAGES.values()}


def encode_message(message: Message) -> bytes:
    """One WebSocket message's payload. Fields that hold their default are left out."""
    kind = type(message)
    value: dict[int, Any] = {0: int(kind.TYPE)}
    for name, number, _, required, default in _FIELDS[kind]:
        item = getattr(message, name)
        if required or item != default:  # [wire-15]
            value[number] = item
    return codec.encode(value)


def parse_message(data: bytes, *, limit: int = limits.MAX_MESSAGE) -> Message:
    """The message `data` spells.

    Raises BadMessage, and nothing else: not CBOR of the profile, unknown type, a field missing or of the wrong kind.
    Unknown fields are not an error.
    """
    value = codec.decode(data, limit=limit)
    if type(value) is not dict:
        raise BadMessage("a message is a map")  # [wire-10]
    number = value.get(0)
    kind = MESSAGES.get(number) if type(number) is int else None  # True is 1 to a dict, and a list has no hash
    if kind is None:
        raise BadMessage("unknown message type", code=ErrorCode.UNEXPECTED)  # [wire-11]
    arguments = {}
    for name, number, check, required, _ in _FIELDS[kind]:  # [wire-14]
        item = value.get(number)
        if item is not None:
            arguments[name] = check(item)  # [wire-13]
        elif required:
            raise BadMessage(f"{kind.__name__} lacks field {number}")  # [wire-12]
    return kind(**arguments)  # [wire-16] [wire-28]
