"""The documents keep to spec/conventions.md: ids, keywords, links, one place for everything, and no word of Python."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.spec.documents import ANY_ID, Document, awaited, index, parse_document, read_documents
from tests.vectors import SPEC

DOCUMENTS = read_documents()
PROSE = sorted(path for path in SPEC.rglob("*") if path.suffix in {".md", ".cddl", ".mmd"})
_PROGRAM = re.compile(
    r"python|\btrio\b|\bpytest\b|\bmypy\b|\bcbor2\b|\battrs\b|\bvolly_fed\b|\.py\b|\bDEVIATION\b", re.IGNORECASE
)
each = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


def test_the_index_has_every_document_and_every_document_is_there() -> None:
    names = [document.name for document in DOCUMENTS]
    assert len(index()) == len(set(index()))
    assert set(names) <= set(index())
    if awaited():
        pytest.skip(f"not written yet: {', '.join(sorted(awaited()))}")


@each
def test_how_a_document_begins(document: Document) -> None:
    title, summary, status, *_ = document.text.split("\n\n")
    assert re.fullmatch(r"# [A-Z][\w ,-]*", title)
    assert re.fullmatch(r"[A-Z][^.]*\.", summary), "one sentence"
    assert status == "Status: draft 1. Version: volly-fed/1."
    assert max(map(len, document.text.splitlines())) <= 160


def test_an_id_is_given_once() -> None:
    given = Counter(requirement.id for document in DOCUMENTS for requirement in document.requirements)
    given.update(name for document in DOCUMENTS for name in document.removed)
    assert {name: count for name, count in given.items() if count > 1} == {}


@each
def test_ids_are_the_documents_name_and_a_number_and_no_number_is_lost(document: Document) -> None:
    ids = {requirement.id for requirement in document.requirements} | set(document.removed)
    assert ids == {f"{document.name}-{number + 1}" for number in range(len(ids))}
    assert set(document.excepted) <= ids


@each
def test_a_sentence_with_a_keyword_has_an_id_and_one_keyword(document: Document) -> None:
    assert [text for text in document.loose if text] == []
    assert [r.id for r in document.requirements if len(r.keywords) != 1] == []
    assert [r.id for r in document.requirements if not r.ends_at_its_sentence] == []


@each
def test_an_id_in_brackets_defines_or_excepts(document: Document) -> None:
    """Elsewhere it is written without brackets, so that no reader takes a mention for the requirement."""
    known = [requirement.id for requirement in document.requirements]
    assert Counter(ANY_ID.findall(document.text)) == Counter([*known, *document.excepted, *document.removed])


@each
def test_anchors_are_unique(document: Document) -> None:
    assert len(document.anchors) == len(set(document.anchors))


@pytest.mark.parametrize("path", [path for path in PROSE if path.suffix == ".md"], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    later = {f"{name}.md" for name in awaited()}
    for link in parse_document(path.stem, path.read_text(encoding="utf-8")).links:
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target) if target else path
        assert found.exists() or found.name in later, link
        if anchor and found.exists():
            assert f'<a id="{anchor}"></a>' in found.read_text(encoding="utf-8"), link


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_nothing_depends_on_this_program(path: Path) -> None:
    assert _PROGRAM.findall(path.read_text(encoding="utf-8")) == []


# --- the reader of documents ---------------------------------------------------------------------------------------


def test_how_documents_are_read() -> None:
    text = """# T

A dialler MUST do `MUST NOT` this. [t-1] A listener MAY not, "SHOULD" it
like to. [t-2] Nothing more.

| a | A relay MUST. [t-3] | b |

- An edge SHOULD be. It is not. [t-4]
- A device MUST not have an id.

```cddl
x = 1 ; MUST
```

## Exceptions

- [t-2], [t-4]: nobody can see it.
- [t-3]: nor that.
"""
    document = parse_document("t", text)
    assert [(r.id, r.keywords, r.binding) for r in document.requirements] == [
        ("t-1", ["MUST"], True),
        ("t-2", ["MAY"], False),
        ("t-3", ["MUST"], True),
        ("t-4", ["SHOULD"], False),
    ]
    assert [r.id for r in document.requirements if not r.ends_at_its_sentence] == ["t-4"]
    assert [block.strip() for block in document.loose] == ["- A device MUST not have an id."]
    assert document.excepted == {"t-2": "nobody can see it.", "t-4": "nobody can see it.", "t-3": "nor that."}
    assert document.cddl == ["x = 1 ; MUST\n"]
