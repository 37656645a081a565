"""What several modules of tests ask for by name."""

from collections.abc import Iterator

import pytest

from tests.daemon.read_only import ReadOnly


@pytest.fixture
def disk() -> Iterator[ReadOnly]:
    """A disk that takes everything until it is told not to."""
    vfs = ReadOnly()
    yield vfs
    vfs.unregister()
