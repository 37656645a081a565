"""What has a version of its own is refused in another one, as the table of spec/versioning.md says."""

import base64
import os
from collections.abc import Callable

import pytest

from tests.relay.test_envelope import SAMPLE
from tests.trust.test_continuity import body_of, signed
from volly_fed.client.card import card_bytes, parse_card
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, encode_content, parse_content
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.registration import NOTHING, encode_registration, parse_registration
from volly_fed.errors import BadMessage
from volly_fed.names import DomainName
from volly_fed.relay.envelope import encode_envelope, parse_envelope
from volly_fed.trust.continuity import parse_statement
from volly_fed.wire import codec


def in_version_2(encoded: bytes) -> bytes:
    """The array `encoded` with another number as its first item."""
    items = codec.decode(encoded)
    assert isinstance(items, list)
    assert items[0] == 1
    return codec.encode([2, *items[1:]])


def card() -> str:
    made = DeviceKeys.generate(DomainName("a.example"), os.urandom).card()
    return "volly:" + base64.urlsafe_b64encode(in_version_2(card_bytes(made))).decode().rstrip("=")


REFUSED: dict[str, tuple[Callable[[], object], ErrorCode]] = {
    "envelope": (lambda: parse_envelope(in_version_2(encode_envelope(SAMPLE))), ErrorCode.UNSUPPORTED_VERSION),
    "statement": (lambda: parse_statement(signed(codec.encode(body_of(version=2)))), ErrorCode.MALFORMED),
    "registration": (lambda: parse_registration(in_version_2(encode_registration(NOTHING))), ErrorCode.MALFORMED),
    "card": (lambda: parse_card(card()), ErrorCode.MALFORMED),
    "contents": (lambda: parse_content(in_version_2(encode_content(Content(sent_at=1)))), ErrorCode.MALFORMED),
}


@pytest.mark.spec("versioning-2")
@pytest.mark.parametrize("what", REFUSED)
def test_another_version_is_refused(what: str) -> None:
    parse, code = REFUSED[what]
    with pytest.raises(BadMessage, match="version") as caught:
        parse()
    assert caught.value.code is code
