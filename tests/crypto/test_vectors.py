"""The vectors in spec/vectors/crypto are what is generated from the plain formulas; tests/test_vectors runs them."""

import pytest

from tests.crypto.make_vectors import ALL, FOLDER, text


@pytest.mark.parametrize("name", ALL)
def test_the_files_are_what_is_generated(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text(name)


def test_every_file_is_generated() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(ALL)
