"""The picture: what each attack gains over guessing, against filters of names and against ours. Needs matplotlib.

in: figures; out: one SVG file, the same for the same figures.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from bench.presence_privacy.report import Figure

_COLOURS = ("#b3261e", "#1f5fa8", "#c77700", "#2e7d32", "#6a3d9a")


def draw(figures: list[Figure], path: Path) -> None:
    """One line for each figure, with its interval; group by group."""
    mpl.rcParams["svg.hashsalt"] = "volly-fed"  # the same figures make the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: a fifth of the size
    canvas = Canvas(figsize=(9, 1.2 + 0.3 * len(figures)), layout="constrained")
    axes = canvas.add_subplot()
    groups = list(dict.fromkeys(figure.group for figure in figures))
    for number, group in enumerate(groups):
        rows = [(len(figures) - at, f.estimate) for at, f in enumerate(figures) if f.group == group]
        values = [found.value for _, found in rows]
        below = [max(0.0, found.value - found.low) for _, found in rows]
        above = [max(0.0, found.high - found.value) for _, found in rows]
        axes.errorbar(
            values,
            [row for row, _ in rows],
            xerr=(below, above),
            fmt="o",
            markersize=4,
            capsize=2,
            color=_COLOURS[number % len(_COLOURS)],
            label=group,
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(figures), 0, -1), [figure.name for figure in figures], fontsize=8)
    axes.set(xlabel="advantage over guessing, or correlation: 0 is nothing learnt, 1 is everything")
    axes.grid(axis="x", alpha=0.3)
    canvas.legend(loc="outside lower center", ncols=2, fontsize=8)
    canvas.savefig(path, format="svg", metadata={"Date": None})
