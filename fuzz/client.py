"""Target: what a device reads: cards, contact books, key files, presence books, and what is inside a sealed envelope.

in: which of them, and its text or bytes; the sealed ones are really sealed to a mailbox whose key is fixed.
Never lets through: another error than BadMessage (for what is sealed, BadSignature too), or a value that is another one
when it is written and read again. Texts come as UTF-8, what is none is replaced, as nobody hands over anything else.
"""

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import attrs

from fuzz import mutators
from fuzz.target import Raw, Target, pick
from volly_fed.client.card import Card, card_bytes, card_from_bytes, encode_card, parse_card
from volly_fed.client.contact import ContactBook, encode_contacts, parse_contacts
from volly_fed.client.mailbox import DeviceKeys, encode_device, parse_device
from volly_fed.client.presence import (
    Handed,
    PresenceBook,
    encode_presence,
    handed_bytes,
    parse_handed,
    parse_presence,
)
from volly_fed.client.seal import BODY_VERSION, Content, encode_content, open_envelope, parse_content
from volly_fed.codepoints import EnvelopeClass, Label
from volly_fed.crypto.kdf import framed
from volly_fed.crypto.kem import hpke_seal
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import BadSignature, IdentityKey
from volly_fed.edge.registration import encode_registration, parse_registration
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName, Fingerprint
from volly_fed.relay.envelope import Envelope
from volly_fed.trust.continuity import make_statement, parse_statement
from volly_fed.wire import codec

_ID = b"i" * 16
_LENGTH = 4


@cache
def _device() -> DeviceKeys:
    return DeviceKeys.generate(DomainName("a.example"), Random(1).randbytes, name="Ada")


def _text(parse: Callable[[str], Any], encode: Callable[[Any], str]) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        value = parse(data.decode("utf-8", "replace"))
        once = encode(value)
        assert parse is not parse_card or once == data.decode("utf-8", "replace").strip(), "a card with two spellings"
        assert encode(parse(once)) == once, "another value when it is read again"

    return check


def _bytes(parse: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        assert encode(parse(data)) == data, "a value with two spellings"

    return check


def _content(data: bytes) -> None:
    content = parse_content(data)
    assert parse_content(encode_content(content)) == content
    assert encode_content(content) == data, "content with two spellings"


def _sealed(data: bytes) -> None:
    """`data` is the plaintext: whoever holds a card can put there what it likes."""
    keys = _device()
    mailbox, domain = keys.address
    inner = data[1:]
    plain = inner if pick(data, 0) & 1 else len(inner).to_bytes(_LENGTH, "big") + inner
    bound = framed(mailbox, domain.encode(), _ID)
    body = BODY_VERSION + hpke_seal(keys.mailbox.public, plain, Label.ROOT, bound)
    envelope = Envelope(mailbox, domain, _ID, 0, EnvelopeClass.SIGNAL, bytes(16), body)
    try:
        opened = open_envelope(envelope, keys.mailbox, keys.domain)
    except BadSignature:
        return
    assert opened.sender


def _statement(data: bytes) -> None:
    assert parse_statement(data).domain


_READERS: tuple[Callable[[bytes], None], ...] = (
    _text(parse_card, encode_card),
    _text(parse_contacts, encode_contacts),
    _text(parse_device, encode_device),
    _text(parse_presence, encode_presence),
    _bytes(card_from_bytes, card_bytes),
    _bytes(parse_handed, handed_bytes),
    _bytes(parse_registration, encode_registration),
    _content,
    _statement,
    _sealed,
)
CARD, CONTACTS, DEVICE, PRESENCE, CARD_BYTES, HANDED, REGISTRATION, CONTENT, STATEMENT, SEALED = range(len(_READERS))
_TEXTS = CARD_BYTES


def run(data: bytes) -> None:
    """The first byte says what it is."""
    try:
        _READERS[pick(data, 0) % len(_READERS)](data[1:])
    except BadMessage:
        return


def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
    """Texts as bytes, the others as CBOR; a sealed one has a byte before it."""
    kind = pick(data, 0) % len(_READERS)
    inner = mutators.plain if kind < _TEXTS else mutators.cbor
    return mutators.prefixed(2 if kind == SEALED else 1, inner)(data, random, raw)


def _raw_cards() -> list[Card]:
    keys = _device()
    return [keys.card(), Card(domain=DomainName("b.example"), key=bytes(1216), capability=b"c" * 16, identity=_PRINT)]


_PRINT = Fingerprint(b"f" * 32)
_HANDED = Handed(serial=7, key=Secret(b"k" * 32), wants=True)


def seeds() -> list[bytes]:
    """One of each kind, and each content there is, in the clear and signed as it is sealed."""
    keys, cards = _device(), _raw_cards()
    book = PresenceBook.generate(Random(2).randbytes, 1).received(_PRINT, _HANDED).with_told(_PRINT, 1, 5)
    contacts = ContactBook(cards=tuple(cards))
    contents = [
        encode_content(content)
        for content in (
            Content(sent_at=1, text="hello", reply=cards[0]),
            Content(sent_at=2, data=b"\0\1"),
            Content(sent_at=3, presence=_HANDED),
        )
    ]
    other = IdentityKey.generate(Random(3).randbytes)
    statement = make_statement(domain=keys.domain, sequence=5, not_before=5, not_after=9, old=keys.identity, new=other)
    texts = (encode_card(cards[0]), encode_contacts(contacts), encode_device(keys), encode_presence(book))
    wired = (card_bytes(cards[1]), handed_bytes(_HANDED), keys.registration)
    return [
        *(bytes([number]) + text.encode() for number, text in enumerate(texts)),
        *(bytes([number]) + data for number, data in enumerate(wired, CARD_BYTES)),
        *(bytes([CONTENT]) + content for content in contents),
        *(bytes([SEALED]) + _signed(content) for content in contents),
        bytes([STATEMENT]) + statement,
        bytes([CARD]) + _loose(attrs.evolve(cards[0], name="Ad")),
        bytes([SEALED]) + b"\1" + bytes(4),
    ]


def _loose(card: Card) -> bytes:
    """A card's text whose last character has bits that stand for nothing."""
    text = encode_card(card).encode()
    return text[:-1] + bytes([text[-1] + 1])


def _signed(content: bytes) -> bytes:
    """What `seal` puts inside."""
    keys = _device()
    mailbox, domain = keys.address
    message = Label.CONTENT + framed(mailbox, domain.encode(), _ID, content)
    return b"\0" + codec.encode([keys.identity.public, keys.identity.sign(message, Label.CONTENT_CONTEXT), content])


TARGET = Target(run=run, seeds=seeds, mutate=mutate, longest=8192)
