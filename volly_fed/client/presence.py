"""Presence keys: a device's own, those of its contacts, and who has been given which.

in: randomness, what contacts hand over, the contact book; out: a PresenceBook, its text, tags to announce.
Whoever has a device's presence key sees it online, can watch it from any domain that it names, and could announce its
tags: the key goes to contacts only, in sealed envelopes, and is replaced when one of them is removed.
Never: prints a key, except in the text that is stored; takes an older key for a newer one.
"""

import tomllib
from collections.abc import Sequence
from typing import Any

import attrs

from volly_fed import limits_presence
from volly_fed.client.card import Card
from volly_fed.client.contact import ContactBook
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.machine import RandomSource
from volly_fed.names import Fingerprint, fingerprint_text, parse_fingerprint
from volly_fed.presence import presence_tag
from volly_fed.presence.tags import KEY_BYTES
from volly_fed.wire import codec, fields
from volly_fed.wire.presence import Announce

STATE_VERSION = 1
_MAX_HANDED = 64
_check = fields.record(fields.uint, fields.bstr(size=KEY_BYTES), fields.uint)


@attrs.frozen(kw_only=True)
class Handed:
    """A presence key on its way to a contact. `wants`: the sender has none of the recipient's."""

    serial: int
    key: Secret
    wants: bool


def handed_bytes(handed: Handed) -> bytes:
    """As it stands in sealed content."""
    return codec.encode([handed.serial, handed.key.reveal(), int(handed.wants)])


def parse_handed(data: bytes) -> Handed:
    """The inverse of `handed_bytes`; raises BadMessage, and nothing else."""
    serial, key, wants = _check(codec.decode(data, limit=_MAX_HANDED))  # [presence-5]
    if wants > 1:
        raise BadMessage("a presence key is wanted or not")
    return Handed(serial=serial, key=Secret(key), wants=bool(wants))


@attrs.frozen(kw_only=True)
class Person:
    """What one contact and we have given each other."""

    identity: Fingerprint
    told: int = 0
    """The serial of the key of ours that they have; 0: none, or not the one of now."""
    told_at: int = 0
    key: Secret | None = None
    """Theirs."""
    serial: int = 0


@attrs.frozen(kw_only=True)
class PresenceBook:
    """Our own presence key, with a serial that grows, and what contacts have."""

    key: Secret
    serial: int
    people: tuple[Person, ...] = ()

    @classmethod
    def generate(cls, random: RandomSource, now: float) -> "PresenceBook":
        """A new one. `now`, unix time, is the serial: so a book that was lost and made anew is the newer one."""
        return cls(key=Secret(random(KEY_BYTES)), serial=int(now))

    def person(self, identity: Fingerprint) -> Person:
        """What is known of this contact; nothing, if need be."""
        return next((known for known in self.people if known.identity == identity), Person(identity=identity))

    def received(self, identity: Fingerprint, handed: Handed) -> "PresenceBook":
        """With a key that a contact has handed over; an older one than is known changes nothing."""
        person = self.person(identity)
        if handed.serial <= person.serial:  # [presence-4]
            return self
        told = 0 if handed.wants else person.told  # [presence-7]
        return self._with(attrs.evolve(person, key=handed.key, serial=handed.serial, told=told))

    def with_told(self, identity: Fingerprint, serial: int, now: float) -> "PresenceBook":
        """A contact has been given our key of this serial."""
        return self._with(attrs.evolve(self.person(identity), told=serial, told_at=int(now)))

    def kept_to(self, contacts: ContactBook, random: RandomSource, now: float) -> "PresenceBook":
        """Without everybody who is no contact any more; if one of them has our key, with another key."""
        known = {card.identity for card in contacts.cards}
        left = tuple(person for person in self.people if person.identity in known)
        if any(person.told for person in self.people if person.identity not in known):  # [presence-6]
            serial = max(self.serial + 1, int(now))
            return PresenceBook(key=Secret(random(KEY_BYTES)), serial=serial, people=left)
        return self if len(left) == len(self.people) else attrs.evolve(self, people=left)

    def owed(self, contacts: ContactBook, now: float) -> list[Card]:
        """Who is to be given our key: those who have not the one of now, and, now and then, those who owe us theirs."""
        return [card for card in contacts.cards if self._owes(self.person(card.identity), now)]

    def handed(self, identity: Fingerprint) -> Handed:
        """What to give a contact."""
        return Handed(serial=self.serial, key=self.key, wants=self.person(identity).key is None)

    def _owes(self, person: Person, now: float) -> bool:
        asked_long_ago = now >= person.told_at + limits_presence.ASK_AGAIN
        return person.told != self.serial or (person.key is None and asked_long_ago)

    def _with(self, person: Person) -> "PresenceBook":
        others = tuple(known for known in self.people if known.identity != person.identity)
        return attrs.evolve(self, people=(*others, person))


def announcement(key: Secret, epoch: int, scopes: Sequence[str]) -> Announce:
    """The tags of whoever has `key`, in one epoch, for these scopes."""
    return Announce(epoch=epoch, tags=tuple((scope, presence_tag(key, epoch, scope)) for scope in scopes))


def encode_presence(book: PresenceBook) -> str:
    """The text to store, in a file that only its owner can read. TOML."""
    lines = [
        "# Presence keys of a volly-fed device and its contacts. Whoever reads this file sees them all online.",
        f"version = {STATE_VERSION}",
        f'key = "{book.key.reveal().hex()}"',
        f"serial = {book.serial}",
    ]
    for person in book.people:
        lines += [
            "",
            "[[contact]]",
            f'identity = "{fingerprint_text(person.identity)}"',
            f"told = {person.told}",
            f"told_at = {person.told_at}",
            f'key = "{person.key.reveal().hex() if person.key is not None else ""}"',
            f"serial = {person.serial}",
        ]
    return "\n".join(lines) + "\n"


def parse_presence(text: str) -> PresenceBook:
    """The inverse of `encode_presence`. Raises BadMessage, and nothing else; never with what stands in the text."""
    try:
        values = tomllib.loads(text)
        if values["version"] != STATE_VERSION:
            raise BadMessage("presence keys of an unknown version; note: a newer volly-fed may read them")
        return PresenceBook(
            key=_key(values["key"]),
            serial=fields.uint(values["serial"]),
            people=tuple(_parse_person(entry) for entry in values.get("contact", [])),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # no cause: its text may quote the file
        raise BadMessage(
            "this is not a file of presence keys; note: move it away, and contacts are given new ones"
        ) from None


def _parse_person(entry: dict[str, Any]) -> Person:
    return Person(
        identity=parse_fingerprint(entry["identity"]),
        told=fields.uint(entry["told"]),
        told_at=fields.uint(entry["told_at"]),
        key=_key(entry["key"]) if entry["key"] else None,
        serial=fields.uint(entry["serial"]),
    )


def _key(text: str) -> Secret:
    raw = bytes.fromhex(text)
    if len(raw) != KEY_BYTES:
        raise ValueError
    return Secret(raw)
