"""Blind: what homeservers and edges have in the clear holds no plaintext, no device's identity, no name, no sender.

Taps: every message on every link of every process, decrypted; every file in the data folders, write-ahead logs
included; every log, at level debug. The test plants things to be recognised, and at the end a sender on purpose, to
see that each tap would have told.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest

from tests.federation.evidence import COLUMNS, Places, find, spellings, tapped, unexpected_fields
from tests.federation.harness import (
    A,
    B,
    Federation,
    Heard,
    Outcomes,
    eventually,
    federation,
    introduce,
    listening,
    now,
    submitting,
)
from volly_fed import limits
from volly_fed.channel import DEVICE, EDGE, FEDERATION
from volly_fed.client.card import Card, encode_card
from volly_fed.codepoints import EnvelopeClass, ErrorCode, MessageType
from volly_fed.daemon.device.link import with_socket
from volly_fed.daemon.websocket import Socket
from volly_fed.names import fingerprint_text, mailbox_text
from volly_fed.observe.log import Log
from volly_fed.relay.envelope import Envelope, encode_envelope, parse_envelope
from volly_fed.testnet import processes
from volly_fed.testnet.devices import Device
from volly_fed.wire import codec

pytestmark = pytest.mark.real
SAID = "Meet me behind the planted hawthorn hedge, number "
NAMES = {"alice": "Alice Planted-Marigold", "bob": "Bob Planted-Cornflower", "dave": "Dave Planted-Foxglove"}


@pytest.fixture
def taps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the taps write; processes of the test network run with them from here on."""
    folder = tmp_path / "taps"
    folder.mkdir()
    runner = Path(__file__).with_name("tapped.py")

    def command(*arguments: str) -> list[str]:
        return [sys.executable, str(runner), str(folder), *arguments]

    monkeypatch.setattr(processes, "command", command)
    return folder


@attrs.frozen
class Watched:
    """A federation under observation."""

    net: Federation
    taps: Path

    def places(self) -> Places:
        """Everything that homeservers and edges have in the clear by now."""
        places: Places = {}
        for process, protocol, message in tapped(self.taps):
            place = f"{process}: {protocol}"
            places[place] = places.get(place, b"") + message
        for path in sorted(self.net.network.folder.rglob("*")):
            if path.is_file():
                places[str(path.relative_to(self.net.network.folder))] = path.read_bytes()
        return places

    def unexpected(self) -> set[str]:
        """Fields that no message may have."""
        return {field for _, _, message in tapped(self.taps) for field in unexpected_fields(message)}


def own_secrets(device: Device) -> dict[str, bytes]:
    """What must never show of any device."""
    keys, name = device.keys, device.keys.name
    return {
        f"{name}: identity key": keys.identity.public,
        f"{name}: fingerprint": keys.fingerprint,
        f"{name}: fingerprint in text": fingerprint_text(keys.fingerprint).encode(),
        f"{name}: identity seed": keys.identity.seed.reveal(),
        f"{name}: mailbox seed": keys.mailbox.seed.reveal(),
        f"{name}: name": name.encode(),
        f"{name}: card": encode_card(device.card)[-400:].encode(),
    }


def sender_secrets(device: Device) -> dict[str, bytes]:
    """What must not show of one that only sends: where it could be written to."""
    keys, name = device.keys, device.keys.name
    return {
        f"{name}: mailbox": keys.address.mailbox,
        f"{name}: mailbox in text": mailbox_text(keys.address.mailbox).encode(),
        f"{name}: mailbox key": keys.mailbox.public,
        f"{name}: capability": device.card.capability,
    }


def named(net: Federation, domain: object, who: str) -> Device:
    device = net.device(B if domain == B else A, who)
    return attrs.evolve(device, home=device.home.with_keys(attrs.evolve(device.keys, name=NAMES[who])))


def in_the_clear(sender: Device, to: Card) -> bytes:
    """An envelope whose maker forgot to seal it, with a sender in its body."""
    body = sender.keys.fingerprint.ljust(limits.BODY_CLASSES[0], b"\0")
    return encode_envelope(
        Envelope(
            mailbox=to.address.mailbox,
            domain=to.domain,
            id=os.urandom(16),
            expiry=now() + 3600,
            urgency=EnvelopeClass.SIGNAL,
            capability=to.capability,
            body=body,
        )
    )


async def submit_with_sender(sender: Device, frames: list[bytes]) -> None:
    """A SUBMIT with a field more, in which a sender stands."""
    message: dict[int, Any] = {0: int(MessageType.SUBMIT), 1: frames, 9: sender.keys.fingerprint}

    async def talk(socket: Socket, _nursery: object) -> None:
        await socket.receive()  # WELCOME
        await socket.send(codec.encode(message))
        await socket.receive()  # SUBMITTED

    await with_socket(sender.way, talk)


async def traffic(net: Federation, alice: Device, bob: Device, dave: Device) -> None:
    """Delivered at once, kept for later, local, refused late, waiting for a server that is down."""
    await introduce(dave)
    heard = Heard()
    async with listening(bob, heard):
        assert (await alice.send(bob.card, f"{SAID}1")).accepted
        await heard.wait(1)
    assert heard.texts == [f"{SAID}1"]
    assert (await alice.send(bob.card, f"{SAID}2")).accepted
    assert (await alice.send(dave.card, f"{SAID}3")).accepted
    assert (await bob.send(dave.card, f"{SAID}4")).accepted
    refused = await alice.send(attrs.evolve(bob.card, capability=os.urandom(16)), f"{SAID}5")
    assert refused.accepted or refused.code is ErrorCode.UNDELIVERABLE  # whoever is faster: our disk, or b.test
    await net.network.homeservers[B].stop()
    assert (await alice.send(bob.card, f"{SAID}6")).accepted
    await net.logged(A, "dial_failed")


@pytest.mark.spec("privacy-2")
async def test_nothing_in_the_clear_tells_who_or_what_and_the_taps_would_have_told(tmp_path: Path, taps: Path) -> None:
    async with federation(tmp_path, level="debug") as net:
        watched = Watched(net, taps)
        alice, bob, dave = named(net, A, "alice"), named(net, B, "bob"), named(net, A, "dave")
        await traffic(net, alice, bob, dave)
        secrets = {"plaintext": SAID.encode(), **sender_secrets(alice)}
        for device in (alice, bob, dave):
            secrets |= own_secrets(device)

        places = watched.places()
        assert_complete(places, bob)
        assert find(places, secrets) == set()
        assert watched.unexpected() == set()

        await net.start_homeservers(B)
        frame = in_the_clear(alice, bob.card)
        outcomes = Outcomes()
        async with submitting(alice, outcomes) as connection:
            await connection.submit([(parse_envelope(frame).id, frame)])
            await outcomes.wait(1)
        await submit_with_sender(alice, [frame])
        async with listening(bob, Heard()):
            await eventually(lambda: planted(watched, alice) or None, "the planted sender reaches b.test's edge")
        for child in net.network.children:
            await child.stop()
        told = {place for name, place in find(watched.places(), secrets) if name == f"{NAMES['alice']}: fingerprint"}
        assert told >= {
            f"a.test edge-1: {DEVICE.subprotocol}",
            f"a.test edge-1: {EDGE.subprotocol}",
            f"a.test: {EDGE.subprotocol}",
            f"a.test: {FEDERATION.subprotocol}",
            f"b.test: {FEDERATION.subprotocol}",
            f"b.test: {EDGE.subprotocol}",
            "b.test/data/store.db",
        }
        assert watched.unexpected() == {"Submit field 9"}
        for domain in (A, B):
            assert set(columns(net.store(domain))) == {(table, name) for table in COLUMNS for name in COLUMNS[table]}


def planted(watched: "Watched", alice: Device) -> bool:
    """Whether b.test has passed the planted sender on."""
    found = find(watched.places(), {"fingerprint": alice.keys.fingerprint})
    return ("fingerprint", f"b.test: {EDGE.subprotocol}") in found


def assert_complete(places: Places, bob: Device) -> None:
    """The taps saw the traffic: the recipient's mailbox, which is no secret from its own server, stands everywhere."""
    seen = {place for _, place in find(places, {"recipient": bob.keys.address.mailbox})}
    assert seen == {
        *(f"a.test edge-1: {link.subprotocol}" for link in (DEVICE, EDGE)),
        *(f"a.test: {link.subprotocol}" for link in (EDGE, FEDERATION)),
        *(f"b.test: {link.subprotocol}" for link in (EDGE, FEDERATION)),
        *(f"b.test edge-1: {link.subprotocol}" for link in (DEVICE, EDGE)),
        "a.test/data/store.db-wal",
        "b.test/data/store.db",
    }
    assert {f"{domain}/{log}" for domain in (A, B) for log in ("homeserver.log", "edge-1.log")} <= places.keys()
    assert b'"level": "debug"' in places["a.test/homeserver.log"]


def columns(store: Path) -> Iterator[tuple[str, str]]:
    """Every column of every table of a database."""
    database = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        for (table,) in list(database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")):
            for row in database.execute(f"SELECT name FROM pragma_table_info('{table}')"):
                yield str(table), str(row[0])
    finally:
        database.close()


# --- the taps themselves -------------------------------------------------------------------------------------------

SECRETS = {"sender": bytes(range(64, 96)), "plaintext": SAID.encode()}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_in_every_spelling_and_in_part(name: str) -> None:
    for spelling in spellings(SECRETS[name]):
        assert find({"place": b"before " + spelling + b" after"}, SECRETS) == {(name, "place")}
        assert find({"place": spelling[: len(spelling) - 8]}, SECRETS) == {(name, "place")}
    assert find({"place": os.urandom(1 << 16)}, SECRETS) == set()


@pytest.mark.parametrize("table", ["inbound", "outbound"])
def test_a_sender_in_a_row_is_found_in_the_write_ahead_log_and_in_the_schema(tmp_path: Path, table: str) -> None:
    path = tmp_path / "store.db"
    database = apsw.Connection(str(path))
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"CREATE TABLE {table}(row INTEGER PRIMARY KEY, sender BLOB)")
    database.execute(f"INSERT INTO {table} VALUES(1, ?)", (SECRETS["sender"],))
    places = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert find(places, SECRETS) == {("sender", "store.db-wal")}
    assert (table, "sender") in set(columns(path))
    assert "sender" not in COLUMNS[table]
    database.close()


def test_a_sender_in_a_log_line_is_found_if_the_log_lets_one_through(tmp_path: Path) -> None:
    raw = f'{{"event": "claim_refused", "reason": "sent by {fingerprint_text(SECRETS["sender"])}"}}'  # type: ignore[arg-type]  # any 32 bytes
    assert find({"log": raw.encode()}, SECRETS) == {("sender", "log")}
    path = tmp_path / "log"
    with path.open("w") as stream:
        log = Log("debug", "json", stream)
        log.claim_refused(peer=A, code="POLICY", reason=f"sent by {SECRETS['sender'].hex()} {SECRETS['sender']!r}")
    assert path.read_text()
    assert find({"log": path.read_bytes()}, SECRETS) == set()
