"""The device's file of messages."""

from pathlib import Path

import apsw

from volly_fed.client.inbox import InboxMessage
from volly_fed.client.seal import Content
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.names import Fingerprint

SECRET = b"what nobody is to find on the disk afterwards"


def test_what_was_taken_is_not_on_the_disk_any_more(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    store = DeviceStore(path)
    content = Content(sent_at=1, data=SECRET)
    store.take_in([InboxMessage(key=bytes(32), id=bytes(16), sender=Fingerprint(bytes(32)), content=content)], 1.0)
    ((number, _),) = store.waiting()
    store.took(number)
    store.close()  # which brings everything into one file
    assert list(tmp_path.iterdir()) == [path]
    assert SECRET not in path.read_bytes()


def test_it_is_durable(tmp_path: Path) -> None:
    DeviceStore(tmp_path / "device.db").close()
    store = DeviceStore(tmp_path / "device.db")
    database: apsw.Connection = store._database
    assert [database.pragma(name) for name in ("journal_mode", "synchronous", "secure_delete")] == ["wal", 2, 1]
    store.close()
