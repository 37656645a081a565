"""The registries are the code points of the program, in both directions, and keep to their own policy.

Trust levels and gates: tests/trust/test_registries.
"""

import ast
import enum
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

import volly_fed
from tests.spec.documents import index
from tests.vectors import SPEC, read, registry
from volly_fed import codepoints
from volly_fed.channel import DEVICE, EDGE, FEDERATION
from volly_fed.codepoints import EnvelopeClass, ErrorCode, Extension, FilterClass, Label, MessageType, Role
from volly_fed.crypto import hpke, kem, selftest, signature
from volly_fed.daemon import device_door, message_socket

FILES = sorted((SPEC / "registries").glob("*.json"))
TRUST = {"gates", "trust-levels"}
COLUMNS = {"value", "name", "status", "since", "reference", "meaning"}
STATUS = {"mandatory", "recommended", "discouraged", "reserved", "private", "grease"}
NUMBERS: dict[str, type[enum.IntEnum]] = {
    "message-types": MessageType,
    "error-codes": ErrorCode,
    "roles": Role,
    "envelope-classes": EnvelopeClass,
    "filter-classes": FilterClass,
}
FOREIGN_LABELS = {
    "COMPOSITE_PREFIX": signature._PREFIX,
    "COMPOSITE_LABEL": signature._LABEL,
    "XWING": kem._XWING_LABEL,
    "HPKE_VERSION": hpke._VERSION,
    "SELF_TEST": selftest._MESSAGE,
    "SELF_TEST_CONTEXT": selftest._CONTEXT,
}
ours = pytest.mark.parametrize("path", [p for p in FILES if p.stem not in TRUST], ids=lambda path: path.stem)


@ours
def test_the_columns_of_a_registry(path: Path) -> None:
    document = read(path)
    assert set(document) == {"registry", "reference", "policy", "entries"}
    assert document["registry"] == path.stem
    for entry in document["entries"]:
        assert set(entry) >= COLUMNS
        assert entry["status"] in STATUS
        assert entry["since"] <= codepoints.MAX_VERSION
        assert entry["reference"].removesuffix(".md") in index()
    for column in ("value", "name"):
        held = [str(entry[column]) for entry in document["entries"]]
        assert len(held) == len(set(held))
    numbers = [entry["value"] for entry in document["entries"] if isinstance(entry["value"], int)]
    assert numbers == sorted(numbers)


def test_the_readme_has_every_registry() -> None:
    text = (SPEC / "registries" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in FILES if f"| [{path.name}]({path.name}) |" not in text] == []


@pytest.mark.parametrize(("name", "points"), NUMBERS.items())
def test_numbers(name: str, points: type[enum.IntEnum]) -> None:
    assert {entry["name"]: entry["value"] for entry in registry(name)} == {point.name: int(point) for point in points}


def test_extensions() -> None:
    entries = {entry["name"]: entry for entry in registry("extensions")}
    assert {"GREASE", "PRIVATE", *(extension.name for extension in Extension)} == set(entries)
    assert all(entries[extension.name]["value"] == extension for extension in Extension)
    greased = entries["GREASE"]["value"]
    assert all(number >> 8 == number & 0xFF and number & 0xF == 0xA for number in greased)
    first, last = (int(end, 16) for end in entries["PRIVATE"]["value"].split("-"))
    assert not any(first <= number <= last for number in [*greased, *Extension])


def test_the_suite() -> None:
    (entry,) = registry("suites")
    assert entry["value"] == codepoints.MAX_VERSION
    assert entry["hpke"] == {"kem": hpke.KEM_ID, "kdf": hpke.KDF_HKDF_SHA256, "aead": hpke.AEAD_AES_256_GCM}
    for profile in (FEDERATION, EDGE):
        assert entry["tls_version"] == profile.version
        assert (entry["tls_group"],) == profile.groups
        assert tuple(entry["tls_ciphers"]) == profile.ciphers
        assert (entry["tls_signature"],) == profile.signatures


def test_channels() -> None:
    found = {entry["name"]: entry for entry in registry("channels")}
    assert list(found) == [profile.name for profile in (FEDERATION, EDGE, DEVICE)]
    for profile in (FEDERATION, EDGE, DEVICE):
        entry = found[profile.name]
        assert (entry["alpn"].encode(), entry["subprotocol"]) == (profile.alpn, profile.subprotocol)
        assert entry["path"] == profile.path
    services = {name: (entry["service"], entry["port"]) for name, entry in found.items()}
    assert services == {
        "federation": (codepoints.SERVICE_FEDERATION, codepoints.PORT_FEDERATION),
        "edge": (None, None),
        "device": (codepoints.SERVICE_DEVICE, codepoints.PORT_DEVICE),
    }


def test_close_codes() -> None:
    codes = {entry["name"]: entry["value"] for entry in registry("close-codes")}
    ours = {
        name: value
        for name, value in vars(message_socket).items()
        if isinstance(value, int) and value in codes.values()
    }
    assert ours.items() <= codes.items()
    assert codes["POLICY_VIOLATION"] == device_door._POLICY_VIOLATION
    assert set(codes) - set(ours) == {"PROTOCOL_ERROR", "INVALID_DATA", "MESSAGE_TOO_BIG"}, "those are the library's"


# --- labels --------------------------------------------------------------------------------------------------------


def labels() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in registry("labels")}


def test_labels_are_those_of_the_program() -> None:
    known = {name: value for name, value in vars(Label).items() if not name.startswith("_")} | FOREIGN_LABELS
    found = {name: bytes.fromhex(entry["hex"]) for name, entry in labels().items()}
    assert {name: value for name, value in found.items() if name in known} == known
    rest = {name: value for name, value in found.items() if name not in known}
    assert set(rest.values()) <= set(bytes_in(Path(hpke.__file__)))
    assert all(entry["value"].encode() == bytes.fromhex(entry["hex"]) for entry in labels().values())


@pytest.mark.spec("crypto-17")
def test_no_label_is_outside_the_registry() -> None:
    """By their looks: what is spelled out in bytes and has our name in it is a label, or an ALPN."""
    known = {bytes.fromhex(entry["hex"]) for entry in labels().values()}
    known |= {entry["alpn"].encode() for entry in registry("channels")}
    spelled = {
        b for path in Path(volly_fed.__file__).parent.rglob("*.py") for b in bytes_in(path) if b"volly" in b.lower()
    }
    assert spelled <= known
    hpke_words = {word for word in bytes_in(Path(hpke.__file__)) if len(word) > 1}
    assert hpke_words <= known


def test_no_label_is_the_beginning_of_another_with_the_same_use() -> None:
    by_use: dict[str, list[str]] = {}
    for entry in labels().values():
        by_use.setdefault(entry["use"], []).append(entry["hex"])
    clashes = [pair for held in by_use.values() for pair in permutations(held, 2) if pair[1].startswith(pair[0])]
    assert clashes == []


def bytes_in(path: Path) -> Iterator[bytes]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            yield node.value
