"""The vectors in spec/vectors/discovery are what is written down in make_vectors; tests/test_vectors runs them."""

import pytest

from tests.discovery.make_vectors import FILES, FOLDER, text


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_is_generated(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == text(name)


def test_every_file_is_generated_but_one() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {*FILES, "chain"}  # which is recorded, by record_chain
