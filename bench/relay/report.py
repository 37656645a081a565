"""Figures beside their goals: for people, for programs, for docs/benchmarks.md.

in: results; out: a table, JSON, Markdown.
"""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs

from bench.relay.figure import Figure, number

_PACKAGES = ("volly-fed", "trio", "trio-websocket", "cryptography", "pyOpenSSL", "apsw", "cbor2", "websockets")


def rows(figures: Iterable[Figure]) -> Iterable[tuple[str, str, str, str, str]]:
    """(group, name, value, goal, verdict) of each."""
    for figure in figures:
        verdict = "" if figure.goal is None else "MISSED" if figure.missed else "ok"
        yield figure.group, figure.name, f"{number(figure.value)} {figure.unit}", str(figure.goal or ""), verdict


def table(figures: Iterable[Figure]) -> str:
    """For a terminal."""
    return "\n".join(
        f"{group:10} {name:52} {value:>24} {goal:>10} {verdict}" for group, name, value, goal, verdict in rows(figures)
    )


def markdown(figures: Iterable[Figure]) -> str:
    """For docs/benchmarks.md."""
    lines = ["| | figure | measured | goal | |", "|---|---|---:|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(figures)]
    return "\n".join(lines)


def as_json(figures: Iterable[Figure], *, quick: bool) -> dict[str, Any]:
    """With everything that one needs to know about the figures."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load": os.getloadavg(),
        },
        "versions": {name: version(name) for name in _PACKAGES},
        "seed": "keys, bodies and ids are random and new in each run; what is submitted when is not random",
        "figures": [
            {**attrs.asdict(figure), "goal": str(figure.goal or ""), "missed": figure.missed} for figure in figures
        ],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
