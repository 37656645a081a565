"""Where each requirement of spec/ is obeyed and shown.

in: comments of the program, markers of tests, `covers` of vectors and of the scenarios of interop/; out: places by id,
and the table of the index.
`python -m tests.spec.trace ID …` prints the places of some ids.
"""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

import volly_fed
from tests.spec.documents import ANY_ID, Document, Requirement
from tests.vectors import SPEC, read, vector_files

INDEX: Final = SPEC / "README.md"
_ROOT: Final = SPEC.parent
_TABLE: Final = re.compile(r"(<!-- traceability -->\n).*?(<!-- end of traceability -->)", re.DOTALL)
_SHAPE: Final = re.compile(r"[a-z]+-\d+")
_MARKER: Final = "pytest.mark.spec"
_SCENARIO: Final = "scenario"

Places = dict[str, list[str]]
"""Id -> places, as path:line."""


@attrs.frozen(kw_only=True)
class Traces:
    """Everything outside the documents that names an id."""

    code: Places
    tests: Places
    vectors: Places
    scenarios: Places = attrs.field(factory=dict)

    @property
    def named(self) -> set[str]:
        return {*self.code, *self.tests, *self.vectors, *self.scenarios}

    def shown(self, name: str) -> bool:
        return name in self.tests or name in self.vectors


def read_traces() -> Traces:
    program = Path(volly_fed.__file__).parent
    return Traces(
        code=_gather(_in_comments, program.rglob("*.py")),
        tests=_gather(_in_markers, (_ROOT / "tests").rglob("*.py")),
        vectors=_gather(_in_vectors, vector_files()),
        scenarios=_gather(_in_scenarios, (_ROOT / "interop" / "scenarios").glob("*.py")),
    )


def missing(requirement: Requirement, document: Document, traces: Traces) -> list[str]:
    """What a binding requirement lacks: code, a test or vector."""
    if not requirement.binding or requirement.id in document.excepted:
        return []
    lacks = [] if requirement.id in traces.code else ["code"]
    return lacks if traces.shown(requirement.id) else [*lacks, "a test or a vector"]


def with_table(index: str, documents: Iterable[Document], traces: Traces) -> str:
    """The index with its table as it is now."""
    return _TABLE.sub(lambda block: block[1] + table(documents, traces) + block[2], index)


def table(documents: Iterable[Document], traces: Traces) -> str:
    """One row for each document, counts of ids."""
    lines = [
        "| document | requirements | MUST, MUST NOT | in the code | in tests | in vectors | in scenarios | excepted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for document in documents:
        ids = [requirement.id for requirement in document.requirements]
        if ids:
            counts = (
                len(ids),
                sum(requirement.binding for requirement in document.requirements),
                *(sum(name in places for name in ids) for places in attrs.astuple(traces, recurse=False)),
                len(document.excepted),
            )
            lines.append(f"| {document.name} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines) + "\n"


def ids_in_comments(source: str) -> Iterator[tuple[str, int]]:
    """(id, line) of what comments of a program name."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            for name in ANY_ID.findall(token.string):
                yield name, token.start[0]


def ids_in_markers(source: str) -> Iterator[tuple[str, int]]:
    """(id, line) of what markers of tests name. Raises ValueError for a marker that names something else."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == _MARKER:
            for argument in node.args:
                if not (isinstance(argument, ast.Constant) and _SHAPE.fullmatch(str(argument.value))):
                    raise ValueError(f"line {node.lineno}: {_MARKER} takes ids of requirements")
                yield str(argument.value), node.lineno


def ids_in_scenarios(source: str) -> Iterator[tuple[str, int]]:
    """(id, line) of what `@scenario` covers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == _SCENARIO:
            for keyword in node.keywords:
                if keyword.arg == "covers":
                    yield from ((str(name), keyword.lineno) for name in ast.literal_eval(keyword.value))


def _in_scenarios(path: Path) -> Iterator[tuple[str, int]]:
    return ids_in_scenarios(path.read_text(encoding="utf-8"))


def _in_comments(path: Path) -> Iterator[tuple[str, int]]:
    source = path.read_text(encoding="utf-8")
    return ids_in_comments(source) if ANY_ID.search(source) else iter(())


def _in_markers(path: Path) -> Iterator[tuple[str, int]]:
    source = path.read_text(encoding="utf-8")
    return ids_in_markers(source) if _MARKER in source else iter(())


def _in_vectors(path: Path) -> Iterator[tuple[str, int]]:
    document = read(path)
    for holder in (document, *document["cases"]):
        for name in holder.get("covers", ()):
            yield name, 1


def _gather(look: Callable[[Path], Iterator[tuple[str, int]]], paths: Iterable[Path]) -> Places:
    places: Places = defaultdict(list)
    for path in sorted(paths):
        for name, line in look(path):
            places[name].append(f"{path.relative_to(_ROOT)}:{line}")
    return dict(places)


if __name__ == "__main__":
    traces = read_traces()
    for wanted in sys.argv[1:]:
        for kind, places in attrs.asdict(traces).items():
            for place in places.get(wanted, ()):
                sys.stdout.write(f"{wanted} {kind}: {place}\n")
