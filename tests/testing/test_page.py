"""The page about the test world: its example runs, and it leaves out no flaw and no fault."""

import inspect
import subprocess
import sys
from pathlib import Path

from volly_fed.testing import world_faults
from volly_fed.testing.world import Flaw

PAGE = Path(__file__).parents[2].joinpath("docs/test-dns.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    example = PAGE.split("```python\n")[1].split("```")[0]
    # a process of its own, because the example starts an event loop
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=True)
    assert "127.0.0.1" in done.stdout
    assert " IN DS " in done.stdout


def test_every_flaw_and_fault_is_on_it() -> None:
    faults = [
        name
        for name, member in inspect.getmembers(world_faults, inspect.isfunction)
        if not name.startswith("_") and member.__module__ == world_faults.__name__
    ]
    assert len(faults) > 10
    assert [name for name in faults if f"`{name}(" not in PAGE] == []
    assert [flaw.name for flaw in Flaw if f"`{flaw.name}`" not in PAGE] == []
