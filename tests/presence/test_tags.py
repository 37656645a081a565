"""Tags and epochs."""

import hashlib
import hmac

import pytest

from volly_fed.crypto.secret import Secret
from volly_fed.presence import epoch_of, presence_tag
from volly_fed.presence.tags import epochs_at

KEY = Secret(bytes(range(32)))


@pytest.mark.spec("presence-1")
def test_the_tag_as_the_page_spells_it() -> None:
    message = b"volly/presence/v1" + bytes(7) + b"\x05" + b"peer.example"
    assert presence_tag(KEY, 5, "peer.example") == hmac.new(bytes(range(32)), message, hashlib.sha256).digest()[:16]


def test_another_key_epoch_or_scope_is_another_tag() -> None:
    made = {
        presence_tag(KEY, 5, "peer.example"),
        presence_tag(KEY, 6, "peer.example"),
        presence_tag(KEY, 5, "*"),
        presence_tag(Secret(bytes(32)), 5, "peer.example"),
    }
    assert len(made) == 4


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_presence_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        presence_tag(Secret(bytes(size)), 5, "*")


def test_epochs_are_half_hours() -> None:
    assert [epoch_of(wall) for wall in (0.0, 1799.9, 1800.0, 3600.0)] == [0, 0, 1, 2]


def test_a_peer_may_be_late_and_its_clock_wrong() -> None:
    begin = 10 * 1800.0
    assert epochs_at(begin + 900) == (10, 10)
    assert epochs_at(begin + 419) == (9, 10)
    assert epochs_at(begin + 421) == (10, 10)
    assert epochs_at(begin - 300) == (9, 10)
    assert epochs_at(begin - 301) == (9, 9)
