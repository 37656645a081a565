"""Presence keys: who has which, what survives the disk and the envelope, and what is announced when."""

import os

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits_presence
from volly_fed.client import DeviceKeys, open_envelope, seal
from volly_fed.client.announcer import Announcer
from volly_fed.client.contact import ContactBook
from volly_fed.client.presence import (
    Handed,
    Person,
    PresenceBook,
    announcement,
    encode_presence,
    handed_bytes,
    parse_handed,
    parse_presence,
)
from volly_fed.client.seal import Content, encode_content, parse_content
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence import bounds, presence_tag
from volly_fed.wire import codec

NOW = 1_800_000_000
KEY, OTHER = Secret(b"k" * 32), Secret(b"o" * 32)


@pytest.fixture
def book() -> PresenceBook:
    return PresenceBook.generate(os.urandom, NOW)


def contacts(*devices: DeviceKeys) -> ContactBook:
    return ContactBook(cards=tuple(device.card() for device in devices))


# --- in envelopes


def test_a_key_travels_sealed_and_is_no_text(alice: DeviceKeys, bob: DeviceKeys) -> None:
    handed = Handed(serial=7, key=KEY, wants=True)
    content = Content(sent_at=NOW, presence=handed, reply=alice.card())
    envelope = seal(content, identity=alice.identity, to=bob.card(), envelope_id=bytes(16), expiry=NOW + 60)
    opened = open_envelope(envelope, bob.mailbox, bob.domain)
    assert opened.content == content
    assert (opened.content.text, opened.content.data) == (None, b"")
    assert KEY.reveal() not in envelope.body
    assert "kkkk" not in repr(content)


@pytest.mark.spec("client-7")
def test_a_device_that_knows_no_such_kind_refuses_it_and_other_kinds_are_refused_here() -> None:
    encoded = encode_content(Content(sent_at=NOW, presence=Handed(serial=7, key=KEY, wants=False)))
    values = codec.decode(encoded)
    assert isinstance(values, list)
    assert values[3] == 2
    with pytest.raises(BadMessage):
        parse_content(codec.encode([*values[:3], 3, values[4]]))


@given(st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32), st.booleans())
def test_what_is_handed_over_comes_back(serial: int, key: bytes, wants: bool) -> None:
    handed = Handed(serial=serial, key=Secret(key), wants=wants)
    assert parse_handed(handed_bytes(handed)) == handed


@given(
    st.binary(max_size=80)
    | st.lists(st.integers(0, 3) | st.binary(max_size=33), max_size=4).map(lambda values: codec.encode([*values]))
)
@pytest.mark.spec("presence-5")
def test_only_bad_message_comes_of_what_is_not_a_key(data: bytes) -> None:
    try:
        handed = parse_handed(data)
    except BadMessage:
        return
    assert handed_bytes(handed) == data


# --- the book


def test_a_contact_is_owed_the_key_until_it_was_told(book: PresenceBook, alice: DeviceKeys, bob: DeviceKeys) -> None:
    known = contacts(alice, bob)
    assert [card.identity for card in book.owed(known, NOW)] == [alice.fingerprint, bob.fingerprint]
    book = book.with_told(alice.fingerprint, book.serial, NOW)
    assert [card.identity for card in book.owed(known, NOW)] == [bob.fingerprint]


def test_who_owes_us_a_key_is_asked_now_and_then(book: PresenceBook, alice: DeviceKeys) -> None:
    book = book.with_told(alice.fingerprint, book.serial, NOW)
    assert book.handed(alice.fingerprint).wants
    assert book.owed(contacts(alice), NOW + limits_presence.ASK_AGAIN - 1) == []
    assert len(book.owed(contacts(alice), NOW + limits_presence.ASK_AGAIN)) == 1
    book = book.received(alice.fingerprint, Handed(serial=1, key=KEY, wants=False))
    assert not book.handed(alice.fingerprint).wants
    assert book.owed(contacts(alice), NOW + 10 * limits_presence.ASK_AGAIN) == []


def test_who_asks_is_answered_once_and_two_do_not_ask_each_other_for_ever(alice: DeviceKeys, bob: DeviceKeys) -> None:
    books = {device.fingerprint: PresenceBook.generate(os.urandom, NOW) for device in (alice, bob)}
    one, two = alice.fingerprint, bob.fingerprint
    sent = 0
    for _ in range(10):
        for me, other, card in ((one, two, bob), (two, one, alice)):
            if books[me].owed(contacts(card), NOW):
                sent += 1
                books[other] = books[other].received(me, books[me].handed(other))
                books[me] = books[me].with_told(other, books[me].serial, NOW)
    assert sent == 2
    assert books[one].person(two).key == books[two].key
    assert books[two].person(one).key == books[one].key


@pytest.mark.spec("presence-7")
def test_who_has_lost_our_key_is_given_it_again(book: PresenceBook, alice: DeviceKeys) -> None:
    book = book.with_told(alice.fingerprint, book.serial, NOW)
    for serial, wants in ((1, False), (2, True)):
        book = book.received(alice.fingerprint, Handed(serial=serial, key=KEY, wants=wants))
        assert bool(book.owed(contacts(alice), NOW)) is wants


@pytest.mark.spec("presence-4")
def test_an_older_key_does_not_take_a_newer_ones_place(book: PresenceBook, alice: DeviceKeys) -> None:
    book = book.received(alice.fingerprint, Handed(serial=5, key=KEY, wants=False))
    assert book.received(alice.fingerprint, Handed(serial=5, key=OTHER, wants=False)) is book
    assert book.received(alice.fingerprint, Handed(serial=4, key=OTHER, wants=True)) is book
    assert (
        book.received(alice.fingerprint, Handed(serial=6, key=OTHER, wants=False)).person(alice.fingerprint).key
        == OTHER
    )


@pytest.mark.spec("presence-6")
def test_removing_a_contact_who_has_the_key_replaces_it_for_everybody(
    book: PresenceBook, alice: DeviceKeys, bob: DeviceKeys
) -> None:
    for device in (alice, bob):
        book = book.with_told(device.fingerprint, book.serial, NOW).received(
            device.fingerprint, Handed(serial=1, key=KEY, wants=False)
        )
    after = book.kept_to(contacts(bob), os.urandom, NOW - 100)
    assert after.key != book.key
    assert after.serial > book.serial
    assert [person.identity for person in after.people] == [bob.fingerprint]
    assert [card.identity for card in after.owed(contacts(bob), NOW)] == [bob.fingerprint]
    assert after.person(bob.fingerprint).key == KEY
    assert after.kept_to(contacts(bob), os.urandom, NOW) is after


def test_removing_a_contact_who_has_it_not_replaces_nothing(book: PresenceBook, alice: DeviceKeys) -> None:
    book = book.received(alice.fingerprint, Handed(serial=1, key=KEY, wants=False))
    after = book.kept_to(contacts(), os.urandom, NOW)
    assert (after.key, after.people) == (book.key, ())


PEOPLE = st.builds(
    Person,
    identity=st.binary(min_size=32, max_size=32).map(Fingerprint),
    told=st.integers(0, 2**63),
    told_at=st.integers(0, 2**40),
    key=st.none() | st.just(KEY),
    serial=st.integers(0, 2**63),
)


@given(st.lists(PEOPLE, max_size=3), st.integers(0, 2**63))
def test_the_book_survives_the_disk(people: list[Person], serial: int) -> None:
    book = PresenceBook(key=OTHER, serial=serial, people=tuple(people))
    assert parse_presence(encode_presence(book)) == book
    assert OTHER.reveal().hex() not in repr(book)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("version = 1", ""),
        ('key = "6f', 'key = "zz'),
        ('key = "6f', 'key = "'),
        ("serial = 3", "serial = -3"),
    ],
)
def test_a_damaged_book_is_one_error_that_quotes_nothing(old: str, new: str) -> None:
    text = encode_presence(PresenceBook(key=OTHER, serial=3, people=(Person(identity=Fingerprint(bytes(32))),)))
    assert old in text
    with pytest.raises(BadMessage) as caught:
        parse_presence(text.replace(old, new))
    assert "6f6f" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=200))
def test_any_text_is_a_book_or_bad_message(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_presence(text)


# --- what is announced


def test_tags_are_those_that_contacts_compute() -> None:
    made = announcement(KEY, 9, ("*", "far.test"))
    assert made.tags == (("*", presence_tag(KEY, 9, "*")), ("far.test", presence_tag(KEY, 9, "far.test")))
    assert (made.epoch, made.number) == (9, 0)


@pytest.mark.spec("presence-45")
def test_this_epoch_and_the_next_at_once_then_one_for_each_epoch_spread_over_it() -> None:
    announcer, start = Announcer(("*",), 600.0), 1000 * bounds.EPOCH
    assert [made.epoch for made in announcer.due(KEY, start + 100.0)] == [1000, 1001]
    assert announcer.due(KEY, start + 1700.0) == []
    assert announcer.due(KEY, start + bounds.EPOCH + 599.0) == []
    assert [made.epoch for made in announcer.due(KEY, start + bounds.EPOCH + 600.0)] == [1002]
    assert announcer.due(KEY, start + bounds.EPOCH + 601.0) == []


def test_a_device_that_slept_announces_what_is_missing() -> None:
    announcer = Announcer(("*",), 600.0)
    announcer.due(KEY, 1000.0 * bounds.EPOCH)
    assert [made.epoch for made in announcer.due(KEY, 1005.0 * bounds.EPOCH)] == [1005, 1006]


def test_another_key_is_announced_at_once() -> None:
    announcer = Announcer(("*",), 600.0)
    announcer.due(KEY, 1000.0 * bounds.EPOCH)
    made = announcer.due(OTHER, 1000.0 * bounds.EPOCH + 1)
    assert [one.epoch for one in made] == [1000, 1001]
    assert made[0].tags == announcement(OTHER, 1000, ("*",)).tags


def test_the_cards_name_is_not_what_a_key_is_kept_under(book: PresenceBook, alice: DeviceKeys) -> None:
    renamed = ContactBook(cards=(attrs.evolve(alice.card(), name="Ally", domain=DomainName("moved.test")),))
    book = book.with_told(alice.fingerprint, book.serial, NOW)
    assert book.kept_to(renamed, os.urandom, NOW) is book
