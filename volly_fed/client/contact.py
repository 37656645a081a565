"""The contact book: the cards one has been given, and who a received message is from.

in: cards, text; out: a ContactBook, and its text: one card a line.
A sender is who signed, found by fingerprint; the name on a card is only what one calls them.
Never: lets two identities go by one name.
"""

import attrs

from volly_fed import limits
from volly_fed.client.card import Card, encode_card, parse_card
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import Fingerprint, fingerprint_text


@attrs.frozen(kw_only=True)
class ContactBook:
    """One card for each identity, in the order in which they came."""

    cards: tuple[Card, ...] = ()

    def with_card(self, card: Card) -> "ContactBook":
        """The book with `card` in it; a newer card of the same identity takes the older one's place.

        Raises LocalError when another identity goes by this name, or the book is full.
        """
        others = tuple(known for known in self.cards if known.identity != card.identity)
        if card.name and any(known.name == card.name for known in others):  # [client-6]
            raise LocalError("another contact has this name; note: give the new one a name of your own with --name")
        if len(others) >= limits.MAX_CONTACTS:
            raise LocalError("the contact book is full; note: remove contacts that you no longer need")
        return ContactBook(cards=(*others, card))

    def without(self, identity: Fingerprint) -> "ContactBook":
        """The book without this identity; not being in it is not an error."""
        return ContactBook(cards=tuple(card for card in self.cards if card.identity != identity))

    def sender(self, identity: Fingerprint) -> Card | None:
        """Whose signature that is, if we know."""
        return next((card for card in self.cards if card.identity == identity), None)  # [client-4] [client-13]

    def find(self, text: str) -> Card:
        """The contact with this name or fingerprint. Raises LocalError when there is none."""
        for card in self.cards:
            if text and text in (card.name, fingerprint_text(card.identity)):
                return card
        raise LocalError("no contact has this name; note: a card begins with volly:, or save one under a name first")


def encode_contacts(book: ContactBook) -> str:
    """The book as text."""
    return "".join(f"{encode_card(card)}\n" for card in book.cards)


def parse_contacts(text: str) -> ContactBook:
    """The inverse of `encode_contacts`; empty lines do not matter. Raises BadMessage, and nothing else."""
    book = ContactBook()
    for line in filter(str.strip, text.split("\n")):
        try:
            book = book.with_card(parse_card(line))
        except LocalError as error:
            raise BadMessage(f"the contact book contradicts itself: {error}") from error
    return book
