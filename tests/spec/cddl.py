"""spec/volly-fed.cddl: the CDDL of all documents in one schema, and its rules taken apart.

in: the fences of the documents; out: one text, rules, fields. The rule `message` is made here, from the registry.
Never: understands types; a real validator does that (test_cddl).
"""

import re
from collections.abc import Iterable
from typing import Final

import attrs

from tests.spec.documents import Document, index
from tests.vectors import SPEC, registry

PATH: Final = SPEC / "volly-fed.cddl"
_HEAD: Final = """; volly-fed/1: every message and every structure, collected from the documents by `make reference`.
; They have the text that belongs to it: much of what they require cannot be said here.
"""
_RULE: Final = re.compile(r"^([a-z][a-z0-9-]*)\s*=\s*(.*?)(?=^[a-z][a-z0-9-]*\s*=\s|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY: Final = re.compile(r"(\?)?\s*(\d+|0x[0-9a-f]+)\s*:\s*(.+)", re.DOTALL)
_WITHOUT_CUT: Final = re.compile(r"\??\s*\w+\s*=>")
_OPEN, _CLOSE = "([{", ")]}"


@attrs.frozen
class Field:
    """One field of a message's rule."""

    number: int
    optional: bool
    type: str


def collect(documents: Iterable[Document]) -> str:
    """The whole schema, in the order of the index."""
    by_name = {document.name: document for document in documents}
    parts = [_HEAD]
    for name in index():
        fences = by_name[name].cddl if name in by_name else []
        if fences:
            parts += [f"; --- {name}.md ---\n", *fences]
    defined = rules("\n".join(parts))
    messages = [name for name in map(rule_name, registry("message-types")) if name in defined]
    if messages:
        parts.append("; --- all of them ---\n")
        parts.append("message = " + " / ".join(messages) + "\n")
    return "\n".join(parts)


def rule_name(entry: dict[str, object]) -> str:
    """The name of a message's rule: as the message, in lower case with hyphens."""
    return str(entry["name"]).lower().replace("_", "-")


def rules(schema: str) -> dict[str, str]:
    """Every rule by its name. Raises ValueError for one that is there twice."""
    found: dict[str, str] = {}
    for name, body in _RULE.findall(re.sub(r";.*", "", schema)):
        if name in found:
            raise ValueError(f"the rule {name} is there twice")
        found[name] = " ".join(body.split())
    return found


def fields(body: str) -> tuple[list[Field], list[str]]:
    """The numbered fields of a map's rule, and what else it has. Raises ValueError for what is no map.

    Fields are written `1: type`. With `1 => type`, `* uint => any` would take what the type refuses (RFC 8610 §3.5.4).
    """
    if not (body.startswith("{") and body.endswith("}")):
        raise ValueError(f"no map: {body}")
    numbered, other = [], []
    for entry in _entries(body[1:-1]):
        matched = _ENTRY.fullmatch(entry)
        if _WITHOUT_CUT.match(entry):
            raise ValueError(f"write `1: type`: {entry}")
        if matched:
            numbered.append(Field(int(matched[2], 0), bool(matched[1]), matched[3].strip()))
        else:
            other.append(entry)
    return numbered, other


def _entries(body: str) -> list[str]:
    """What stands between the commas that are in no bracket."""
    entries, depth = [""], 0
    for character in body:
        depth += (character in _OPEN) - (character in _CLOSE)
        if character == "," and not depth:
            entries.append("")
        else:
            entries[-1] += character
    return [entry.strip() for entry in entries if entry.strip()]
