import base64
import contextlib
import os

import attrs
import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.client import Card, DeviceKeys, encode_card, parse_card
from volly_fed.client.card import SCHEME, card_bytes, card_from_bytes, check_name
from volly_fed.client.contact import ContactBook, encode_contacts, parse_contacts
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire import codec

QR_BYTES = 2953
LONGEST_DOMAIN = DomainName(".".join(["a" * 63] * 3 + ["b" * 61]))

names = st.text(max_size=limits.MAX_CARD_NAME).filter(str.isprintable)
cards = st.builds(
    Card,
    domain=st.sampled_from([DomainName("a.test"), DomainName("b"), LONGEST_DOMAIN]),
    key=st.binary(min_size=1216, max_size=1216),
    capability=st.binary(min_size=16, max_size=16),
    identity=st.binary(min_size=32, max_size=32).map(Fingerprint),
    name=names,
)


@given(cards)
def test_a_card_survives_as_a_uri_and_fits_a_qr_code(card: Card) -> None:
    uri = encode_card(card)
    assert parse_card(uri) == card
    assert parse_card(f"  {uri}\n") == card
    assert len(uri) < min(limits.MAX_CARD, QR_BYTES)


def test_a_real_card_makes_a_qr_code(alice: DeviceKeys) -> None:
    code = segno.make(encode_card(attrs.evolve(alice.card(), domain=LONGEST_DOMAIN, name="é" * 64)), error="l")
    assert int(code.version) <= 40


@given(st.binary(max_size=1500))
def test_other_bytes_are_bad_messages(data: bytes) -> None:
    with pytest.raises(BadMessage):
        card_from_bytes(data)
    with pytest.raises(BadMessage):
        parse_card(SCHEME + base64.urlsafe_b64encode(data).decode().rstrip("="))


@given(st.text())
@pytest.mark.spec("client-1")
def test_other_text_is_a_bad_message(text: str) -> None:
    for candidate in (text, SCHEME + text):
        with pytest.raises(BadMessage):
            parse_card(candidate)


@given(st.data())
def test_a_damaged_card_is_a_bad_message_or_another_card(data: st.DataObject) -> None:
    raw = bytearray(card_bytes(_CARD))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(BadMessage):
        assert card_from_bytes(bytes(raw)) != _CARD


_CARD = DeviceKeys.generate(DomainName("c.test"), os.urandom, name="Carol").card()


@pytest.mark.parametrize(
    "change",
    [
        {0: 2},
        {1: "A.test"},
        {1: ""},
        {2: bytes(1215)},
        {3: bytes(17)},
        {4: bytes(31)},
        {5: "a\nb"},
        {5: "n" * 65},
        {5: 1},
    ],
)
@pytest.mark.spec("client-3")
def test_fields_out_of_range_are_bad_messages(alice: DeviceKeys, change: dict[int, codec.Value]) -> None:
    value = codec.decode(card_bytes(alice.card()))
    assert isinstance(value, list)
    for index, item in change.items():
        value[index] = item
    with pytest.raises(BadMessage):
        card_from_bytes(codec.encode(value))


@pytest.mark.spec("client-1")
def test_a_second_spelling_is_refused(alice: DeviceKeys) -> None:
    uri = encode_card(alice.card())
    for spelling in (uri + "=", uri.replace("volly:", "VOLLY:"), uri[:-1], uri + "A", uri[:20] + " " + uri[20:]):
        with pytest.raises(BadMessage):
            parse_card(spelling)


def test_a_card_does_not_show_what_it_holds(alice: DeviceKeys) -> None:
    shown = repr(alice.card())
    assert repr(alice.card().capability) not in shown
    assert "key" not in shown


@pytest.mark.spec("client-2")
def test_names_are_checked() -> None:
    assert check_name("Zoë 🦊") == "Zoë 🦊"
    for bad in ("a\x1b[2J", "n" * 65, "tab\there"):
        with pytest.raises(BadMessage):
            check_name(bad)


# --- the contact book


@pytest.mark.spec("client-4", "client-13")
def test_a_contact_is_found_by_name_identity_and_signature(alice: DeviceKeys, bob: DeviceKeys) -> None:
    book = ContactBook().with_card(alice.card()).with_card(bob.card())
    assert book.find("Alice") == book.sender(alice.fingerprint) == alice.card()
    assert book.sender(Fingerprint(bytes(32))) is None
    with pytest.raises(LocalError):
        book.find("Mallory")
    with pytest.raises(LocalError):
        ContactBook(cards=(attrs.evolve(alice.card(), name=""),)).find("")


@pytest.mark.spec("client-6")
def test_nobody_takes_the_name_of_another(alice: DeviceKeys) -> None:
    book = ContactBook().with_card(alice.card())
    mallory = DeviceKeys.generate(DomainName("a.test"), os.urandom, name="Alice")
    with pytest.raises(LocalError, match="name"):
        book.with_card(mallory.card())


def test_a_newer_card_of_the_same_identity_replaces_the_older(alice: DeviceKeys) -> None:
    newer = alice.with_pass("friends", os.urandom).card("friends")
    book = ContactBook().with_card(alice.card()).with_card(newer)
    assert book.cards == (newer,)
    assert book.without(alice.fingerprint).cards == ()


def test_the_book_survives_as_text(alice: DeviceKeys, bob: DeviceKeys) -> None:
    book = ContactBook().with_card(alice.card()).with_card(bob.card())
    assert parse_contacts(encode_contacts(book)) == book
    assert parse_contacts("\n\n") == ContactBook()
    mallory = DeviceKeys.generate(DomainName("a.test"), os.urandom, name="Alice")
    with pytest.raises(BadMessage):
        parse_contacts(encode_contacts(book) + encode_card(mallory.card()))


def test_the_book_is_bounded(alice: DeviceKeys, bob: DeviceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONTACTS", 1)
    with pytest.raises(LocalError):
        ContactBook().with_card(alice.card()).with_card(bob.card())


@given(st.text())
def test_a_book_of_other_text_is_a_bad_message_or_empty(text: str) -> None:
    with contextlib.suppress(BadMessage):
        assert parse_contacts(text) == ContactBook()
