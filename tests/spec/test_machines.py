"""The tables and diagrams of spec/ are those of the program."""

from pathlib import Path

import pytest

from tests.spec.documents import awaited, document_paths
from tests.spec.machines import FOLDER, MACHINES, event_name, markdown, mermaid, readme, with_tables
from volly_fed.session.events import Acknowledge
from volly_fed.wire.messages import NotClaimed


@pytest.mark.parametrize("path", document_paths(), ids=lambda path: path.stem)
def test_the_tables_are_current(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `make reference`"
    assert text.count("<!-- machine ") == text.count("<!-- end of machine -->")


@pytest.mark.parametrize("name", MACHINES)
def test_the_diagrams_are_current(name: str) -> None:
    assert (FOLDER / f"{name}.mmd").read_text(encoding="utf-8") == mermaid(name), "run `make reference`"


def test_there_are_no_other_diagrams() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"README.md", *(f"{name}.mmd" for name in MACHINES)}
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == readme(), "run `make reference`"


def test_every_machine_is_in_a_document() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in document_paths() if path.stem != "conventions")
    missing = {name for name in MACHINES if f"<!-- machine {name} -->" not in text}
    if missing and awaited():
        pytest.skip(f"not written yet: {', '.join(sorted(missing))}")
    assert missing == set()


def test_how_a_table_looks() -> None:
    assert event_name(NotClaimed) == "NOT_CLAIMED"
    assert event_name(Acknowledge) == "durable"
    assert markdown("client-watching") == (
        "| state | known in it | WELCOME | WATCH | UNWATCH | SHOWN |\n"
        "|---|---|---|---|---|---|\n"
        "| OPENED | nothing has come yet | READY | | | |\n"
        "| READY | the edge has named itself | | READY | READY | READY |\n"
    )
    assert "    OPENED --> READY : WELCOME\n    READY --> READY : WATCH, UNWATCH, SHOWN\n" in mermaid("client-watching")


def test_a_machine_nobody_knows() -> None:
    with pytest.raises(KeyError):
        with_tables("<!-- machine nothing -->\n<!-- end of machine -->\n")
