"""Runs the targets, --jobs of them at a time: `python -m fuzz [TARGET …] [--seconds N | --runs N]`.

in: names, how long, a corpus; out: figures on standard output, and as JSON; findings as files in --findings.
Exit code 0: nothing found, or there is no atheris for this interpreter, which is said; 1: a finding; 3: could not tell.
Never: writes into --corpus, except with --minimise.
"""

import argparse
import importlib.util
import json
import platform
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs

from fuzz import NAMES, corpus, load
from fuzz.report import Result, read

SECONDS = 30
TIMEOUT = 20
"""Of one execution, on a busy machine: the slowest take a tenth of a second on a quiet one."""
MEGABYTES = 1024
FINDINGS = Path("build/fuzz")
_GRACE = 120  # beyond what was asked for: importing, the corpus, the last execution


def main() -> int:
    """The exit code."""
    options = _options()
    if options.replay is not None:
        for name in options.targets:
            load(name).run(options.replay.read_bytes())
        print(f"{options.replay}: nothing wrong")
        return 0
    if options.minimise:
        for name in options.targets:
            print(corpus.minimise(name, load(name), options.corpus / name, options.findings / "corpus" / name))
        return 0
    if importlib.util.find_spec("atheris") is None:
        return _no_atheris()
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:  # each only waits for a process
        results = list(pool.map(partial(_run, options=options), options.targets))
    _print(results)
    if options.json is not None:
        options.json.write_text(json.dumps(_document(results, options.seed, time.monotonic() - began), indent=2) + "\n")
    if any(result.findings for result in results):
        return 1
    return 3 if any(result.failure for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Coverage-guided fuzzing of what comes in.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; default: all")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=int, default=SECONDS, help="for all targets together (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time; each gets so much longer")
    length.add_argument("--runs", type=int, help="executions of each target, instead of a time")
    parser.add_argument("--corpus", type=Path, default=Path("fuzz/corpus"), help="inputs to begin with, per target")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help="where findings and new inputs go")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 31))
    parser.add_argument("--json", type=Path, help="write a summary there")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input, without atheris")
    parser.add_argument("--minimise", action="store_true", help="put into --corpus what is worth keeping")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in NAMES]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    options.targets = options.targets or [*NAMES]
    return options


def _no_atheris() -> int:
    """Said aloud: what was not done must not look like what found nothing."""
    where = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform} {platform.machine()}"
    if corpus.has_wheel():
        print(f"error: atheris is not installed, though there is a wheel for {where}", file=sys.stderr)
        print("note: make fuzz, or pip install '.[test,fuzz]'", file=sys.stderr)
        return 3
    print(f"SKIPPED: NOTHING WAS FUZZED. There is no wheel of atheris for {where}.")
    return 0


def _run(name: str, options: argparse.Namespace) -> Result:
    known, new, artifacts = options.corpus / name, options.findings / "corpus" / name, options.findings / name
    for folder in (known, new, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    share = max(1, options.seconds * options.jobs // len(options.targets))
    length = f"-max_total_time={share}" if options.runs is None else f"-runs={options.runs}"
    arguments = [length, f"-seed={options.seed}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEGABYTES}"]
    arguments += [f"-artifact_prefix={artifacts}/", "-print_final_stats=1", f"-max_len={load(name).longest}"]
    began = time.monotonic()
    command = [sys.executable, "-m", "fuzz.child", name, *arguments, str(new), str(known)]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,  # where atheris shows the exception
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=share + _GRACE if options.runs is None else None,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        return attrs.evolve(
            read(name, said, code=0, seconds=time.monotonic() - began), failure="it does not come to an end"
        )
    result = read(name, done.stdout, code=done.returncode, seconds=time.monotonic() - began)
    (artifacts / "last.log").write_text(done.stdout)
    return result


def _print(results: list[Result]) -> None:
    print(f"{'target':<12}{'executions':>12}{'coverage':>10}{'features':>10}{'exec/s':>9}{'MB':>6}{'findings':>10}")
    for result in results:
        print(
            f"{result.target:<12}{result.executions:>12}{result.coverage:>10}{result.features:>10}"
            f"{result.per_second:>9.0f}{result.peak_megabytes:>6}{len(result.findings):>10}"
        )
    print(f"{'together':<12}{sum(result.executions for result in results):>12}")
    for result in results:
        for finding in result.findings:
            print(f"FINDING {finding.kind} in {finding.target}: {finding.error}\n    {finding.reproduce}")
        if result.failure:
            print(f"NO RESULT of {result.target}: {result.failure}")


def _document(results: list[Result], seed: int, seconds: float) -> dict[str, object]:
    def plain(_: type, __: object, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    rows = [
        attrs.asdict(result, value_serializer=lambda *given: plain(*given))
        | {"per_second": round(result.per_second, 1)}
        for result in results
    ]
    return {"seed": seed, "python": platform.python_version(), "seconds": round(seconds, 1), "targets": rows}


if __name__ == "__main__":
    sys.exit(main())
