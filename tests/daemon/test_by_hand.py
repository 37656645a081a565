"""Presence keys from hand to hand: what is given, what is taken, and what the folder knows afterwards."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed.cli import failure
from volly_fed.cli.app import run
from volly_fed.client import Card, DeviceKeys
from volly_fed.client.by_hand import SCHEME, open_by_hand
from volly_fed.client.contact import ContactBook
from volly_fed.client.spelling import spell
from volly_fed.daemon.device.by_hand import give_key, take_given
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.errors import LocalError, RemoteError
from volly_fed.names import DomainName

NEAR, FAR = DomainName("near.test"), DomainName("far.test")
NOW = time.time()
SOMEBODY = DeviceKeys.generate(NEAR, os.urandom)


@pytest.fixture
def alice(tmp_path: Path) -> DeviceHome:
    return DeviceHome.create(tmp_path / "alice", NEAR, os.urandom, name="Alice")


@pytest.fixture
def bob(tmp_path: Path) -> DeviceHome:
    return DeviceHome.create(tmp_path / "bob", FAR, os.urandom, name="Bob")


def know(home: DeviceHome, *others: DeviceHome) -> Card:
    """They become contacts of `home`; the first of them, as `home` knows it."""
    home.put_contacts(ContactBook(cards=tuple(other.keys.card() for other in others)))
    return home.contacts().cards[0]


def test_who_takes_it_has_the_key_and_who_gives_it_knows_that(alice: DeviceHome, bob: DeviceHome) -> None:
    to = know(alice, bob)
    know(bob, alice)
    text = give_key(alice, to, NOW)
    given_out, own = alice.presence(), alice.keys.card().identity
    assert given_out is not None
    assert given_out.person(to.identity).told == given_out.serial
    taken = take_given(bob, text, NOW)
    assert (taken.contact.name, taken.news, taken.wants) == ("Alice", True, True)
    kept = bob.presence()
    assert kept is not None
    assert kept.person(own).key == given_out.key
    assert not take_given(bob, text, NOW).news
    answer = take_given(alice, give_key(bob, bob.contacts().cards[0], NOW), NOW)
    assert (answer.news, answer.wants) == (True, False)


def test_who_was_given_it_by_hand_and_is_removed_sees_us_no_more(alice: DeviceHome, bob: DeviceHome) -> None:
    to = know(alice, bob)
    know(bob, alice)
    take_given(bob, give_key(alice, to, NOW), NOW)
    alice.put_contacts(ContactBook())
    after, kept = alice.change_presence(lambda book: book, os.urandom, NOW), bob.presence()
    assert kept is not None
    assert kept.person(alice.keys.card().identity).key not in (None, after.key)


def test_a_key_from_nobody_known_is_not_kept(alice: DeviceHome, bob: DeviceHome) -> None:
    text = give_key(alice, know(alice, bob), NOW)
    with pytest.raises(LocalError, match="nobody of your contacts"):
        take_given(bob, text, NOW)
    assert bob.presence() is None


def test_the_key_is_not_in_the_text(alice: DeviceHome, bob: DeviceHome) -> None:
    text = give_key(alice, know(alice, bob), NOW)
    book = alice.presence()
    assert book is not None
    assert spell("", book.key.reveal())[:-2] not in text
    with pytest.raises(RemoteError):
        open_by_hand(SOMEBODY, text, NOW)


@given(st.text() | st.binary().map(lambda raw: spell(SCHEME, raw)))
def test_whatever_is_given_to_it_one_kind_of_error_comes_out(text: str) -> None:
    with pytest.raises(RemoteError):
        open_by_hand(SOMEBODY, text, NOW)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = {name: ["device", "--home", str(tmp_path / name)] for name in ("alice", "bob")}
    cards = {}
    for name, folder in folders.items():
        assert run([*folder, "card", "--domain", f"{name}.test", "--name", name, "--json"]) == failure.OK
        cards[name] = json.loads(capsys.readouterr().out)["card"]
    assert run([*folders["alice"], "give", cards["bob"]]) == failure.FAILED
    assert "contacts add" in capsys.readouterr().err
    assert run([*folders["alice"], "contacts", "add", cards["bob"]]) == failure.OK
    assert run([*folders["alice"], "give", "bob"]) == failure.OK
    (tmp_path / "line").write_text(capsys.readouterr().out)
    take = [*folders["bob"], "take", str(tmp_path / "line")]
    assert run(take) == failure.FAILED
    assert "contacts add" in capsys.readouterr().err
    assert run([*folders["bob"], "contacts", "add", cards["alice"]]) == failure.OK
    assert run([*folders["bob"], "watch", "--timeout", "1"]) == failure.FAILED
    assert "volly-fed device give" in capsys.readouterr().err
    assert run(take) == failure.OK
    said = capsys.readouterr()
    assert "the presence key of alice is kept" in said.out
    assert "device give" in said.err
    assert run(take) == failure.OK
    assert "nothing new from alice" in capsys.readouterr().out
    (tmp_path / "line").write_bytes(b"\xff" * 20_000)
    assert run(take) == failure.FAILED
    assert "begins with volly-sealed:" in capsys.readouterr().err
