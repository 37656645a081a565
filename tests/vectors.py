"""The files of spec/: where they are, and what is in them."""

import json
from pathlib import Path
from typing import Any

SPEC = Path(__file__).parent.parent / "spec"


def registry(name: str) -> list[dict[str, Any]]:
    """The entries of a registry."""
    entries: list[dict[str, Any]] = read(SPEC / "registries" / f"{name}.json")["entries"]
    return entries


def vector_files() -> list[Path]:
    return sorted((SPEC / "vectors").rglob("*.json"))


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(), object_pairs_hook=_no_key_twice)
    return document


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)
