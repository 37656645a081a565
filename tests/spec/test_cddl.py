"""The collected CDDL is current and is what the program speaks: keys, what is optional, what a validator says."""

from typing import Any

import attrs
import pytest
from cddl_verifier import Validator

from tests.spec.cddl import PATH, Field, collect, fields, rule_name, rules
from tests.spec.documents import read_documents
from tests.vectors import SPEC, read, registry
from tests.wire.test_messages import OVER, SAMPLES
from volly_fed.codepoints import MessageType
from volly_fed.wire import codec
from volly_fed.wire.messages import MESSAGES

DOCUMENTS = read_documents()
RULES = rules(collect(DOCUMENTS))
TYPES = registry("message-types")
VALIDATOR = Validator(collect(DOCUMENTS))
each = pytest.mark.parametrize("entry", TYPES, ids=lambda entry: entry["name"])
_SAID_IN_TEXT = {MessageType.REFUSE, MessageType.WELCOME}
"""Of what is too much or not allowed, that which only the text can say: characters, not bytes, and which of them."""


def rule_of(entry: dict[str, Any]) -> str:
    name = rule_name(entry)
    if not (SPEC / entry["reference"]).exists():
        pytest.skip(f"{entry['reference']} is not written yet")
    assert name in RULES, f"{entry['reference']} has no rule {name}"
    return name


def test_the_collected_schema_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == collect(DOCUMENTS), "run `make reference`"


@each
def test_a_rule_stands_in_the_document_that_the_registry_names(entry: dict[str, Any]) -> None:
    name = rule_of(entry)
    places = [f"{document.name}.md" for document in DOCUMENTS if name in rules("\n".join(document.cddl))]
    assert places == [entry["reference"]]


@each
def test_a_rule_has_the_fields_of_the_message(entry: dict[str, Any]) -> None:
    found, other = fields(RULES[rule_of(entry)])
    assert int(found[0].type, 0) == entry["value"]
    assert [(field.number, field.optional) for field in found[1:]] == [
        (field.metadata["number"], field.default is not attrs.NOTHING)
        for field in attrs.fields(MESSAGES[entry["value"]])
    ]
    assert (found[0].number, found[0].optional) == (0, False)
    assert other == ["* uint => any"], "a message may have more fields than version 1 knows"


def spell(kind: int, value: dict[int, Any]) -> bytes:
    return codec.encode({0: kind} | value)


@each
def test_what_a_validator_says_of_the_samples(entry: dict[str, Any]) -> None:
    name, kind = rule_of(entry), MessageType(entry["value"])
    sample = SAMPLES[kind]
    assert VALIDATOR.validate(spell(kind, sample), root_type=name).errors == ()
    assert VALIDATOR.validate(spell(kind, sample | {99: [b"news", {0: True}]}), root_type="message").errors == ()
    assert not VALIDATOR.validate(spell(kind + 1, sample), root_type=name)
    optional = {field.number for field in fields(RULES[name])[0] if field.optional}
    for number in sample:
        less = {key: value for key, value in sample.items() if key != number}
        assert bool(VALIDATOR.validate(spell(kind, less), root_type=name)) is (number in optional)
        wrong = sample | {number: True}
        assert not VALIDATOR.validate(spell(kind, wrong), root_type=name), f"{number}: true"


@pytest.mark.parametrize(("kind", "change"), [over for over in OVER if over[0] not in _SAID_IN_TEXT])
def test_a_validator_refuses_what_the_program_refuses(kind: MessageType, change: dict[int, Any]) -> None:
    name = rule_of(next(entry for entry in TYPES if entry["value"] == kind))
    assert not VALIDATOR.validate(spell(kind, SAMPLES[kind] | change), root_type=name)


def test_a_validator_accepts_what_the_vectors_accept() -> None:
    here = {entry["name"] for entry in TYPES if (SPEC / entry["reference"]).exists()}
    cases = [case for case in read(SPEC / "vectors" / "wire" / "messages.json")["cases"] if "accept" in case["expect"]]
    for case in cases:
        if case["expect"]["accept"]["type"] in here:
            data = bytes.fromhex(case["given"]["data"])
            assert VALIDATOR.validate(data, root_type="message").errors == (), case["id"]


# --- the reader of rules -------------------------------------------------------------------------------------------


def test_how_rules_are_read() -> None:
    schema = "a = { 0: 0x12, ? 1: [* b], ; one, two\n  2: { 3: uint, * uint => any },\n  * uint => any }\nb = a / 5\n"
    found = rules(schema)
    assert found["b"] == "a / 5"
    assert fields(found["a"]) == (
        [Field(0, False, "0x12"), Field(1, True, "[* b]"), Field(2, False, "{ 3: uint, * uint => any }")],
        ["* uint => any"],
    )
    with pytest.raises(ValueError, match="twice"):
        rules(schema + "b = 6\n")
    with pytest.raises(ValueError, match="no map"):
        fields("[a]")
    with pytest.raises(ValueError, match="write"):
        fields("{ 0: 1, ? 1 => uint, * uint => any }")
