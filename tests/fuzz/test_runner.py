"""What the runner makes of libFuzzer's words, and what it says where there is no libFuzzer."""

import importlib.util
import json
import subprocess
import threading
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fuzz import __main__ as runner
from fuzz import corpus
from fuzz.report import read

ROOT = Path(__file__).parent.parent.parent
QUIET = """INFO: Seed: 5
#2\tINITED cov: 30 ft: 31 corp: 1/1b exec/s: 0 rss: 70Mb
#9000\tDONE   cov: 170 ft: 709 corp: 99/9Kb lim: 4096 exec/s: 900 rss: 91Mb
stat::number_of_executed_units: 9012
stat::peak_rss_mb:              91
"""
CRASH = """#2\tINITED cov: 30 ft: 31 corp: 1/1b exec/s: 0 rss: 70Mb
Test unit written to build/fuzz/wire/crash-0a82

 === Uncaught Python exception: ===
KeyError: 'x'
Traceback (most recent call last):
Test unit written to build/fuzz/wire/crash-0a82
"""


def test_a_run_that_found_nothing() -> None:
    result = read("wire", QUIET, code=0, seconds=10.0)
    assert (result.executions, result.coverage, result.features, result.peak_megabytes) == (9012, 170, 709, 91)
    assert result.per_second == pytest.approx(901.2)
    assert not result.findings
    assert not result.failure


def test_a_finding_has_its_file_its_error_and_the_way_to_see_it_again() -> None:
    (finding,) = read("wire", CRASH, code=1, seconds=1.0).findings
    assert (finding.kind, finding.error) == ("crash", "KeyError: 'x'")
    assert finding.reproduce == "python -m fuzz wire --replay build/fuzz/wire/crash-0a82"


@pytest.mark.parametrize(
    ("name", "kind"), [("timeout-1", "timeout"), ("oom-1", "oom"), ("leak-1", "leak"), ("slow-unit-1", "")]
)
def test_hangs_and_memory_are_findings_and_slowness_is_not(name: str, kind: str) -> None:
    findings = read("wire", f"{QUIET}Test unit written to x/{name}\n", code=70 if kind else 0, seconds=1.0).findings
    assert [finding.kind for finding in findings] == ([kind] if kind else [])


@pytest.mark.parametrize(("text", "code"), [("", 0), (QUIET, 1), ("ERROR: no such folder", 1), (QUIET, -14)])
def test_a_run_that_told_nothing_has_not_found_nothing(text: str, code: int) -> None:
    assert read("wire", text, code=code, seconds=1.0).failure


def test_the_condition_for_a_wheel_is_the_one_of_the_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    marker = Requirement(extras["fuzz"][0]).marker
    assert marker is not None
    assert marker.evaluate() == corpus.has_wheel()


@pytest.mark.parametrize(("wheel", "code", "said"), [(True, 3, "make fuzz"), (False, 0, "NOTHING WAS FUZZED")])
def test_without_atheris_it_is_said_aloud(
    wheel: bool, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fuzz", "wire"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(corpus, "has_wheel", lambda: wheel)
    assert runner.main() == code
    assert said in "".join(capsys.readouterr())


def test_several_targets_at_a_time_have_so_much_longer_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = threading.Barrier(2, timeout=10)
    shares = list[str]()

    def fake(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        both.wait()  # broken unless another one is there
        shares.append(next(word for word in command if word.startswith("-max_total_time")))
        return subprocess.CompletedProcess(command, 0, "#9\tDONE cov: 3 ft: 4 corp: 1")

    summary = tmp_path / "summary.json"
    options = ["--seconds", "100", "--jobs", "2", "--findings", str(tmp_path), "--json", str(summary)]
    monkeypatch.setattr("sys.argv", ["fuzz", "wire", "envelope", "link", "session", *options])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "there")
    monkeypatch.setattr(subprocess, "run", fake)
    assert runner.main() == 0
    assert shares == ["-max_total_time=50"] * 4
    told = json.loads(summary.read_text())
    assert [row["target"] for row in told["targets"]] == ["wire", "envelope", "link", "session"]
    assert told["seconds"] < 10


def test_an_input_is_run_again_without_atheris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"\xa0")
    monkeypatch.setattr("sys.argv", ["fuzz", "wire", "--replay", str(file)])
    assert runner.main() == 0
    assert "nothing wrong" in capsys.readouterr().out
