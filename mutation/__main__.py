"""python -m mutation: makes the mutants, plays the vectors against each, and compares what survives with the list.

A run that was cut short goes on where it was, as long as nothing has changed that it depends on.
"""

import argparse
import hashlib
import json
import random
import sys
import time
from pathlib import Path

import attrs

from mutation.judge import FILES, judge, modules
from mutation.operators import KINDS, Mutant, mutants
from mutation.report import complaints, excused, table
from mutation.scenarios import play
from tests.vectors import SPEC

ROOT = Path(__file__).parents[1]
VERDICTS = ROOT / "build" / "mutation.jsonl"


def main() -> int:
    """The exit code: 1 where the list and the survivors differ, 2 where the vectors fail without a change."""
    asked = _arguments()
    began = time.monotonic()
    everything = [mutant for module in modules() for mutant in mutants(module)]
    chosen = [m for m in everything if asked.name in m.name and m.kind in (asked.kind or KINDS)]
    if asked.listed:
        chosen = [m for m in chosen if m.name in excused()]
    if asked.sample:
        chosen = sorted(random.Random(asked.seed).sample(chosen, min(asked.sample, len(chosen))), key=everything.index)
    for mutant in {mutant.module.rpartition(".")[0]: mutant for mutant in everything}.values():
        [(_, noticed)] = judge([attrs.evolve(mutant, put=lambda _: None)], workers=1)
        if noticed:
            print(f"error: {noticed} fails without a change")
            return 2
    verdicts = _judged(chosen, asked.workers)
    if asked.scenarios:
        for mutant in chosen:
            if not verdicts[mutant.name]:
                print(f"{mutant.name}: {play(mutant) or 'no scenario notices it'}", flush=True)
    wrong = list(complaints(chosen, verdicts, {mutant.name for mutant in everything}))
    print("\n".join([*table(chosen, verdicts), "", *wrong]))
    print(f"{len(chosen)} of {len(everything)} mutants in {time.monotonic() - began:.0f} s: {len(wrong)} complaints")
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only mutants whose name has this in it")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only mutants of this kind")
    parser.add_argument("--listed", action="store_true", help="only those that are listed as survivors")
    parser.add_argument(
        "--scenarios", action="store_true", help="play interop/ against each survivor too; that is slow"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them")
    parser.add_argument("--seed", type=int, default=1, help="which N")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _judged(chosen: list[Mutant], workers: int) -> dict[str, str]:
    """Name -> the vector that noticed it. What an earlier run has found out about the same files is taken from it."""
    state = _state()
    verdicts: dict[str, str] = {}
    if VERDICTS.exists():
        lines = [json.loads(line) for line in VERDICTS.read_text(encoding="utf-8").splitlines()]
        verdicts = {name: noticed for of, name, noticed in lines if of == state}
    VERDICTS.parent.mkdir(exist_ok=True)
    with VERDICTS.open("a" if verdicts else "w", encoding="utf-8") as log:
        for mutant, noticed in judge((m for m in chosen if m.name not in verdicts), workers):
            verdicts[mutant.name] = noticed
            print(json.dumps([state, mutant.name, noticed]), file=log, flush=True)
            if not noticed and sys.stderr.isatty():
                print(f"\r{len(verdicts):5} {mutant.name[:110]:110}", end="", file=sys.stderr)
    return verdicts


def _state() -> str:
    """All that a verdict depends on, as a digest."""
    code = [path for folder in ("volly_fed", "mutation", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    code = [path for path in code if path.name not in ("__main__.py", "report.py")]  # they judge nothing
    digest = hashlib.sha256()
    for path in [*code, *(SPEC / "vectors" / f"{name}.json" for name in FILES)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
