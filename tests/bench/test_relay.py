"""The benchmark of the relay path still runs, from one end to the other; what it measures here means nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.relay import __main__

GROUPS = ("busy", "sizes", "killed", "backlog", "quiet", "dark", "far", "sealing")
ROOT = Path(__file__).parents[2]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_quick(tmp_path: Path, group: str) -> None:
    report, stores = tmp_path / "report.json", tmp_path / "stores"
    stores.mkdir()
    command = [sys.executable, "-m", "bench.relay", "--quick", "--only", group]
    command += ["--json", str(report), "--folder", str(stores)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())["figures"]
    assert {figure["group"] for figure in figures} == {group}
    lost = {figure["name"]: figure["value"] for figure in figures if figure["name"].startswith("lost")}
    assert not any(lost.values()), lost
    assert not list(stores.iterdir()), "the stores are removed"


def test_every_group_is_tried() -> None:
    assert set(__main__.GROUPS) == set(GROUPS)
