"""Verdicts, and what was to be expected of them.

in: verdicts of a run, results.jsonl; out: differences, the file's new text, a table for people.
Never: forgets a verdict of implementations that did not take part in this run.
"""

import enum
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

RESULTS: Final = Path(__file__).parent / "results.jsonl"

Key = tuple[str, tuple[str, ...]]
"""Scenario, and the names of the implementations in it, the first first."""


class Outcome(enum.StrEnum):
    """What came of a scenario."""

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"
    """One of them lacks what it needs."""


_STYLES: Final = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.UNSUPPORTED: "dim"}


@attrs.frozen(kw_only=True)
class Verdict:
    """One scenario with one combination of implementations."""

    scenario: str
    servers: tuple[str, ...]
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> Key:
        """What there is one verdict of."""
        return self.scenario, self.servers

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "scenario": self.scenario,
            "servers": list(self.servers),
            "outcome": str(self.outcome),
            "reason": self.reason,
            "seconds": round(self.seconds, 2),
        }


def read_results(path: Path = RESULTS) -> dict[Key, Outcome]:
    """What is committed; nothing where there is no file."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["scenario"], tuple(line["servers"])): Outcome(line["outcome"]) for line in lines}


def results_text(results: dict[Key, Outcome]) -> str:
    """The file: a line for each, sorted, without times."""
    rows = [
        {"scenario": scenario, "servers": list(servers), "outcome": str(outcome)}
        for (scenario, servers), outcome in sorted(results.items())
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def differences(verdicts: Iterable[Verdict], committed: dict[Key, Outcome], known: Iterable[Key]) -> list[str]:
    """Where this run differs from what is committed, in words. `known`: all that there could be a verdict of.

    Of an implementation that has no line there, everything is expected to pass.
    """
    names = {name for _, servers in committed for name in servers}
    found = []
    for verdict in verdicts:
        strangers = not names.issuperset(verdict.servers)
        expected = committed.get(verdict.key, Outcome.PASS if strangers else None)
        if expected is not verdict.outcome and not (strangers and verdict.outcome is Outcome.UNSUPPORTED):
            found.append(f"{in_words(verdict.key)}: {verdict.outcome}, expected {expected or 'no such line'}")
    gone = sorted(set(committed).difference(known))
    return found + [f"{in_words(key)}: there is no such scenario any more" for key in gone]


def merged(verdicts: Iterable[Verdict], committed: dict[Key, Outcome], known: Iterable[Key]) -> dict[Key, Outcome]:
    """What is to be committed after this run."""
    there = set(known)
    kept = {key: outcome for key, outcome in committed.items() if key in there}
    return kept | {verdict.key: verdict.outcome for verdict in verdicts}


def in_words(key: Key) -> str:
    """For people."""
    return f"{key[0]} ({' → '.join(key[1])})"


def print_table(verdicts: Sequence[Verdict]) -> None:
    """A row for each concept, a column for each combination: how many pass, and which do not."""
    combinations = sorted({verdict.servers for verdict in verdicts}, key=lambda names: (len(names), names))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("concept", no_wrap=True)
    for names in combinations:
        table.add_column(" → ".join(names))
    for concept in sorted({verdict.scenario.partition("/")[0] for verdict in verdicts}):
        mine = [verdict for verdict in verdicts if verdict.scenario.startswith(f"{concept}/")]
        cells = [_cell([verdict.outcome for verdict in mine if verdict.servers == names]) for names in combinations]
        table.add_row(Text(concept), *cells)
    totals = [_cell([verdict.outcome for verdict in verdicts if verdict.servers == names]) for names in combinations]
    table.add_section()
    table.add_row(Text("together"), *totals)
    Console().print(table)


def _cell(outcomes: Sequence[Outcome]) -> Text:
    parts = [(outcome, outcomes.count(outcome)) for outcome in Outcome]
    return Text("  ").join(Text(f"{count} {outcome}", _STYLES[outcome]) for outcome, count in parts if count)
