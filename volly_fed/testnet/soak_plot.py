"""The memory of processes over time, as a picture.

in: samples by process; out: SVG text. No dependency is worth a few lines of it.
"""

from typing import Final

from volly_fed.testing.process_sample import Sample

WIDTH: Final = 900
HEIGHT: Final = 320
MARGIN: Final = 60
COLOURS: Final = ("#1b6ca8", "#c8553d", "#588b4c", "#8a5aab", "#b08a2e", "#555555")


def plot(samples: dict[str, list[tuple[float, Sample]]]) -> str:
    """Private dirty memory over time, a line for each process."""
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    minutes = max(at for series in samples.values() for at, _ in series) / 60 or 1.0
    most = max(each.private_dirty for series in samples.values() for _, each in series) / 1024 * 1.1
    lines = []
    for number, (name, series) in enumerate(samples.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{MARGIN + at / 60 / minutes * width:.1f},{MARGIN + height * (1 - each.private_dirty / 1024 / most):.1f}"
            for at, each in series
        )
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        lines.append(f'<text x="{MARGIN + number * 200}" y="{MARGIN / 2}" fill="{colour}">{name}</text>')
    for part in range(5):
        y = MARGIN + height * (1 - part / 4)
        lines.append(f'<line x1="{MARGIN}" x2="{MARGIN + width}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="{MARGIN - 8}" y="{y + 4}" text-anchor="end">{most * part / 4:.0f} MiB</text>')
        x = MARGIN + width * part / 4
        lines.append(
            f'<text x="{x}" y="{HEIGHT - MARGIN / 2}" text-anchor="middle">{minutes * part / 4:.0f} min</text>'
        )
    style = "<style>text { font: 12px sans-serif; }</style>"
    body = "\n".join(lines)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">\n{style}\n{body}\n</svg>\n'
