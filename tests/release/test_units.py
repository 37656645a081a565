"""The units for systemd: they run commands that there are, and may do no more than they need."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.release import sandbox
from volly_fed.cli.app import run

FOLDER = Path(__file__).parents[2] / "contrib" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
EXPOSURE = 1.5
"""docs/operating.md has what systemd 252 says; others may count a little more."""


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names are as they are written
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser["Service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_what_is_run_is_there(path: Path) -> None:
    service = unit(path)
    for key in ("ExecStart", "ExecReload"):
        program, *arguments = service[key].split()
        if program == "/bin/kill":
            assert arguments == ["-HUP", "$MAINPID"]
            continue
        assert program == "/opt/volly-fed/bin/volly-fed"
        assert run([*arguments, "--help"]) == 0


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_they_are_known_by_what_they_say_and_hold_no_secrets_on_a_disk(path: Path) -> None:
    service = unit(path)
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > 0
    assert (service["LimitCORE"], service["MemorySwapMax"], service["CapabilityBoundingSet"]) == ("0", "0", "")
    assert service["StateDirectory"] == service["User"] == path.stem


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_little_to_say_against_them(path: Path) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("systemd-analyze is not installed")
    limit = str(round(EXPOSURE * 10))
    command = [analyse, "security", "--offline=true", "--no-pager", f"--threshold={limit}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than 250")
    assert done.returncode == 0, done.stdout
    assert "Unknown" not in done.stderr


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_filter_under_which_the_processes_are_tested_is_one(path: Path) -> None:
    if (reason := sandbox.missing()) is not None:
        pytest.skip(reason)
    program = [sys.executable, "-c", "import os; print('runs', flush=True); os.nice(1)"]
    command = [sys.executable, "-m", "tests.release.sandbox", str(path), *program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])
    assert done.stdout == "runs\n"
    assert "PermissionError" in done.stderr
