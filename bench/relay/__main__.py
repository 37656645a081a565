"""The relay path: goals beside figures.

python -m bench.relay [--quick] [--only NAME ...] [--rounds N] [--idle SECONDS] [--folder FOLDER]
                      [--json FILE] [--plot FOLDER] [--markdown FILE]
Exit 1 if a goal is missed. Everything is on loopback; stores are in a temporary folder below --folder, on the disk
that is to be measured. docs/benchmarks.md says how to read the figures.
"""

import argparse
import json
import math
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from bench.relay import far, many, one_link, outage, report, sealing
from bench.relay.figure import Figure, Result, merged, most
from bench.relay.options import Options
from bench.relay.processor import wait_idle

GROUPS: Final[dict[str, Callable[[Options], Awaitable[Result]]]] = {
    "busy": one_link.busy,
    "sizes": one_link.sizes,
    "killed": outage.killed,
    "backlog": outage.backlog,
    "quiet": many.quiet,
    "dark": many.dark,
    "far": far.far,
    "sealing": sealing.sealing,
}
GROUP_WITHIN: Final = 600.0


async def measure(names: list[str], options: Options) -> list[Result]:
    """One group after the other. SIGTERM ends it in order, as Ctrl-C does: processes and folders are taken down."""
    results: list[Result] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_heed_sigterm, nursery.cancel_scope)
        results = await _measure(names, options)
        nursery.cancel_scope.cancel()
    return results


async def _heed_sigterm(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _measure(names: list[str], options: Options) -> list[Result]:
    results: list[Result] = []
    for name in names:
        print(f"# {name}: {GROUPS[name].__doc__}", file=sys.stderr, flush=True)
        results.append(merged([await _round(name, options) for _ in range(options.rounds)]))
        print(report.table(results[-1].figures), flush=True)
    return results


async def _round(name: str, options: Options) -> Result:
    await wait_idle(options.idle)
    with trio.move_on_after(GROUP_WITHIN):
        return await GROUPS[name](options)
    result = Result(name)
    result.add(f"does not finish within {GROUP_WITHIN:.0f} s", math.nan, "", most(0))
    return result


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures mean nothing")
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="NAME", help=", ".join(GROUPS)
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="SVG; needs the extra `bench`")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table into it: docs/benchmarks.md")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    parser.add_argument("--rounds", type=int, default=1, help="measure each so often, and print the median")
    parser.add_argument("--idle", type=float, default=0, metavar="SECONDS", help="wait for an otherwise idle machine")
    chosen = parser.parse_args()
    options = Options(quick=chosen.quick, folder=chosen.folder, rounds=chosen.rounds, idle=chosen.idle)
    results = trio.run(measure, chosen.only, options)
    if len(results) < len(chosen.only):
        sys.exit("interrupted")
    figures: list[Figure] = [figure for result in results for figure in result.figures]
    found = report.as_json(figures, options)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    if chosen.markdown:
        report.put_markdown(chosen.markdown, found, figures)
    if chosen.plot:
        from bench.relay import plot  # the only one that needs the extra

        plot.draw(results, chosen.plot)
    missed = [figure for figure in figures if figure.missed]
    print(f"{len(missed)} of {sum(figure.goal is not None for figure in figures)} goals missed", file=sys.stderr)
    sys.exit(1 if missed and not chosen.quick else 0)


if __name__ == "__main__":
    main()
