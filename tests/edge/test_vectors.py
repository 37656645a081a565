"""The vectors in spec/vectors/edge are what is generated; tests/test_vectors runs them."""

import pytest

from tests.edge.make_vectors import ALL
from tests.making import VECTORS, text


@pytest.mark.parametrize("name", ALL)
def test_the_files_are_what_is_generated(name: str) -> None:
    assert (VECTORS / "edge" / f"{name}.json").read_text(encoding="utf-8") == text(ALL[name]())


def test_every_file_is_generated() -> None:
    assert {path.stem for path in (VECTORS / "edge").iterdir()} == set(ALL)
