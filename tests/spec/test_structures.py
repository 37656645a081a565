"""What is inside byte strings is what its rule says: envelopes, registrations, cards, contents, statements, keys."""

import os
from collections.abc import Callable

import pytest
from cddl_verifier import Validator

from tests.relay.test_envelope import SAMPLE
from tests.spec.cddl import collect, rules
from tests.spec.documents import awaited, read_documents
from tests.trust.test_continuity import body_of, signed
from volly_fed.client.card import card_bytes
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.presence import Handed, handed_bytes
from volly_fed.client.seal import Content, encode_content
from volly_fed.crypto.secret import Secret
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.names import DomainName
from volly_fed.relay.envelope import encode_envelope
from volly_fed.wire import codec

SCHEMA = collect(read_documents())
VALIDATOR = Validator(SCHEMA)
CARD = DeviceKeys.generate(DomainName("a.example"), os.urandom, name="Alice").card()
HANDED = Handed(serial=7, key=Secret(bytes(32)), wants=True)
GRANTS = {bytes(16): ("*",), b"1" * 16: ("b.example", "c.example"), b"2" * 16: ()}
STRUCTURES: dict[str, Callable[[], bytes]] = {
    "envelope": lambda: encode_envelope(SAMPLE),
    "registration": lambda: encode_registration(make_registration(GRANTS)),
    "card": lambda: card_bytes(CARD),
    "content": lambda: encode_content(Content(sent_at=1_800_000_000, text="hello", reply=CARD)),
    "handed-key": lambda: handed_bytes(HANDED),
    "continuity": lambda: signed(codec.encode(body_of())),
    "continuity-body": lambda: codec.encode(body_of()),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_what_its_rule_says(name: str) -> None:
    if name not in rules(SCHEMA) and awaited():
        pytest.skip(f"no document has {name} yet")
    data = STRUCTURES[name]()
    assert VALIDATOR.validate(data, root_type=name).errors == ()
    items = codec.decode(data)
    assert isinstance(items, list | dict)
    for place in range(len(items)):
        assert not VALIDATOR.validate(codec.encode(_without(items, place)), root_type=name), f"without item {place}"
        assert not VALIDATOR.validate(codec.encode(_false_at(items, place)), root_type=name), f"false in item {place}"


def _without(items: "list[codec.Value] | dict[int, codec.Value]", place: int) -> codec.Value:
    if isinstance(items, list):
        return items[:place] + items[place + 1 :]
    return {key: value for key, value in items.items() if key != place}


def _false_at(items: "list[codec.Value] | dict[int, codec.Value]", place: int) -> codec.Value:
    if isinstance(items, list):
        return [*items[:place], False, *items[place + 1 :]]
    return {**items, place: False}
