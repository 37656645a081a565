"""Every vector of spec/vectors is consumed: by what tests/CONCEPT/vectors.py says of its kind."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import read, vector_files

CASES = [
    pytest.param(path, case, id=f"{path.parent.name}/{path.stem}/{case['id']}")
    for path in vector_files()
    for case in read(path)["cases"]
]


@pytest.mark.parametrize("path", vector_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_of_vectors(path: Path) -> None:
    document = read(path)
    assert set(document) - {"covers"} == {"spec", "kind", "notes", "cases"}
    identities = [case["id"] for case in document["cases"]]
    assert len(identities) == len(set(identities)) > 0
    for case in document["cases"]:
        assert set(case) - {"covers"} == {"id", "flags", "given", "expect"}, case["id"]
        assert len(case["expect"]) == 1
        assert set(case["expect"]) <= {"accept", "reject"}
        if "reject" in case["expect"]:
            assert {"class", "code"} <= set(case["expect"]["reject"])
        assert set(case["flags"]) <= set(document["notes"])
    flags = {flag for case in document["cases"] for flag in case["flags"]}
    assert flags == set(document["notes"]), "a note that no case has"


@pytest.mark.parametrize(("path", "case"), CASES)
def test_a_vector(path: Path, case: dict[str, Any]) -> None:
    consumers = importlib.import_module(f"tests.{path.parent.name}.vectors").CONSUMERS
    assert read(path)["kind"] in consumers, f"nobody consumes {path}"
    consumers[read(path)["kind"]](case["given"], case["expect"])


def test_there_are_vectors() -> None:
    assert {path.parent.name for path in vector_files()} >= {"trust"}
