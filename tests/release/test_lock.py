"""requirements/ is in step with pyproject.toml, as far as can be told without asking an index."""

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("lock", "development", "release")

_ENTRY = re.compile(r"^(?P<pin>[^\s#].*?) ?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)


def wanted(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for."""
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    texts = {
        "lock": project["dependencies"],
        "development": project["dependencies"] + project["optional-dependencies"]["test"],
        "release": document["dependency-groups"]["release"],
    }[lock]
    return [Requirement(text) for text in texts]


def pinned(lock: str) -> list[Requirement]:
    """The entries of a lock."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    entries = list(_ENTRY.finditer(text))
    assert "".join(entry[0] for entry in entries) == text, "something else than pins with their hashes"
    return [Requirement(entry["pin"]) for entry in entries]


def needed(lock: str) -> set[NormalizedName]:
    """What those ask for in turn, by what is installed here."""
    found: set[tuple[NormalizedName, str]] = set()
    waiting = [(requirement, "") for requirement in wanted(lock)]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for inner in ("", *requirement.extras):
            if (name, inner) not in found:
                found.add((name, inner))
                waiting += [(Requirement(text), inner) for text in metadata.requires(name) or ()]
    return {name for name, _ in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_pinned_to_one_version_once(lock: str) -> None:
    entries = pinned(lock)
    assert all(re.fullmatch(r"==[^*]+", str(entry.specifier)) for entry in entries)
    here = [entry.name for entry in entries if entry.marker is None or entry.marker.evaluate()]
    assert len(here) == len(set(here))


@pytest.mark.parametrize("lock", LOCKS)
def test_what_pyproject_asks_for_is_pinned_as_it_asks(lock: str) -> None:
    entries = pinned(lock)
    for requirement in wanted(lock):
        versions = [
            str(entry.specifier).removeprefix("==")
            for entry in entries
            if canonicalize_name(entry.name) == canonicalize_name(requirement.name)
        ]
        assert versions, f"{requirement.name} is in pyproject.toml only; note: make lock"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement}; note: make lock"


@pytest.mark.parametrize("lock", ["lock", "development"])
def test_nothing_is_missing_and_nothing_is_left_over(lock: str) -> None:
    entries = [entry for entry in pinned(lock) if entry.marker is None or entry.marker.evaluate()]
    assert {canonicalize_name(entry.name) for entry in entries} == needed(lock), "note: make lock"


def test_what_runs_is_tested_in_the_same_version() -> None:
    development = {str(entry) for entry in pinned("development")}
    assert {str(entry) for entry in pinned("lock")} <= development
