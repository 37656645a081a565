"""Exactly once at the client: what a message is known by, and what the store of messages promises.

in: delivered envelopes; out: messages to store, or nothing for what does not open.
Delivery is at least once on every wire. Here each message is handed to the application once: its key is remembered
in the transaction that stores it, and an envelope is acknowledged only after that. A message stays in the inbox until
the application says that it took it. If the process dies between the application's own work and that word, the
message comes again with the same key after the restart: who must exclude even that notes the key in the transaction
of its own work. Two processes on one store are kept apart by the store.
"""

from contextlib import suppress
from typing import Final, Protocol

import attrs

from volly_fed import limits
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.receiver import Item
from volly_fed.client.seal import Content, open_envelope
from volly_fed.codepoints import Label
from volly_fed.crypto.kdf import digest
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.names import Fingerprint
from volly_fed.relay.envelope import Envelope


@attrs.frozen(kw_only=True)
class InboxMessage:
    """One message, opened and verified. `key` (32 bytes) stays the same however often it is delivered."""

    key: bytes
    id: bytes
    sender: Fingerprint
    content: Content


class InboxStore(Protocol):
    """Where messages are kept; durable when a call returns."""

    def take_in(self, messages: list[InboxMessage], now: float) -> int:
        """Store those whose key is not known yet, keys and contents in one transaction; how many were new.

        Raises StorageError: then nothing was stored and nothing may be acknowledged.
        """
        ...

    def waiting(self, limit: int) -> list[tuple[int, InboxMessage]]:
        """The oldest messages that the application has not taken, each with its number."""
        ...

    def took(self, number: int) -> None:
        """The application has this one: forget its content, remember its key."""
        ...


def message_key(sender: Fingerprint, envelope_id: bytes) -> bytes:
    """What a message is known by: who signed it, and the envelope's id.

    Not the id alone: an edge sees ids, and could make envelopes of its own under them, so that the real ones would
    pass for duplicates. Not the envelope's bytes either: its outer fields can be altered on the way.
    """
    return digest(Label.MESSAGE, sender, envelope_id)


_OLDEST: Final = (limits.MAX_LIFETIME + limits.DUPLICATE_MEMORY) / 2
"""Seconds since a content was signed. No envelope lives longer than MAX_LIFETIME; but nobody signs its expiry, so that
whoever kept one could send it again once its key is forgotten. Both clocks may be half a day wrong."""


def open_item(keys: DeviceKeys, envelope: Envelope, now: float) -> InboxMessage:
    """The message in `envelope`. Raises RemoteError: not ours, not whole, not by who they say, or of long ago."""
    opened = open_envelope(envelope, keys.mailbox, keys.domain)
    if opened.content.sent_at < now - _OLDEST:  # [client-20]
        raise BadMessage("sealed too long ago")
    key = message_key(opened.sender, opened.id)
    return InboxMessage(key=key, id=opened.id, sender=opened.sender, content=opened.content)


def open_items(keys: DeviceKeys, items: list[Item], now: float) -> tuple[list[InboxMessage], int]:
    """The messages in `items`, and how many did not open.

    What does not open is acknowledged like the rest, or it would block the mailbox until it expires; nothing is
    remembered of it. The digest under the acknowledgement makes sure that the homeserver then deletes just these bytes.
    """
    messages = []
    for item in items:
        with suppress(RemoteError):  # [client-11]
            messages.append(open_item(keys, item.envelope, now))
    return messages, len(items) - len(messages)
