"""The bytes and numbers in wire.md, crypto.md and versioning.md are those of the program and of the vectors."""

import re
from typing import Any

import pytest

from tests.vectors import SPEC, read
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.wire import codec, encode_message, parse_message
from volly_fed.wire.messages import Ack, Message, Ping, Pong, Refuse

WIRE = (SPEC / "wire.md").read_text(encoding="utf-8")
CRYPTO = (SPEC / "crypto.md").read_text(encoding="utf-8")
VERSIONING = (SPEC / "versioning.md").read_text(encoding="utf-8")
COME_AGAIN = Refuse(code=ErrorCode.BUSY, text="come again", retry_after=5)
MESSAGES: dict[str, Message] = {
    "a2 00 14 01 09": Ping(token=9),
    "a2 00 15 01 09": Pong(token=9),
    "a3 00 12 01 48 01 02 03 04 05 06 07 08 02 19 03 e8": Ack(stream=bytes(range(1, 9)), cursor=1000),
    "a4 00 03 01 06 02 6a 63 6f 6d 65 20 61 67 61 69 6e 03 05": COME_AGAIN,
}


@pytest.mark.parametrize("spelled", MESSAGES)
def test_the_messages_that_are_spelled_out(spelled: str) -> None:
    assert spelled in WIRE
    assert encode_message(MESSAGES[spelled]) == bytes.fromhex(spelled)
    assert parse_message(bytes.fromhex(spelled)) == MESSAGES[spelled]


def test_every_message_that_is_spelled_out_is_tested() -> None:
    found = re.findall(r"\ba[1-7](?: [0-9a-f]{2}){4,}\b", WIRE)
    assert set(found) == set(MESSAGES)


@pytest.mark.parametrize("spelled", ["82 01 02", "a1 07 41 78", "82 01 01", "a0"])
def test_the_fields_that_are_spelled_out(spelled: str) -> None:
    assert spelled in VERSIONING
    codec.decode(bytes.fromhex(spelled))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("one message, established", f"{limits.MAX_MESSAGE} bytes"),
        ("one message, before the handshake is done", f"{limits.MAX_HANDSHAKE_MESSAGE} bytes"),
        ("bytes of a WebSocket since the last complete message", str(limits.MAX_UNCLAIMED)),
        ("nesting", f"{limits.MAX_DEPTH} arrays and maps"),
        ("a short text", f"{limits.MAX_TEXT} characters"),
        ("waiting for the other end's close frame", f"{limits.CLOSE:g} second"),
    ],
)
def test_the_limits_of_wire(name: str, value: str) -> None:
    assert f"| {name} | {value} |" in WIRE
    assert len(re.findall(r"^\| .* \|$", WIRE[WIRE.index("## Timers and limits") :], re.MULTILINE)) == 7


def case(name: str, identity: str) -> dict[str, Any]:
    cases = read(SPEC / "vectors" / "crypto" / f"{name}.json")["cases"]
    found: dict[str, Any] = next(case for case in cases if case["id"] == identity)
    return found


def test_the_keys_of_the_example() -> None:
    identity, mailbox, opened = case("identity", "a"), case("mailbox", "a"), case("decapsulation", "right")
    for value in (
        identity["given"]["seed"],
        identity["expect"]["accept"]["public"],
        mailbox["expect"]["accept"]["public"],
        opened["given"]["ciphertext"],
    ):
        assert f"{value[:32]} … {value[-16:]} " in CRYPTO
    for value in (
        identity["expect"]["accept"]["fingerprint"],
        identity["expect"]["accept"]["text"],
        mailbox["given"]["seed"],
        mailbox["expect"]["accept"]["mailbox"],
        mailbox["expect"]["accept"]["text"],
        opened["expect"]["accept"]["shared"],
    ):
        assert re.search(rf"\s{re.escape(value)}\n", CRYPTO)
