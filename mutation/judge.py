"""The vectors of the handshake and the session, played against one mutant in a process of its own.

in: mutants; out: for each the vector that noticed it, or none. A child is forked when everything is imported already,
and imports again only what depends on the two packages: that takes a tenth of a second.
Never: runs a unit test. A mutant that has used up CPU_SECONDS goes round in circles, which is noticed.
"""

import ast
import importlib
import os
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from functools import cache, partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from mutation.operators import Mutant
from tests.vectors import SPEC, read

VECTORS = {
    "volly_fed.handshake": ("handshake/machine", "handshake/run", "handshake/claims"),
    "volly_fed.session": ("session/violation", "session/conversation", "handshake/run"),
}
"""What is changed, and the vectors that go through it."""
FILES = sorted({name for names in VECTORS.values() for name in names})
CPU_SECONDS = 10
MEMORY = 4 << 30


def modules() -> list[ModuleType]:
    """What is changed."""
    packages = [importlib.import_module(name) for name in VECTORS]
    files = [path for package in packages for path in sorted(Path(package.__path__[0]).glob("*.py"))]
    return [importlib.import_module(f"volly_fed.{p.parent.name}.{p.stem}") for p in files if p.stem != "__init__"]


def judge(mutants: Iterable[Mutant], workers: int) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with the name of the vector that noticed it, or with an empty one; in the order of the verdicts."""
    again = _dependents()
    running: dict[int, tuple[Mutant, int]] = {}
    for mutant in mutants:
        if len(running) == workers:
            yield _verdict(running)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _child(mutant, again, writing)
        os.close(writing)
        running[pid] = mutant, reading
    while running:
        yield _verdict(running)


def _verdict(running: dict[int, tuple[Mutant, int]]) -> tuple[Mutant, str]:
    pid, status = os.wait()
    mutant, reading = running.pop(pid)
    with open(reading, encoding="utf-8") as said:
        noticed = said.read()
    return mutant, noticed if not status else f"ended by {signal.Signals(os.WTERMSIG(status)).name}"


def _child(mutant: Mutant, again: set[str], writing: int) -> None:
    """Says what noticed the mutant, and ends."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    noticed = "importing it"
    try:
        sys.meta_path.insert(0, _Changed(mutant.module, mutant.source()))
        for name in again:
            del sys.modules[name]
        for name, vector in _vectors(VECTORS[mutant.module.rpartition(".")[0]]):
            noticed = name
            vector()
        noticed = ""
    except BaseException:  # whatever it is, it was noticed
        pass
    os.write(writing, noticed.encode())
    os._exit(0)


def _vectors(files: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for file in files:
        document = _document(file)
        check = importlib.import_module(f"tests.{file.partition('/')[0]}.vectors").CONSUMERS[document["kind"]]
        for case in document["cases"]:
            yield f"{file}/{case['id']}", partial(check, case["given"], case["expect"])


@cache
def _document(name: str) -> dict[str, Any]:
    return read(SPEC / "vectors" / f"{name}.json")


@attrs.frozen
class _Changed(MetaPathFinder, Loader):
    """Imports one module from another source than its file."""

    name: str
    source: str

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.source, module.__dict__)


def _dependents() -> set[str]:
    """Modules that import the two packages, directly or not, when all vectors have been imported."""
    for _ in _vectors(FILES):
        pass
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("volly_fed", "tests")}
    imports = {name: _imports(module) for name, module in ours.items()}
    found = {name for name in ours if name.startswith(tuple(VECTORS))}
    while more := {name for name, reads in imports.items() if name not in found and reads & found}:
        found |= more
    return found


def _imports(module: ModuleType) -> set[str]:
    if module.__file__ is None:
        return set()
    nodes = ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8")))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}{end}" for node in froms for end in ("", *(f".{alias.name}" for alias in node.names))}
