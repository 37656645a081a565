"""The vectors that are there are those that are made: no case is forgotten, and none is edited by hand."""

import pytest

from tests.handshake.make_messages import FOLDER
from tests.handshake.make_vectors import FILES
from tests.vectors import read


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_are_what_the_formulas_say(name: str) -> None:
    assert FILES[name]() == read(FOLDER / f"{name}.json"), "python -m tests.handshake.make_vectors"
