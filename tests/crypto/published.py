"""Published test vectors, read from beside the checkout where they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2].parent / "shared" / "vectors"


def vectors(name: str) -> Any:
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the published vectors {name}.json are not beside this checkout (../shared/vectors)")
    return json.loads(path.read_text())


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, test) of a Wycheproof file."""
    for group in vectors(f"wycheproof-{name}")["testGroups"]:
        for test in group["tests"]:
            yield group, test
