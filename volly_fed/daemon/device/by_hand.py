"""Presence keys that people hand over themselves, where envelopes are not relayed: between domains at level `metadata`.

in: a device's folder; out: a sealed envelope as text, or what such a text brought.
The envelope is an ordinary one. It goes to no edge: a mail, a chat or a memory stick carries it.
Never: hands out a key other than sealed, or takes one that is not from a contact.
"""

import os

import attrs

from volly_fed import limits
from volly_fed.client.by_hand import encode_by_hand, open_by_hand
from volly_fed.client.card import Card
from volly_fed.client.seal import Content, seal
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.presence import take_key
from volly_fed.errors import LocalError


@attrs.frozen(kw_only=True)
class Taken:
    """Whose presence key has come. `news`: it was not known; `wants`: they lack ours."""

    contact: Card
    news: bool
    wants: bool


def give_key(home: DeviceHome, to: Card, now: float) -> str:
    """Our presence key, sealed for the contact `to`, as one line of some 11 000 characters. Blocks.

    They count as having it from now on, so that removing them replaces it. Raises StorageError, and BadMessage for a
    card whose key cannot be sealed to.
    """
    book = home.change_presence(lambda kept: kept, os.urandom, now)
    envelope = seal(
        Content(sent_at=int(now), presence=book.handed(to.identity), reply=home.keys.card()),
        identity=home.keys.identity,
        to=to,
        envelope_id=os.urandom(16),  # [client-8]
        expiry=int(now) + limits.MAX_LIFETIME,
        urgency=EnvelopeClass.BULK,
    )
    home.change_presence(lambda kept: kept.with_told(to.identity, book.serial, now), os.urandom, now)
    return encode_by_hand(envelope)


def take_given(home: DeviceHome, text: str, now: float) -> Taken:
    """Keep the presence key that `text` hands over. Blocks.

    Raises RemoteError when there is none in it for this device, and LocalError when it is from nobody of the contacts.
    """
    message = open_by_hand(home.keys, text, now)
    handed, contact = message.content.presence, home.contacts().sender(message.sender)
    assert handed is not None  # by open_by_hand
    if contact is None:
        raise LocalError("this is from nobody of your contacts; note: `volly-fed device contacts add CARD` first")
    return Taken(contact=contact, news=take_key(home, message, now), wants=handed.wants)
