"""Content <-> sealed envelope: signed by the sender inside, encrypted to the recipient's mailbox key, padded.

in: Content, keys, a card; out: an Envelope, and back with who signed it.
Body: version byte | HPKE to the mailbox key (info = the root label, aad = mailbox, domain, id) of
length | CBOR [identity key, signature, content] | zeros up to a size class. The composite signature covers mailbox,
domain, id and content, so that a recipient cannot pass it on as meant for another.
Not forward secret against who gets the mailbox key, and not deniable. A signed body takes 8 KiB at least.
Source: RFC 9180 (base mode), draft-ietf-lamps-pq-composite-sigs.
"""

import attrs

from volly_fed import limits
from volly_fed.client.card import Card, card_bytes, card_from_bytes
from volly_fed.client.presence import Handed, handed_bytes, parse_handed
from volly_fed.codepoints import EnvelopeClass, Label
from volly_fed.crypto import sizes
from volly_fed.crypto.kdf import framed
from volly_fed.crypto.kem import MailboxKey, hpke_open, hpke_seal, mailbox_id
from volly_fed.crypto.signature import BadSignature, IdentityKey, verify_identity
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.relay.envelope import Envelope
from volly_fed.wire import codec, fields

BODY_VERSION = b"\x01"
CONTENT_VERSION = 1
_DATA, _TEXT, _PRESENCE = range(3)
_LENGTH_BYTES = 4
_OVERHEAD = len(BODY_VERSION) + sizes.HPKE_OVERHEAD + _LENGTH_BYTES


@attrs.frozen(kw_only=True)
class Content:
    """What one person tells another: text or data, when (Unix seconds, by the sender's clock), how to answer.

    Or what one device tells another, without a word to people: a presence key.
    """

    sent_at: int
    text: str | None = attrs.field(default=None, repr=False)
    data: bytes = attrs.field(default=b"", repr=False)
    presence: Handed | None = None
    reply: Card | None = None


@attrs.frozen(kw_only=True)
class Opened:
    """Content with who signed it. Whether that is a contact, the contact book knows."""

    sender: Fingerprint
    id: bytes
    content: Content


_check_content = fields.record(
    fields.uint,
    fields.uint,
    fields.bstr(limit=limits.MAX_CARD),
    fields.uint,
    fields.bstr(limit=limits.MAX_CONTENT),
)
_check_signed = fields.record(
    fields.bstr(size=sizes.IDENTITY_PUBLIC), fields.bstr(size=sizes.IDENTITY_SIGNATURE), fields.bstr()
)


def seal(
    content: Content,
    *,
    identity: IdentityKey,
    to: Card,
    envelope_id: bytes,
    expiry: int,
    urgency: EnvelopeClass = EnvelopeClass.SIGNAL,
) -> Envelope:
    """The envelope that carries `content` to the holder of `to`; `envelope_id` is 16 random bytes.

    Raises LocalError when the content is longer than limits.MAX_CONTENT, BadMessage when the card's key is no key.
    """
    mailbox, domain = to.address
    encoded = encode_content(content)
    signature = identity.sign(_signed(mailbox, domain, envelope_id, encoded), Label.CONTENT_CONTEXT)
    inner = _padded(codec.encode([identity.public, signature, encoded]))
    body = BODY_VERSION + hpke_seal(to.key, inner, Label.ROOT, framed(mailbox, domain.encode("ascii"), envelope_id))
    return Envelope(
        mailbox=mailbox,
        domain=domain,
        id=envelope_id,
        expiry=expiry,
        urgency=urgency,
        capability=to.capability,
        body=body,
    )


def open_envelope(envelope: Envelope, key: MailboxKey, domain: DomainName) -> Opened:
    """What an envelope for the mailbox of `key` at `domain` carries.

    Raises BadMessage, or BadSignature when the content is not by who it says; neither is worth another try.
    """
    if envelope.mailbox != mailbox_id(key.public) or envelope.domain != domain:
        raise BadMessage("an envelope for another mailbox")
    if envelope.body[:1] != BODY_VERSION:
        raise BadMessage("a sealed body of an unknown version")  # [versioning-2]
    bound = framed(envelope.mailbox, domain.encode("ascii"), envelope.id)
    inner = _unpadded(hpke_open(key, envelope.body[1:], Label.ROOT, bound))
    public, signature, encoded = _check_signed(codec.decode(inner, limit=limits.MAX_BODY))
    message = _signed(envelope.mailbox, domain, envelope.id, encoded)
    sender = verify_identity(public, signature, message, Label.CONTENT_CONTEXT)
    content = parse_content(encoded)
    if content.reply is not None and content.reply.identity != sender:
        raise BadSignature("the card to answer to is not the signer's")
    return Opened(sender=sender, id=envelope.id, content=content)


def encode_content(content: Content) -> bytes:
    """The bytes that are signed and sealed. Raises LocalError when there is too much."""
    kind, payload = content_payload(content)
    if len(payload) > limits.MAX_CONTENT:
        raise LocalError(f"{len(payload)} bytes are too much; note: an envelope carries {limits.MAX_CONTENT} at most")
    reply = card_bytes(content.reply) if content.reply is not None else b""
    return codec.encode([CONTENT_VERSION, content.sent_at, reply, kind, payload])


def parse_content(data: bytes) -> Content:
    """The inverse of `encode_content`; raises BadMessage, and nothing else."""
    version, sent_at, reply, kind, payload = _check_content(codec.decode(data, limit=limits.MAX_BODY))
    if version != CONTENT_VERSION:  # [client-7]
        raise BadMessage("content of an unknown version")
    return content_from_payload(kind, payload, sent_at=sent_at, reply=card_from_bytes(reply) if reply else None)


def content_payload(content: Content) -> tuple[int, bytes]:
    """The kind of `content` (_DATA, _TEXT, _PRESENCE), and its bytes."""
    if content.presence is not None:
        return _PRESENCE, handed_bytes(content.presence)
    if content.text is not None:
        return _TEXT, content.text.encode("utf-8")
    return _DATA, content.data


def content_from_payload(kind: int, payload: bytes, *, sent_at: int, reply: Card | None) -> Content:
    """The inverse of `content_payload`; raises BadMessage, and nothing else."""
    made = Content(sent_at=sent_at, reply=reply)
    if kind == _DATA:
        return attrs.evolve(made, data=payload)
    if kind == _PRESENCE:
        return attrs.evolve(made, presence=parse_handed(payload))
    if kind != _TEXT:
        raise BadMessage("content of an unknown kind")
    try:
        return attrs.evolve(made, text=payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadMessage("text that is not UTF-8") from error


def _signed(mailbox: MailboxId, domain: DomainName, envelope_id: bytes, content: bytes) -> bytes:
    return Label.CONTENT + framed(mailbox, domain.encode("ascii"), envelope_id, content)


def _padded(inner: bytes) -> bytes:
    size = next((size for size in limits.BODY_CLASSES if size >= len(inner) + _OVERHEAD), None)
    if size is None:
        raise LocalError("this content is too long for an envelope; note: send less at once")
    return len(inner).to_bytes(_LENGTH_BYTES, "big") + inner.ljust(size - _OVERHEAD, b"\0")


def _unpadded(plaintext: bytes) -> bytes:
    length = int.from_bytes(plaintext[:_LENGTH_BYTES], "big")
    inner, padding = plaintext[_LENGTH_BYTES:][:length], plaintext[_LENGTH_BYTES:][length:]
    if len(inner) != length or padding.strip(b"\0"):
        raise BadMessage("the padding of a sealed body is not zeros")  # [client-9]
    return inner
