"""Figures beside their goals: for people, for programs, for docs/benchmarks.md.

in: results; out: a table, JSON, Markdown.
"""

import os
import platform
import subprocess
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs

from bench.relay.figure import Figure, number
from bench.relay.options import Options

_PACKAGES = ("volly-fed", "trio", "cryptography", "pyOpenSSL", "apsw", "cbor2", "websockets")

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


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
    """The table of docs/benchmarks.md."""
    lines = ["| | figure | measured | goal | |", "|---|---|---:|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(figures)]
    return "\n".join(lines)


def put_markdown(path: Path, report: dict[str, Any], figures: Iterable[Figure]) -> None:
    """Replace what stands between the two marks in `path`. Raises ValueError where they are not."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for figures, between {BEGIN} and {END}")
    machine, versions = report["machine"], report["versions"]
    packages = ", ".join(f"{name} {found}" for name, found in versions.items() if name != "volly-fed")
    said = (
        f"Measured {report['at'][:10]} at {report['commit']}, rounds: {report['rounds']}. "
        f"{machine['processors']} processors, {machine['processor']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {packages}."
    )
    wrapped = textwrap.fill(said, 120)
    path.write_text(f"{before}{BEGIN}\n{wrapped}\n\n{markdown(figures)}\n{END}{after}")


def as_json(figures: Iterable[Figure], options: Options) -> dict[str, Any]:
    """With everything that one needs to know about the figures."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "rounds": options.rounds,
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
