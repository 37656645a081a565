"""A device's folder: its keys, its contacts, its messages, the presence keys.

in: a path; out: a DeviceHome. Files: device.toml (keys), contacts (cards, one a line), device.db (messages),
presence.toml (our presence key and those of contacts), all 0600.
Never: replaces keys that are there, or reads ones that others can read.
"""

from collections.abc import Callable
from pathlib import Path

import attrs

from volly_fed.client.contact import ContactBook, encode_contacts, parse_contacts
from volly_fed.client.mailbox import DeviceKeys, encode_device, parse_device
from volly_fed.client.presence import PresenceBook, encode_presence, parse_presence
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.daemon.files import Creation, locked, read_private_text, write_text
from volly_fed.errors import BadMessage, LocalError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName

KEYS = "device.toml"
CONTACTS = "contacts"
MESSAGES = "device.db"
PRESENCE = "presence.toml"
_MISSING = "make a device first: `volly-fed device --home DIR card --domain DOMAIN`"


@attrs.frozen(kw_only=True, eq=False)
class DeviceHome:
    """One device on disk."""

    path: Path
    keys: DeviceKeys

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether a device was made there."""
        return (path / KEYS).exists()

    @classmethod
    def create(cls, path: Path, domain: DomainName, random: RandomSource, *, name: str = "") -> "DeviceHome":
        """A new device of `domain` in folder `path`.

        Raises LocalError when there is one already or it cannot be written, BadMessage for an unusable name.
        """
        keys = DeviceKeys.generate(domain, random, name=name)
        with Creation() as creation:
            creation.folder(path)
            creation.file(path / KEYS, encode_device(keys))
        return cls(path=path, keys=keys)

    @classmethod
    def open(cls, path: Path) -> "DeviceHome":
        """The device in folder `path`. Raises LocalError: there is none, others can read it, it is damaged."""
        text = read_private_text(path / KEYS, "device key file", _MISSING)
        try:
            return cls(path=path, keys=parse_device(text))
        except BadMessage as error:
            raise LocalError(f"{path / KEYS}: {error}") from error

    def with_keys(self, keys: DeviceKeys) -> "DeviceHome":
        """Store changed `keys` (a name, capabilities). Raises LocalError; the old ones are then intact."""
        write_text(self.path / KEYS, encode_device(keys))
        return attrs.evolve(self, keys=keys)

    def contacts(self) -> ContactBook:
        """The contact book; empty when none was written. Raises LocalError."""
        path = self.path / CONTACTS
        if not path.exists():
            return ContactBook()
        try:
            return parse_contacts(read_private_text(path, "contact book"))
        except BadMessage as error:
            raise LocalError(f"{path}: {error}") from error

    def put_contacts(self, book: ContactBook) -> None:
        """Replace the contact book. Raises LocalError; the old one is then intact."""
        with locked(self.path):
            write_text(self.path / CONTACTS, encode_contacts(book))

    def presence(self) -> PresenceBook | None:
        """The presence keys; None when none were made. Raises LocalError."""
        path = self.path / PRESENCE
        if not path.exists():
            return None
        try:
            return parse_presence(read_private_text(path, "file of presence keys"))
        except BadMessage as error:
            raise LocalError(f"{path}: {error}") from error

    def change_presence(
        self, change: Callable[[PresenceBook], PresenceBook], random: RandomSource, now: float
    ) -> PresenceBook:
        """Read the presence keys (made at first use), change them, store them: one process at a time.

        Who is no contact any more is forgotten, and our key replaced if they have it, whatever `change` does; so a
        crash between the two steps of a removal is made good by whoever comes next. Raises LocalError; the old file is
        then intact.
        """
        with locked(self.path):
            before = self.presence()
            book = before or PresenceBook.generate(random, now)
            after = change(book.kept_to(self.contacts(), random, now))
            if after != before:
                write_text(self.path / PRESENCE, encode_presence(after))
        return after

    def messages(self) -> DeviceStore:
        """The store of messages, opened; the caller closes it. Raises StorageError."""
        return DeviceStore(self.path / MESSAGES)
