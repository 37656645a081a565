"""The distributions behind the percentiles, as SVG. Needs matplotlib (the extra `bench`).

in: results with samples; out: one file for each group that has any.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from bench.relay.figure import Result

_POINTS = 1000
_NINES = (50, 90, 99, 99.9)


def draw(results: Sequence[Result], folder: Path) -> None:
    """Write GROUP.svg into `folder`: the share of envelopes that took longer, on two logarithmic axes."""
    mpl.rcParams["svg.hashsalt"] = "volly-fed"  # the same samples make the same file
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        if result.curves:
            _draw(result, folder / f"{result.group}.svg")


def _draw(result: Result, path: Path) -> None:
    canvas = Canvas(figsize=(8, 5), layout="constrained")
    axes = canvas.add_subplot()
    for title, samples in result.curves.items():
        ordered = sorted(samples)
        step = max(1, len(ordered) // _POINTS)
        # every `step`-th, and of the slowest all: the tail is what one looks for
        places = [*range(0, len(ordered) - _POINTS, step), *range(max(0, len(ordered) - _POINTS), len(ordered))]
        axes.plot([ordered[at] for at in places], [1 - at / len(ordered) for at in places], label=title)
    axes.set(xscale="log", yscale="log", xlabel="milliseconds", ylabel="share that took longer", title=result.group)
    axes.set_yticks([1 - percent / 100 for percent in _NINES], [f"p{percent:g}" for percent in _NINES])
    axes.grid(alpha=0.3)
    axes.legend()
    canvas.savefig(path, format="svg", metadata={"Date": None})
