"""The benchmark of the relay path still runs, from one end to the other; what it measures here means nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

GROUPS = {"busy", "sizes", "killed", "backlog", "quiet", "dark", "far", "sealing"}
ROOT = Path(__file__).parents[2]


@pytest.mark.real
@pytest.mark.slow
def test_quick(tmp_path: Path) -> None:
    report, stores = tmp_path / "report.json", tmp_path / "stores"
    stores.mkdir()
    command = [sys.executable, "-m", "bench.relay", "--quick", "--json", str(report), "--folder", str(stores)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert {figure["group"] for figure in found["figures"]} == GROUPS
    lost = {figure["name"]: figure["value"] for figure in found["figures"] if figure["name"].startswith("lost")}
    assert lost
    assert not any(lost.values()), lost
    assert not list(stores.iterdir()), "the stores are removed"
