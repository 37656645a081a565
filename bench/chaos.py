"""A federation of real processes under load, while everything that can fail around them does, as a seed has it.

python -m bench.chaos [--minutes 30] [--servers 5] [--edges 2] [--rate 200] [--seed N] [--json FILE] [--plan]
Needs two cores; loopback only. Exit 1 with every broken promise and the history of the envelopes it is about.
--plan prints the timetable and does nothing.
"""

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Final

import trio

from volly_fed.cli.signals import until_interrupted
from volly_fed.testing.chaos_plan import Parts, make_plan
from volly_fed.testnet.chaos import Chaos, Verdict
from volly_fed.testnet.sites import domain_name

_FEWEST: Final = 2
"""Servers: who is parted from whom is drawn in pairs."""


def main() -> int:
    """Run, and say what became of it."""
    args = _arguments()
    chaos = Chaos(
        seed=args.seed,
        seconds=args.minutes * 60,
        servers=args.servers,
        edges=args.edges,
        rate=args.rate,
        tell=lambda text: print(text, flush=True),
    )
    if args.plan:
        for fault in make_plan(args.seed, _parts(args.servers, args.edges), seconds=chaos.seconds):
            print(fault)
        return 0
    try:
        verdict = trio.run(until_interrupted, chaos.run)
    except KeyboardInterrupt:
        return 130
    if args.json:
        args.json.write_text(json.dumps(verdict.as_json(), indent=1) + "\n")
    return _say(verdict)


def _say(verdict: Verdict) -> int:
    for violation in verdict.violations:
        print(violation)
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in verdict.counts.items())
    print(f"seed {verdict.seed}, {verdict.seconds:.0f} s, {verdict.faults} faults: {counts}")
    print(
        f"at most {verdict.most_waiting} waiting, drained in {verdict.drained_in} s, "
        f"at most {max(verdict.most_rss.values()) >> 10} MiB in one process"
    )
    print(f"{len(verdict.violations)} promises broken" if verdict.violations else "every promise was kept")
    return 1 if verdict.violations else 0


def _parts(servers: int, edges: int) -> Parts:
    domains = [domain_name(number) for number in range(servers)]
    return Parts({domain: tuple(f"edge-{number}.{domain}" for number in range(1, edges + 1)) for domain in domains})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--edges", type=int, default=2)
    parser.add_argument("--rate", type=float, default=200.0, help="envelopes a second, of all devices together")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plan", action="store_true")
    args = parser.parse_args()
    if args.servers < _FEWEST or args.edges < 1 or args.minutes <= 0 or args.rate <= 0:
        parser.error(f"--servers wants {_FEWEST} or more, --edges 1 or more, --minutes and --rate more than 0")
    return args


if __name__ == "__main__":
    sys.exit(main())
