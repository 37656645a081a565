"""A steady stream between two homeservers for a long time: does anything grow, is anything late, is anything lost?

python -m bench.soak [--minutes 45] [--rate 2000] [--json FILE] [--svg FILE]
Bodies of 1 KiB that live for a minute, half of the rate each way, edge to edge. Exit 1: a loss, an unexpected line in a
log, or, after a run that is long enough to tell (35 minutes), a process that grows. Growth is that of private dirty
memory and of open files, by least squares after the first fifteen minutes, when stores and their
caches have come to their size.
"""

import argparse
import json
import sys
from pathlib import Path

import trio

from volly_fed.cli.signals import until_interrupted
from volly_fed.testnet.soak import Report, Soak
from volly_fed.testnet.soak_plot import plot


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="envelopes a second, both ways together")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
