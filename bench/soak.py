"""A steady stream between two homeservers for a long time: does anything grow, is anything late, is anything lost?

python -m bench.soak [--minutes 45] [--rate 2000] [--json FILE] [--svg FILE]
Bodies of 1 KiB that live for a minute, half of the rate each way, edge to edge. Exit 1: a loss, an unexpected line in a
log, or, after a run that is long enough to tell (28 minutes), a process that grows. Growth is that of private dirty
memory and of open files, by least squares after the first eight minutes, when stores have come to their size.
"""

import argparse
import json
import sys
from pathlib import Path

import trio

from volly_fed.cli.signals import until_interrupted
from volly_fed.testing.process_sample import Sample
from volly_fed.testnet.soak import Report, Soak

WIDTH, HEIGHT, MARGIN = 900, 320, 60
COLOURS = ("#1b6ca8", "#c8553d", "#588b4c", "#8a5aab", "#b08a2e", "#555555")


def main() -> int:
    """Run, and say what became of it."""
    args = _arguments()
    soak = Soak(seconds=args.minutes * 60, rate=args.rate, tell=lambda text: print(text, flush=True))
    try:
        report = trio.run(until_interrupted, soak.run)
    except KeyboardInterrupt:
        return 130
    if args.json:
        args.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    if args.svg:
        args.svg.write_text(plot(report.samples))
    return _say(report)


def _say(report: Report) -> int:
    for line in report.log:
        print(f"unexpected: {line}")
    for name, trend in report.trends.items():
        verdict = "flat" if trend.flat else "grows" if report.certain else "too short a run to tell"
        print(
            f"{name}: private dirty {trend.dirty_kib_per_min:+.1f} kB/min ({trend.first.private_dirty >> 10} to "
            f"{trend.last.private_dirty >> 10} MiB), rss {trend.rss_kib_per_min:+.1f} kB/min, "
            f"files {trend.files_per_min:+.2f}/min ({trend.last.files}): {verdict}"
        )
    print(
        f"{report.seconds:.0f} s, {report.submitted} submitted ({report.submitted / report.seconds:.0f}/s), "
        f"{report.arrived} arrived, {report.again} brought again, {report.refused} refused, {report.lost} lost"
    )
    grows = report.certain and not all(trend.flat for trend in report.trends.values())
    return 1 if report.lost or report.refused or report.log or grows else 0


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="envelopes a second, both ways together")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
