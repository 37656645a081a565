"""The mutants, their judge and the list of survivors. The run over everything is make mutate."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mutation.judge import CPU_SECONDS, VECTORS, judge, modules
from mutation.operators import Mutant, mutants
from mutation.report import complaints, excused, table
from mutation.scenarios import copy_with


@pytest.fixture(scope="module")
def everything() -> dict[str, Mutant]:
    return {mutant.name: mutant for module in modules() for mutant in mutants(module)}


def of(name: str) -> ModuleType:
    return importlib.import_module(f"volly_fed.{name}")


def labels(name: str, where: str) -> list[str]:
    prefix = f"{name.replace('.', '/')} {where}: "
    return [m.name.removeprefix(prefix) for m in mutants(of(name)) if m.name.startswith(prefix)]


def test_names_are_unique_and_every_mutant_differs(everything: dict[str, Mutant]) -> None:
    assert len(everything) == sum(1 for module in modules() for _ in mutants(module)) > 1000
    sources = [mutant.source() for mutant in mutants(of("session.state"))]
    assert len({*sources}) == len(sources) > 40
    assert inspect.getsource(of("session.state")) not in sources


def test_a_check_is_removed_its_condition_turned_and_its_code_taken_away() -> None:
    assert labels("handshake.exchange", "Exchange._claim")[:5] == [
        "never `if hello.wanted != self._own.name`",
        "`hello.wanted != self._own.name` → `hello.wanted == self._own.name`",
        "`raise RemoteError('this is not the name you want', code=ErrorCode.WRONG_NAME)` without the code",
        "never `if hello.identity == self._own.key.public`",
        "`hello.identity == self._own.key.public` → `hello.identity != self._own.key.public`",
    ]


def test_each_cell_of_a_table_is_changed() -> None:
    changed = labels("session.state", "SENDING")
    assert {"without IDLE: Open → OPENED", "IDLE: Open → OPENED, but to IDLE", "IDLE: Ack is taken"} <= set(changed)


def test_a_table_is_changed_where_it_is_written_and_nowhere_else() -> None:
    assert labels("session.machine", "SENDING") == []


@pytest.mark.slow
def test_what_is_wrong_is_noticed_and_what_is_not_is_not(everything: dict[str, Mutant]) -> None:
    wrong = everything["handshake/exchange Exchange._claim: never `if hello.wanted != self._own.name`"]
    same = Mutant("same", "other", wrong.module, wrong.tree, lambda _: None, None, None)
    endless = everything["session/outbound Outbound._fresh: `count - len(taken)` → `count + len(taken)`"]
    verdicts = {mutant.name: noticed for mutant, noticed in judge([wrong, same, endless], workers=2)}
    assert verdicts[wrong.name] == "handshake/machine/own-hello-comes-back"
    assert verdicts[same.name] == ""
    assert verdicts[endless.name].startswith("session/conversation/")


def test_a_survivor_has_to_be_listed_and_what_is_listed_has_to_survive(everything: dict[str, Mutant]) -> None:
    listed, *_ = excused()
    other = next(name for name in everything if name not in excused())
    two = [everything[listed], everything[other]]
    names = set(everything)
    assert list(complaints(two, {listed: "", other: "a vector"}, names)) == []
    assert len(list(complaints(two, {listed: "", other: ""}, names))) == 1
    assert len(list(complaints(two, {listed: "a vector", other: "a vector"}, names))) == 1
    assert len(list(complaints([], {}, names - {listed}))) == 1
    assert list(table(two, {listed: "", other: "a vector"}))[-1].split() == ["all", "2", "1", "50.0%", "1", "0"]


def test_the_list_names_mutants_that_there_are(everything: dict[str, Mutant]) -> None:
    assert set(excused()) <= set(everything)


def test_a_process_imports_the_copy_with_the_mutant(everything: dict[str, Mutant], tmp_path: Path) -> None:
    wrong = everything["handshake/exchange Exchange._claim: never `if hello.wanted != self._own.name`"]
    where = copy_with(wrong, tmp_path / "copy")
    say = "import volly_fed.handshake.exchange as changed; print(changed.__file__)"
    command = [sys.executable, "-c", say]
    path = {"PYTHONPATH": str(where)}
    done = subprocess.run(command, env=path, cwd=tmp_path, capture_output=True, text=True, check=True)
    file = Path(done.stdout.strip())
    assert file.is_relative_to(where)
    assert "if False:" in file.read_text()


def test_every_package_has_vectors() -> None:
    assert all(VECTORS.values())
    assert CPU_SECONDS > 1
