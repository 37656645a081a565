import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.client.mailbox import DeviceKeys, encode_device, parse_device
from volly_fed.edge.registration import parse_registration
from volly_fed.errors import BadMessage, LocalError
from volly_fed.names import DomainName


def test_a_device_survives_as_text(alice: DeviceKeys) -> None:
    keys = alice.with_pass('the "plumber" \\ é', os.urandom, ("c.test", "d.test"))
    text = encode_device(keys)
    again = parse_device(text)
    assert encode_device(again) == text
    assert again.card() == keys.card()
    assert again.card('the "plumber" \\ é') == keys.card('the "plumber" \\ é')
    assert again.fingerprint == keys.fingerprint
    assert again.registration == keys.registration


def test_the_registration_holds_every_card_that_was_not_revoked(alice: DeviceKeys) -> None:
    keys = alice.with_pass("plumber", os.urandom, ("c.test",))
    registered = parse_registration(keys.registration)
    assert registered.scopes(keys.card().capability) == ("*",)
    assert registered.scopes(keys.card("plumber").capability) == ("c.test",)
    revoked = parse_registration(keys.without_pass("plumber").registration)
    assert revoked.scopes(keys.card("plumber").capability) is None
    assert revoked.scopes(keys.card().capability) == ("*",)


def test_cards_of_one_device_differ_in_the_capability_only(alice: DeviceKeys) -> None:
    keys = alice.with_pass("plumber", os.urandom)
    one, other = keys.card(), keys.card("plumber")
    assert one.capability != other.capability
    assert (one.address, one.identity, one.name) == (other.address, other.identity, other.name)


def test_labels_are_used_once_and_bounded(alice: DeviceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = alice.with_pass("plumber", os.urandom)
    for label in ("plumber", "", "a\nb", "n" * 65):
        with pytest.raises(LocalError):
            keys.with_pass(label, os.urandom)
    with pytest.raises(LocalError):
        keys.without_pass("nobody")
    with pytest.raises(LocalError):
        keys.card("nobody")
    monkeypatch.setattr(limits, "CAPABILITIES_PER_MAILBOX", 2)
    with pytest.raises(LocalError):
        keys.with_pass("one more", os.urandom)


def test_a_devices_secrets_do_not_show(alice: DeviceKeys) -> None:
    shown = repr(alice)
    assert repr(alice.passes[0].capability)[2:-1] not in shown
    assert "seed" not in shown


@given(st.text())
def test_other_text_is_a_bad_message(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_device(text)


LINES = encode_device(DeviceKeys.generate(DomainName("a.test"), os.urandom)).splitlines()


def test_the_error_quotes_nothing() -> None:
    damaged = "\n".join(line.replace("version = 1", "version = x") for line in LINES)
    with pytest.raises(BadMessage) as caught:
        parse_device(damaged)
    assert caught.value.__suppress_context__
    assert not any(line.split('"')[1] in str(caught.value) for line in LINES if "_seed" in line)


@given(
    st.integers(1, len(LINES) - 1),
    st.sampled_from(["1", "true", '""', '"x"', "[]", "[1]", "{}", "1.5", '["*", 1]', '"AAAA"', "-1"]),
)
def test_a_damaged_line_is_a_bad_message_or_another_device(line: int, value: str) -> None:
    damaged = list(LINES)
    damaged[line] = damaged[line].split("=")[0] + "= " + value
    with contextlib.suppress(BadMessage):
        parse_device("\n".join(damaged))
