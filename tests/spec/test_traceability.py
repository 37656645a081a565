"""Every MUST of spec/ is obeyed somewhere and shown somewhere, and whoever names a requirement names one there is."""

import pytest

from tests.spec.documents import Document, awaited, parse_document, read_documents
from tests.spec.trace import (
    INDEX,
    Traces,
    ids_in_comments,
    ids_in_markers,
    ids_in_scenarios,
    missing,
    read_traces,
    with_table,
)

DOCUMENTS = read_documents()
TRACES = read_traces()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_must_has_code_and_is_shown(document: Document) -> None:
    lacks = {requirement.id: missing(requirement, document, TRACES) for requirement in document.requirements}
    assert {name: what for name, what in lacks.items() if what} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_what_is_obeyed_and_shown_is_no_exception(document: Document) -> None:
    both = [name for name in document.excepted if name in TRACES.code and TRACES.shown(name)]
    assert both == []


def test_nobody_names_a_requirement_that_there_is_not() -> None:
    known = {requirement.id for document in DOCUMENTS for requirement in document.requirements}
    unknown = {name for name in TRACES.named - known if name.rpartition("-")[0] not in awaited()}
    assert unknown == set()


def test_the_table_in_the_index_is_current() -> None:
    text = INDEX.read_text(encoding="utf-8")
    assert with_table(text, DOCUMENTS, TRACES) == text, "run `make reference`"


# --- the readers ---------------------------------------------------------------------------------------------------


def test_ids_in_comments() -> None:
    source = 'x = a["t-1"]  # [t-2], [t-3]: why\n"""[t-4]"""\n# [t-5]\n'
    assert list(ids_in_comments(source)) == [("t-2", 1), ("t-3", 1), ("t-5", 3)]


def test_ids_in_markers() -> None:
    source = '@pytest.mark.spec("t-1", "t-2")\ndef test_it(): ...\npytestmark = pytest.mark.spec("t-3")\n'
    assert sorted(ids_in_markers(source)) == [("t-1", 1), ("t-2", 1), ("t-3", 3)]
    for wrong in ("T-1", "t", "t-x", "[t-1]"):
        with pytest.raises(ValueError, match="line 1"):
            list(ids_in_markers(f"pytest.mark.spec({wrong!r})"))


def test_ids_in_scenarios() -> None:
    source = (
        '@scenario("t/a", servers=1, covers=("t-1", "t-2"))\nasync def a(stage): ...\n@scenario("t/b", servers=2)\n'
    )
    assert list(ids_in_scenarios(source + "async def b(stage): ...")) == [("t-1", 1), ("t-2", 1)]


def test_what_a_requirement_lacks() -> None:
    document = parse_document(
        "t", "A MUST b. [t-1] C SHOULD d. [t-2] E MUST NOT f. [t-3]\n\n## Exceptions\n\n- [t-3]: nobody can see it\n"
    )
    nothing = Traces(code={}, tests={}, vectors={})
    some = Traces(code={"t-1": ["a:1"]}, tests={}, vectors={})
    enough = Traces(code={"t-1": ["a:1"]}, tests={}, vectors={"t-1": ["c:1"]})
    found = [[missing(r, document, traces) for r in document.requirements] for traces in (nothing, some, enough)]
    assert found == [[["code", "a test or a vector"], [], []], [["a test or a vector"], [], []], [[], [], []]]
