"""Figures with their intervals and goals, as tables and as JSON.

in: estimates; out: a verdict for each that has a goal, and text: for a terminal, a program, a page.
"""

import enum
from pathlib import Path
from typing import Any

import attrs

from bench.presence_privacy.chance import CONFIDENCE, Estimate

BEGIN, END = "<!-- presence-privacy: begin -->", "<!-- presence-privacy: end -->"


class Goal(enum.StrEnum):
    """What an estimate is held to."""

    NOTHING = "nothing"
    """An advantage or a correlation of 0 lies within the interval, and the interval within the bound."""
    SUCCESS = "≥ 95 %"
    """The attack on unkeyed filters must succeed."""
    EVERYBODY = "all"
    """It must find everybody."""
    SAID = "-"
    """There is none: the figure is to be read."""


@attrs.frozen
class Figure:
    """One line."""

    group: str
    name: str
    estimate: Estimate
    goal: Goal
    bound: float = 0.1
    """Wider than that, an interval around 0 would say only that there were too few samples."""

    @property
    def met(self) -> bool:
        """Whether the goal is, if there is one."""
        found = self.estimate
        if self.goal is Goal.NOTHING:
            return bool(-self.bound <= found.low <= 0 <= found.high <= self.bound)
        if self.goal is Goal.SUCCESS:
            return bool(found.value >= 0.95)
        return self.goal is not Goal.EVERYBODY or bool(found.value == 1.0)


def table(figures: list[Figure]) -> str:
    """For people."""
    lines, group = [], ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines += ["", f"{group:60} {'value':>8}   {CONFIDENCE:.1%} interval    samples  goal"]
        found = figure.estimate
        verdict = "" if figure.goal is Goal.SAID else f"{figure.goal.value}: {'met' if figure.met else 'MISSED'}"
        span = f"{found.low:+8.4f} … {found.high:+8.4f}"
        lines.append(f"  {figure.name:58} {found.value:+8.4f}  {span} {found.samples:9,}  {verdict or '-'}")
    return "\n".join(lines[1:])


def as_json(figures: list[Figure], settings: dict[str, Any]) -> dict[str, Any]:
    """For programs."""
    return {
        "settings": settings | {"confidence": CONFIDENCE},
        "figures": [
            {"group": f.group, "name": f.name, "goal": f.goal.value, "met": f.met} | attrs.asdict(f.estimate)
            for f in figures
        ],
    }


def markdown(figures: list[Figure], command: str) -> str:
    """For a page: a row for each attack, a column for each group it is made in; what misses its goal is bold."""
    groups = list(dict.fromkeys(figure.group for figure in figures))
    by_name: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        by_name.setdefault(figure.name.strip(), {})[figure.group] = figure
    lines = [f"`{command}` prints:", "", f"| | {' | '.join(groups)} |", "|---|" + "---:|" * len(groups)]
    for name, found in by_name.items():
        lines.append(f"| {name} | {' | '.join(_cell(found.get(group)) for group in groups)} |")
    return "\n".join(lines)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    found = figure.estimate
    text = f"{found.value:.3f} ({found.low:.3f} … {found.high:.3f})".replace("-0.000", "0.000")
    return text if figure.met else f"**{text}**"


def put_markdown(page: Path, text: str) -> None:
    """Replace what is between the page's two marks. Raises ValueError if it has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the figures: {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
