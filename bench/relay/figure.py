"""A figure and its goal.

in: what was measured; out: whether it is good enough, and how it is written.
"""

import math
import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen
class Goal:
    """A bound that a figure is held to."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` is good enough; what could not be measured is not."""
        return not math.isnan(value) and (value >= self.bound if self.at_least else value <= self.bound)

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.bound)}"


@attrs.frozen
class Figure:
    """`value` in `unit`; `group` is what --only chooses. Without a goal it is there to be read."""

    group: str
    name: str
    value: float
    unit: str
    goal: Goal | None = None
    rounds: tuple[float, ...] = ()
    """Where it was measured several times: all of them; `value` is their median."""

    @property
    def missed(self) -> bool:
        """Whether it has a goal that it does not reach."""
        return self.goal is not None and not self.goal.met(self.value)


@attrs.define
class Result:
    """What one group has measured: figures, and samples to draw."""

    group: str
    figures: list[Figure] = attrs.field(factory=list)
    curves: dict[str, list[float]] = attrs.field(factory=dict)
    """Title -> samples in milliseconds, for the plot of their distribution."""

    def add(self, name: str, value: float, unit: str, goal: Goal | None = None) -> None:
        """Note a figure."""
        self.figures.append(Figure(self.group, name, value, unit, goal))


def merged(rounds: Sequence[Result]) -> Result:
    """One result with the median of every figure, and the samples of the last round."""
    result = Result(rounds[-1].group, curves=rounds[-1].curves)
    for same in zip(*(each.figures for each in rounds), strict=False):
        values = tuple(figure.value for figure in same)
        result.figures.append(attrs.evolve(same[0], value=statistics.median(values), rounds=values))
    return result


def most(bound: float) -> Goal:
    """At most so much."""
    return Goal(bound)


def least(bound: float) -> Goal:
    """At least so much."""
    return Goal(bound, at_least=True)


def percentile(samples: Sequence[float], share: float) -> float:
    """The least sample that `share` of all are not above (nearest rank); NaN where there are none."""
    if not samples:
        return math.nan
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def number(value: float) -> str:
    """Three digits that count, or the whole number."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
