"""A device's folder: its keys, its contacts, its messages.

in: a path; out: a DeviceHome. Files: device.toml (keys), contacts (cards, one a line), device.db (messages), all 0600.
Never: replaces keys that are there, or reads ones that others can read.
"""

from pathlib import Path

import attrs

from volly_fed.client.contact import ContactBook, encode_contacts, parse_contacts
from volly_fed.client.mailbox import DeviceKeys, encode_device, parse_device
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.daemon.files import Creation, locked, read_private_text, write_text
from volly_fed.errors import BadMessage, LocalError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName

KEYS = "device.toml"
CONTACTS = "contacts"
MESSAGES = "device.db"
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

    def messages(self) -> DeviceStore:
        """The store of messages, opened; the caller closes it. Raises StorageError."""
        return DeviceStore(self.path / MESSAGES)
