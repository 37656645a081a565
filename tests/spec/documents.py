"""The documents of spec/, taken apart: requirements, exceptions, anchors, links, and the fences of CDDL.

in: Markdown; out: plain values. Never: judges them, the tests beside this do.
"""

import re
from pathlib import Path
from typing import Final

import attrs

from tests.vectors import SPEC

KEYWORD: Final = re.compile(
    r"\b(?:MUST NOT|MUST|SHALL NOT|SHALL|SHOULD NOT|SHOULD|NOT RECOMMENDED|RECOMMENDED|REQUIRED|MAY|OPTIONAL)\b"
)
BINDING: Final = frozenset({"MUST", "MUST NOT", "SHALL", "SHALL NOT", "REQUIRED"})
"""What needs code and a test; the other keywords leave a choice."""
ANY_ID: Final = re.compile(r"\[([a-z]+-\d+)\](?!\()")
_DEFINITION: Final = re.compile(r"(?<=[.!?)])\s+\[([a-z]+-\d+)\](?!\()")
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NEW_BLOCK: Final = re.compile(r"\s*(?:$|#|\||- |\* |\d{1,2}\. |<)")
_QUOTED: Final = re.compile(r"`[^`]*`|\"[^\"]*\"")
_SECTION: Final = re.compile(r"^## (Exceptions|Removed)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ITEM: Final = re.compile(r"^- ((?:\[[a-z]+-\d+\](?:, )?)+): (.+)", re.MULTILINE)
_NEXT_SENTENCE: Final = re.compile(r"[.!?]\s+[A-Z]")


@attrs.frozen
class Requirement:
    """One sentence with a keyword; `text` is what stands before its id, since the id before."""

    id: str
    text: str

    @property
    def keywords(self) -> list[str]:
        return KEYWORD.findall(_QUOTED.sub("", self.text))

    @property
    def binding(self) -> bool:
        return any(word in BINDING for word in self.keywords)

    @property
    def ends_at_its_sentence(self) -> bool:
        """Whether no further sentence stands between the keyword and the id."""
        plain = _QUOTED.sub("", self.text)
        return all(not _NEXT_SENTENCE.search(plain[found.end() :]) for found in KEYWORD.finditer(plain))


@attrs.frozen(kw_only=True)
class Document:
    """One file of spec/."""

    name: str
    text: str
    requirements: tuple[Requirement, ...]
    loose: tuple[str, ...]
    """Text with a keyword and without an id."""
    excepted: dict[str, str]
    removed: dict[str, str]

    @property
    def anchors(self) -> list[str]:
        return re.findall(r'<a id="([^"]+)"></a>', self.text)

    @property
    def links(self) -> list[str]:
        return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", _without_fences(self.text))

    @property
    def cddl(self) -> list[str]:
        return [body for kind, body in _FENCE.findall(self.text) if kind == "cddl"]


def read_documents() -> list[Document]:
    """All documents, by name; the index itself is none."""
    return [parse_document(path.stem, path.read_text(encoding="utf-8")) for path in document_paths()]


def document_paths() -> list[Path]:
    return sorted(path for path in SPEC.glob("*.md") if path.stem != "README")


def parse_document(name: str, text: str) -> Document:
    requirements, loose = [], []
    for block in _blocks(_SECTION.sub("", _without_fences(text))):
        *parts, rest = _DEFINITION.split(block)
        requirements += [Requirement(given, text) for text, given in zip(parts[::2], parts[1::2], strict=True)]
        if KEYWORD.search(_QUOTED.sub("", rest)):
            loose.append(rest)
    sections = {title: _items(body) for title, body in _SECTION.findall(text)}
    return Document(
        name=name,
        text=text,
        requirements=tuple(requirements),
        loose=tuple(loose),
        excepted=sections.get("Exceptions", {}),
        removed=sections.get("Removed", {}),
    )


def _items(section: str) -> dict[str, str]:
    """Id -> reason; one item may be about several ids."""
    return {name: reason for names, reason in _ITEM.findall(section) for name in ANY_ID.findall(names)}


def index() -> list[str]:
    """The documents that spec/README.md lists, in its order."""
    return re.findall(r"^\| \[(\w+)\.md\]", (SPEC / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def awaited() -> set[str]:
    """The documents that the index lists and that are not written yet: what refers to them is let pass."""
    return set(index()) - {path.stem for path in document_paths()}


def _without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def _blocks(text: str) -> list[str]:
    """Paragraphs, items and rows: a requirement never reaches across them."""
    blocks = [""]
    for line in text.splitlines():
        if _NEW_BLOCK.match(line):
            blocks.append("")
        blocks[-1] += line + "\n"
    return [block for block in blocks if block.strip()]
