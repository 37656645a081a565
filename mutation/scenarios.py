"""The second judge, for those that no vector notices: real processes, in the scenarios of interop/.

in: a mutant; out: whether a scenario of the handshake or the session fails with it. Slow: a minute or more for each.
Never: changes the package itself. The servers under test import a copy; the runner that judges them does not.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mutation.operators import Mutant

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutant"
PREFIXES = ("handshake", "session")


def copy_with(mutant: Mutant, folder: Path = COPY) -> Path:
    """What PYTHONPATH has to be for a process with the mutant."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "volly_fed", folder / "volly_fed", ignore=shutil.ignore_patterns("__pycache__"))
    changed = folder.joinpath(*mutant.module.split(".")).with_suffix(".py")
    changed.write_text(mutant.source(), encoding="utf-8")
    return folder


def play(mutant: Mutant) -> str:
    """What differs from the committed results; empty: nothing does."""
    contract = ROOT / "interop" / "peers" / "python" / "CONTRACT.toml"
    command = [sys.executable, str(ROOT / "interop" / "run.py"), "--server", str(contract), *PREFIXES]
    environment = os.environ | {"PYTHONPATH": str(copy_with(mutant))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0] if done.returncode else ""
