"""Confidence intervals for what an attacker achieves, and how it learns from another day.

in: counts, pairs of samples, a source of chance; out: estimates with intervals, and fits. Intervals have CONFIDENCE:
enough that a run has few false alarms.
"""

import math

import attrs
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CONFIDENCE = 0.999
_Z = 3.2905
"""Standard deviations for it, both sides."""
_RESAMPLES = 10_000
_HALVINGS = 40
_STEADY = 1.0
"""Ridge: keeps a feature that says nothing from being believed."""


@attrs.frozen
class Estimate:
    """A value, between `low` and `high`, from so many samples."""

    value: float
    low: float
    high: float
    samples: int
    method: str

    def minus(self, guess: float) -> "Estimate":
        """What is more than guessing gives."""
        return attrs.evolve(self, value=self.value - guess, low=self.low - guess, high=self.high - guess)


def share(hits: int, tries: int) -> Estimate:
    """Exact binomial (Clopper and Pearson)."""
    if not tries:
        return Estimate(math.nan, math.nan, math.nan, 0, "exact binomial")
    half = (1 - CONFIDENCE) / 2
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, tries + 1)))))
    choose = logs[-1] - logs - logs[::-1]

    def at_least(number: int, rate: float) -> float:
        """The chance of so many hits or more."""
        hit = np.arange(number, tries + 1)
        return float(np.exp(choose[number:] + hit * math.log(rate) + (tries - hit) * math.log1p(-rate)).sum())

    def where(number: int, chance: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if at_least(number, middle) < chance else (low, middle)
        return (low + high) / 2

    low = where(hits, half) if hits else 0.0
    high = where(hits + 1, 1 - half) if hits < tries else 1.0
    return Estimate(hits / tries, low, high, tries, "exact binomial")


def correlation(one: Floats, other: Floats) -> Estimate:
    """Pearson's, with Fisher's z. For samples of which at least one kind is independent from sample to sample."""
    value = _pearson(one, other)
    if len(one) < 5 or abs(value) >= 1:
        return Estimate(value, value, value, len(one), "Fisher z")
    middle, width = math.atanh(value), _Z / math.sqrt(len(one) - 3)
    return Estimate(value, math.tanh(middle - width), math.tanh(middle + width), len(one), "Fisher z")


def block_correlation(one: Floats, other: Floats, chance: np.random.Generator) -> Estimate:
    """Pearson's of two tables, a row for each epoch, without the means of the columns; bootstrap of whole rows.

    What depends on an epoch's age alone is taken out that way: everybody knows the clock.
    """
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    rows = len(one)
    chosen = chance.integers(0, rows, (_RESAMPLES, rows))
    products = [(a * b).sum(axis=1)[chosen].sum(axis=1) for a, b in ((one, other), (one, one), (other, other))]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.nan_to_num(products[0] / np.sqrt(products[1] * products[2]))
    half = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (half, 1 - half)).tolist()
    return Estimate(_pearson(one.ravel(), other.ravel()), low, high, one.size, "bootstrap of epochs")


def fit(known: Floats, truth: Floats, asked: Floats) -> Floats:
    """What the truth would be for the features `asked`, by a linear fit to those of which it is known."""
    middle, width = known.mean(axis=0), known.std(axis=0)
    width[width == 0] = np.inf
    scaled = (known - middle) / width
    slope = np.linalg.solve(scaled.T @ scaled + _STEADY * np.eye(scaled.shape[1]), scaled.T @ (truth - truth.mean()))
    found: Floats = truth.mean() + (asked - middle) / width @ slope
    return found


def _pearson(one: Floats, other: Floats) -> float:
    if len(one) < 2 or not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
