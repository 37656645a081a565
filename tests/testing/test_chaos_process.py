"""The clock, the disk and the counters of a process in a test of chaos: wrong when, and only when, they are told."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from volly_fed.testing.chaos_process import Wrongs

SCRIPT = """
import sys, time
from pathlib import Path
from volly_fed.testing.chaos_process import Wrongs, install
wrongs = Wrongs(Path(sys.argv[1]))
vfs = install(wrongs)
import apsw, trio
from volly_fed.daemon.device.store import DeviceStore
{body}
"""


@pytest.fixture
def wrongs(tmp_path: Path) -> Wrongs:
    return Wrongs.create(tmp_path / "wrongs")


def run(folder: Path, body: str) -> str:
    """In a process of its own, for it changes all of it."""
    script = SCRIPT.format(body=body)
    command = [sys.executable, "-c", script, str(folder / "wrongs"), str(folder / "some.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_wrong_at_first(wrongs: Wrongs) -> None:
    assert (wrongs.clock, wrongs.sync, wrongs.tasks, wrongs.read_only) == (0.0, 0.0, 0, False)


def test_the_clock_is_wrong_while_it_is_told(wrongs: Wrongs, tmp_path: Path) -> None:
    wrongs.clock = 120.0
    before = time.time()
    ahead, right = run(tmp_path, "print(time.time()); wrongs.clock = 0; print(time.time())").split()
    assert 119 < float(ahead) - before < 150
    assert -1 < float(right) - before < 30
    assert wrongs.clock == 0.0, "both see the same file"


def test_syncs_take_longer(wrongs: Wrongs, tmp_path: Path) -> None:
    body = "began = time.monotonic(); DeviceStore(Path(sys.argv[2])); print(time.monotonic() - began)"
    wrongs.sync = 0.3
    assert float(run(tmp_path, body)) > 0.3
    wrongs.sync = 0.0
    assert float(run(tmp_path, body)) < 0.3, "an existing file that nothing is changed in"


def test_a_read_only_disk_takes_nothing_and_recovers(wrongs: Wrongs, tmp_path: Path) -> None:
    body = """
database = apsw.Connection(sys.argv[2])
database.pragma("journal_mode", "wal")
database.execute("CREATE TABLE t(x)")
wrongs.read_only = True
try:
    database.execute("INSERT INTO t VALUES(1)")
except apsw.Error as error:
    print(type(error).__name__)
wrongs.read_only = False
database.execute("INSERT INTO t VALUES(2)")
print(database.execute("SELECT x FROM t").fetchall())
"""
    assert run(tmp_path, body).splitlines() == ["ReadOnlyError", "[(2,)]"]


def test_tasks_are_counted(wrongs: Wrongs, tmp_path: Path) -> None:
    body = """
async def main():
    before = wrongs.tasks
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(trio.sleep_forever)
        await trio.lowlevel.checkpoint()
        print(wrongs.tasks - before)
        nursery.cancel_scope.cancel()
    print(wrongs.tasks - before)
trio.run(main)
"""
    assert run(tmp_path, body).split() == ["5", "0"]


def test_a_program_runs_as_it_is(wrongs: Wrongs, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "volly_fed.testing.chaos_process", str(tmp_path / "wrongs"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "volly-fed" in done.stdout
