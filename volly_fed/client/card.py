"""Contact cards: what one person gives another, on paper, on a screen or in a mail, to be reached.

in: text; out: a Card, and back. Wire form: `volly:` and base64url of the CBOR array
[1, domain, mailbox key, capability, identity fingerprint, name].
About 1.8 kB, so that it fits a QR code (2953 bytes at most); the identity key (1984 B) and a signature (3373 B) would
not. A card is as authentic as the way it came by; what its owner sends later is signed, and checked against its
fingerprint. Whoever holds a card can write to its mailbox: it is not public.
"""

import attrs

from volly_fed import limits
from volly_fed.client.spelling import read_spelled, spell
from volly_fed.crypto.kem import mailbox_id
from volly_fed.errors import BadMessage
from volly_fed.names import Address, DomainName, Fingerprint
from volly_fed.relay.envelope import CAPABILITY_BYTES
from volly_fed.wire import codec, fields
from volly_fed.wire.messages import DIGEST_BYTES, MAILBOX_KEY_BYTES

SCHEME = "volly:"
CARD_VERSION = 1


@attrs.frozen(kw_only=True)
class Card:
    """Where somebody is reached, with what, and who they are. `name` is their own word: nobody checked it."""

    domain: DomainName
    key: bytes = attrs.field(repr=False)
    capability: bytes = attrs.field(repr=False)
    identity: Fingerprint = attrs.field(repr=False)
    name: str = ""

    @property
    def address(self) -> Address:
        """`mailbox@domain`."""
        return Address(mailbox_id(self.key), self.domain)


def _name(value: object) -> str:
    name: str = fields.text(value)
    if len(name) > limits.MAX_CARD_NAME:  # [client-2]
        raise BadMessage(f"a card's name has at most {limits.MAX_CARD_NAME} characters")
    return name


_check = fields.record(
    fields.uint,
    fields.domain,
    fields.bstr(size=MAILBOX_KEY_BYTES),
    fields.bstr(size=CAPABILITY_BYTES),
    fields.bstr(size=DIGEST_BYTES),
    _name,
)


def check_name(name: str) -> str:
    """`name` if it may stand on a card; raises BadMessage for one that is too long or has control characters."""
    return _name(name)


def encode_card(card: Card) -> str:
    """The card as a URI."""
    return spell(SCHEME, card_bytes(card))


def parse_card(text: str) -> Card:
    """The card that a URI spells; white space around it does not matter.

    Raises BadMessage, and nothing else.
    """
    raw = read_spelled(SCHEME, text, limits.MAX_CARD, "contact card")  # [client-1]
    card = card_from_bytes(raw)
    if card_bytes(card) != raw:
        raise BadMessage("this contact card is damaged; note: copy all of it")
    return card


def card_bytes(card: Card) -> bytes:
    """The card as it travels inside content."""
    return codec.encode([CARD_VERSION, card.domain, card.key, card.capability, card.identity, card.name])


def card_from_bytes(raw: bytes) -> Card:
    """The inverse of `card_bytes`; raises BadMessage, and nothing else."""
    version, domain, key, capability, identity, name = _check(codec.decode(raw, limit=limits.MAX_CARD))
    if version != CARD_VERSION:  # [client-3]
        raise BadMessage("a contact card of an unknown version; note: a newer volly-fed may read it")
    return Card(domain=domain, key=key, capability=capability, identity=Fingerprint(identity), name=name)
