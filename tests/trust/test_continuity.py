"""Continuity statements: what they say, and that nobody but the holders of both keys can say it."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.codepoints import Label
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName
from volly_fed.trust.continuity import Statement, make_statement, parse_statement
from volly_fed.wire import codec

PEER, OTHER = DomainName("peer.example"), DomainName("other.example")
OLD, NEW, EVIL = (IdentityKey.generate(os.urandom) for _ in range(3))
NOW = 1_800_000_000
LATER = NOW + 90 * 86400


def make(**changes: Any) -> bytes:
    facts: dict[str, Any] = {
        "domain": PEER,
        "sequence": NOW,
        "not_before": NOW,
        "not_after": LATER,
        "old": OLD,
        "new": NEW,
    }
    return make_statement(**(facts | changes))


DATA = make()


def check(statement: Statement, **changes: Any) -> str:
    facts: dict[str, Any] = {
        "domain": PEER,
        "pinned": fingerprint(OLD.public),
        "new": fingerprint(NEW.public),
        "last_sequence": 0,
        "now": NOW + 1,
    }
    return statement.check(**(facts | changes))


def test_it_says_who_goes_where_and_when() -> None:
    assert parse_statement(DATA) == Statement(
        domain=PEER,
        sequence=NOW,
        not_before=NOW,
        not_after=LATER,
        old=fingerprint(OLD.public),
        new=fingerprint(NEW.public),
    )
    assert check(parse_statement(DATA)) == ""


def test_the_longest_one_fits() -> None:
    longest = DomainName(".".join(["a" * 63] * 3 + ["b" * 61]))
    data = make(domain=longest, sequence=2**63, not_before=2**62, not_after=2**62 + 5)
    assert len(data) <= limits.MAX_CONTINUITY
    assert parse_statement(data).domain == longest
    assert limits.MAX_CONTINUITY + 4096 <= limits.MAX_HANDSHAKE_MESSAGE


@pytest.mark.spec("handshake-35")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"domain": OTHER}, "is about peer.example"),
        ({"pinned": fingerprint(EVIL.public)}, "begins at another"),
        ({"new": fingerprint(EVIL.public)}, "leads to another"),
        ({"now": NOW - limits.CLOCK_SKEW - 1}, "not valid yet"),
        ({"now": LATER + limits.CLOCK_SKEW + 1}, "expired"),
        ({"last_sequence": NOW}, "old one"),
        ({"last_sequence": NOW + 1}, "old one"),
    ],
)
def test_what_it_does_not_prove(changes: dict[str, Any], words: str) -> None:
    assert words in check(parse_statement(DATA), **changes)


@pytest.mark.parametrize("now", [NOW - limits.CLOCK_SKEW, LATER + limits.CLOCK_SKEW])
def test_clocks_may_differ_a_little(now: int) -> None:
    assert check(parse_statement(DATA), now=now) == ""


def test_a_thief_cannot_use_up_all_sequences() -> None:
    assert "future" in check(parse_statement(make(sequence=2**64 - 1)))


@pytest.mark.parametrize(
    "changes",
    [{"new": OLD}, {"not_after": NOW}, {"not_after": NOW - 1}, {"not_after": NOW + limits.CONTINUITY_VALIDITY + 1}],
)
def test_what_nobody_would_accept_is_not_made(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalError, match="note: "):
        make(**changes)


# --- forgeries -----------------------------------------------------------------------------------------------------


def body_of(**changes: Any) -> dict[int, Any]:
    fields: Any = codec.decode(parts()[0])
    names = ("version", "domain", "sequence", "not_before", "not_after", "old", "new")
    return {**fields, **{names.index(name): value for name, value in changes.items()}}


def parts() -> list[bytes]:
    items: Any = codec.decode(DATA)
    return list(items)


def signed(body: bytes, by_old: IdentityKey = OLD, by_new: IdentityKey = NEW) -> bytes:
    return codec.encode(
        [
            body,
            by_old.sign(Label.CONTINUITY_OLD + body, Label.CONTINUITY_CONTEXT),
            by_new.sign(Label.CONTINUITY_NEW + body, Label.CONTINUITY_CONTEXT),
        ]
    )


BODY = parts()[0]
FORGERIES: dict[str, Callable[[], bytes]] = {
    "signed by the old key only": lambda: signed(BODY, by_new=OLD),
    "signed by the new key only": lambda: signed(BODY, by_old=NEW),
    "signed by strangers": lambda: signed(BODY, EVIL, EVIL),
    "signatures exchanged": lambda: codec.encode([parts()[0], parts()[2], parts()[1]]),
    "one signature for both": lambda: codec.encode([parts()[0], parts()[1], parts()[1]]),
    "another context": lambda: codec.encode(
        [BODY, OLD.sign(Label.CONTINUITY_OLD + BODY, Label.AUTH_CONTEXT), parts()[2]]
    ),
    "another domain under the signatures": lambda: codec.encode([codec.encode(body_of(domain=OTHER)), *parts()[1:]]),
    "another new key under the signatures": lambda: codec.encode(
        [codec.encode(body_of(new=EVIL.public)), *parts()[1:]]
    ),
    "another version": lambda: signed(codec.encode(body_of(version=2))),
    "no change": lambda: signed(codec.encode(body_of(new=OLD.public)), by_new=OLD),
    "valid for ever": lambda: signed(codec.encode(body_of(not_after=2**63))),
    "valid never": lambda: signed(codec.encode(body_of(not_after=1))),
    "a name in another spelling": lambda: signed(codec.encode(body_of(domain="Peer.example"))),
    "a short key": lambda: signed(codec.encode(body_of(old=OLD.public[1:]))),
    "no map inside": lambda: signed(codec.encode([1])),
    "no cbor inside": lambda: signed(b"\xff"),
    "too long": lambda: signed(codec.encode(body_of() | {9: bytes(limits.MAX_CONTINUITY)})),
    "nothing": bytes,
}


@pytest.mark.spec("handshake-33")
@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_bad_messages(name: str) -> None:
    with pytest.raises(BadMessage):
        parse_statement(FORGERIES[name]())


def test_unknown_fields_are_signed_and_ignored() -> None:
    data = signed(codec.encode(body_of() | {9: [b"news"]}))
    assert parse_statement(data) == parse_statement(DATA)
    assert parse_statement(signed(BODY)) == parse_statement(DATA)  # the helper makes what is right


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_no_byte_can_be_altered(at: int, flip: int) -> None:
    with pytest.raises(BadMessage):
        parse_statement(DATA[:at] + bytes([DATA[at] ^ flip]) + DATA[at + 1 :])


@settings(deadline=None)
@given(st.binary(max_size=300) | st.integers(0, len(DATA) - 1).map(lambda cut: DATA[:cut]))
def test_garbage_raises_bad_message_only(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_statement(data)


VALUES = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.integers(0, 6), VALUES)
def test_fields_of_any_kind_raise_bad_message_only(field: int, value: Any) -> None:
    if body_of()[field] == value:
        return
    with pytest.raises(BadMessage):
        parse_statement(codec.encode([codec.encode(body_of() | {field: value}), *parts()[1:]]))
