import base64
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed.names import (
    Address,
    BadName,
    DomainName,
    Fingerprint,
    MailboxId,
    fingerprint_text,
    mailbox_from_bytes,
    mailbox_text,
    parse_address,
    parse_domain,
    parse_fingerprint,
    parse_mailbox,
)

BOX = MailboxId(bytes(range(32)))
PRINT = Fingerprint(bytes(range(32)))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.example", "a.example"),
        ("A.ExAmPlE", "a.example"),
        ("a.example.", "a.example"),
        ("edge-1", "edge-1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.3", "1.2.3"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 63] * 3 + ["a" * 61]), ".".join(["a" * 63] * 3 + ["a" * 61])),  # 253
    ],
)
def test_domains(text: str, name: str) -> None:
    assert parse_domain(text) == name
    assert parse_domain(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..example",
        ".example",
        "a.example..",
        "-a.example",
        "a-.example",
        "a_b.example",
        "_volly-fed.example",
        "*.example",
        "bücher.example",
        "a.example\n",
        "a.example\x00",
        " a.example",
        "a b",
        "a/b",
        "a@b",
        "a:5223",
        "[::1]",
        "a" * 64 + ".example",
        ".".join(["a" * 63] * 3 + ["a" * 62]),  # 254
        "\u212aelvin.example",  # the Kelvin sign folds to k
        "\uff41.example",  # full-width a
        "\u0661.example",  # a digit, but not one of ours
    ],
)
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(BadName):
        parse_domain(text)


def test_texts_come_back() -> None:
    assert parse_mailbox(mailbox_text(BOX)) == BOX
    assert parse_fingerprint(fingerprint_text(PRINT)) == PRINT
    address = Address(BOX, DomainName("a.example"))
    assert parse_address(str(address)) == address
    assert str(address) == f"{mailbox_text(BOX)}@a.example"
    assert (len(mailbox_text(BOX)), len(fingerprint_text(PRINT))) == (52, 43)


def mailbox_with_bits() -> str:
    """The last of 52 characters carries one bit of the id and four that must be zero."""
    return mailbox_text(BOX)[:-1] + "b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        mailbox_text(BOX)[:-1],
        mailbox_text(BOX) + "a",
        mailbox_text(BOX) + "====",
        mailbox_text(BOX).upper(),
        "1" + mailbox_text(BOX)[1:],
        "ü" + mailbox_text(BOX)[1:],
        " " + mailbox_text(BOX)[1:],
        mailbox_with_bits(),
    ],
)
def test_what_is_no_mailbox(text: str) -> None:
    with pytest.raises(BadName):
        parse_mailbox(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        fingerprint_text(PRINT)[:-1],
        fingerprint_text(PRINT) + "=",
        fingerprint_text(PRINT)[:-1] + "9",  # bits that must be zero
        "+" + fingerprint_text(PRINT)[1:],
        "/" + fingerprint_text(PRINT)[1:],
        "ü" + fingerprint_text(PRINT)[1:],
        "\n" + fingerprint_text(PRINT)[1:],
    ],
)
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(BadName):
        parse_fingerprint(text)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_mailbox_id_has_32_bytes(size: int) -> None:
    with pytest.raises(BadName):
        mailbox_from_bytes(bytes(size))


@pytest.mark.parametrize("text", ["a.example", "@a.example", f"{mailbox_text(BOX)}@", f"{mailbox_text(BOX)}@a@b"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadName):
        parse_address(text)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_every_id_has_one_text(raw: bytes) -> None:
    assert parse_mailbox(mailbox_text(MailboxId(raw))) == raw
    text = fingerprint_text(Fingerprint(raw))
    assert parse_fingerprint(text) == raw
    assert base64.urlsafe_b64decode(text + "=") == raw


PARSERS: list[Callable[[str], object]] = [parse_domain, parse_mailbox, parse_fingerprint, parse_address]


@settings(deadline=None)
@given(st.sampled_from(PARSERS), st.text(max_size=60) | st.text("abc234-_=.@", min_size=40, max_size=54))
def test_only_bad_name_comes_out(parse: Callable[[str], object], text: str) -> None:
    try:
        value = parse(text)
    except BadName as error:
        assert text not in str(error) or len(text) < 3  # noqa: PT017 - the message shows the kind, not the content
        return
    assert value


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_parsed_domain_is_canonical(text: str) -> None:
    try:
        name = parse_domain(text)
    except BadName:
        return
    assert name.isascii()
    assert parse_domain(name) == name == name.lower()
