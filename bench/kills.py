"""Real SIGKILLs of homeservers and edges at random moments under load, on both sides, and what becomes of envelopes.

python -m bench.kills [--count 200] [--rate 200] [--seed N] [--json FILE]
Prints how long processes took to be ready and to deliver again. Loopback only. Exit 1 when anything was lost or given
to an application twice, with its history.
"""

import argparse
import json
import secrets
import sys
from pathlib import Path

import trio

from volly_fed.cli.signals import until_interrupted
from volly_fed.testnet.figures import percentile
from volly_fed.testnet.kills import Kills, Verdict


def main() -> int:
    """Run, and say what became of it."""
    args = _arguments()
    kills = Kills(seed=args.seed, count=args.count, rate=args.rate, tell=lambda text: print(text, flush=True))
    print(f"seed {args.seed}")
    try:
        verdict = trio.run(until_interrupted, kills.run)
    except KeyboardInterrupt:
        return 130
    if args.json:
        args.json.write_text(json.dumps(verdict.as_json(), indent=1) + "\n")
    return _say(verdict)


def _say(verdict: Verdict) -> int:
    for violation in verdict.violations:
        print(violation)
    total = sum(verdict.kills.values())
    print(f"seed {verdict.seed}, {total} kills: {', '.join(f'{n} {c}' for n, c in sorted(verdict.kills.items()))}")
    print(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in verdict.counts.items()))
    for what, samples in (("ready", verdict.ready_in), ("first delivery after ready", verdict.delivers_in)):
        if samples:
            p50, p99 = percentile(samples, 0.5), percentile(samples, 0.99)
            print(f"{what}: p50 {p50:.2f} s, p99 {p99:.2f} s, most {max(samples):.2f} s, of {len(samples)}")
    print(f"{len(verdict.violations)} promises broken" if verdict.violations else "0 lost, 0 twice")
    return 1 if verdict.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200.0, help="envelopes a second, of all devices together")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
