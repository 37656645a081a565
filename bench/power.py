"""Power losses on the whole path, many of them: run from the root as `python -m bench.power --count 10000`.

Prints progress, the points that were struck by kind, and what was found, with seeds; exits 1 if anything was.
`--from N` begins with seed N; a run that was broken off goes on with `--from` the last seed it printed.
`--seed N` repeats one run, with its strikes and the servers' log.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator

from volly_fed.testing.power_path import Result, run_path

PROGRESS = 10.0
AHEAD = 1 << 20


def results(first: int, jobs: int) -> Iterator[Result]:
    """Run after run, in the order of the seeds."""
    seeds = range(first, first + AHEAD)
    if jobs == 1:
        yield from map(run_path, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run_path, seeds, chunksize=4)
        # leaving the block ends the processes that work ahead


def kind(where: str, strike: str) -> tuple[str, str]:
    """A point without its details: the place, and what struck there."""
    return where.partition(":")[0], strike


def show(result: Result) -> None:
    """Everything about one run."""
    print(f"seed {result.seed}: {result.crashes} crashes, {result.envelopes} envelopes, {result.points} points")
    for line in (*result.history, *(f"FOUND {finding}" for finding in result.findings)):
        print(f"  {line}")


def summary(covered: Counter[tuple[str, str]]) -> None:
    """The strikes by place, and how many different points there were."""
    kinds: Counter[tuple[str, str]] = Counter()
    for (where, strike), count in covered.items():
        kinds[kind(where, strike)] += count
    places = sorted({place for place, _ in kinds})
    strikes = sorted({strike for _, strike in kinds})
    print(f"{len(covered)} different points struck; by place:")
    for place in places:
        line = ", ".join(f"{strike} {kinds[place, strike]}" for strike in strikes if kinds[place, strike])
        print(f"  {place:26} {sum(n for (p, _), n in kinds.items() if p == place):6}  {line}")


def many(first: int, wanted: int, jobs: int) -> int:
    """So many crashes, from this seed on; the exit code."""
    began = told = time.monotonic()
    crashes = envelopes = runs = repeated = found = 0
    covered: Counter[tuple[str, str]] = Counter()
    for result in results(first, jobs):
        runs, crashes, envelopes = runs + 1, crashes + result.crashes, envelopes + result.envelopes
        repeated += result.repeated
        covered += result.covered
        if result.findings:
            found += 1
            show(result)
        done = crashes >= wanted
        if done or time.monotonic() - told > PROGRESS:
            told = time.monotonic()
            pace = (told - began) / max(1, crashes) * 1000
            print(f"seed {result.seed}: {crashes} crashes, {pace:.0f} ms each, {found} runs with findings", flush=True)
        if done:
            break
    summary(covered)
    print(f"{runs} runs, {crashes} crashes, {envelopes} envelopes, {repeated} repeated as documented, {found} found")
    return 1 if found else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="power losses on the whole path")
    parser.add_argument("--count", type=int, default=10_000, help="crashes")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, help="this run only")
    arguments = parser.parse_args()
    if arguments.seed is None:
        return many(arguments.first, arguments.count, arguments.jobs)
    result = run_path(arguments.seed)
    print(result.log, end="")
    show(result)
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
