"""For all tests with real processes: whatever a test starts has ended when it has."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """No test leaves a process behind, red ones included."""
    before = children()
    yield
    left = children() - before
    assert not left, f"still running: {sorted(left)}"


def children() -> set[str]:
    """Process ids of this process's children, where the system tells (Linux)."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that another processor does not wait for it at the end."""
    items.sort(key=lambda item: "federation/test_chaos.py" not in item.nodeid)
