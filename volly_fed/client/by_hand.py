"""A sealed presence key as text: what people hand each other where no envelopes are relayed.

in: a sealed envelope, or a text and a device's keys; out: the text, or the opened message.
Never: opens anything but a presence key, for messages come through a mailbox, each once.
"""

from typing import Final

from volly_fed import limits
from volly_fed.client.inbox import InboxMessage, open_item
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.spelling import read_spelled, spell
from volly_fed.errors import BadMessage
from volly_fed.relay.envelope import Envelope, encode_envelope, parse_envelope

SCHEME: Final = "volly-sealed:"


def encode_by_hand(envelope: Envelope) -> str:
    """The envelope as one line, of some 11 000 characters for a key."""
    return spell(SCHEME, encode_envelope(envelope))


def open_by_hand(keys: DeviceKeys, text: str, now: float) -> InboxMessage:
    """The message in `text`, which has a presence key.

    Raises RemoteError: not such a text, not for this device, not by who it says, or nothing with a key.
    """
    raw = read_spelled(SCHEME, text, limits.MAX_SEALED_TEXT, "sealed key")  # [client-21]
    message = open_item(keys, parse_envelope(raw), now)  # [client-22]
    if message.content.presence is None:  # [client-23]
        raise BadMessage("there is no presence key in this; note: messages come by `volly-fed device listen`")
    return message
