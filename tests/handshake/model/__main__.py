"""Search the whole model: exit 1 if anything is not as expected.

python -m tests.handshake.model [--json] [--markdown FILE]

Prints what holds against whom, and for each signed field and each check the attack that it stops. `--json` prints one
document. `--markdown` puts the tables into FILE, between the marks. Deterministic; within a minute on one core.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.handshake.model import report
from tests.handshake.model.report import Finding
from tests.handshake.model.story import tell
from tests.handshake.model.world import Setting

_PARTS = {"attackers": report.attackers, "fields": report.fields, "checks": report.checks}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.handshake.model", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    found = {part: list(_watched(part, search())) for part, search in _PARTS.items()}
    everything = [finding for part in found.values() for finding in part]
    met = all(finding.met for finding in everything)
    states = sum(finding.states for finding in everything)
    if options.json:
        _print(json.dumps({"met": met, "states": states, **{part: list(map(_row, found[part])) for part in found}}))
    else:
        for part, findings in found.items():
            _print(*(line for finding in findings for line in _told(part, finding)))
        _print(f"{'all as expected' if met else 'NOT AS EXPECTED'}: {states} states visited")
    if options.markdown is not None:
        put(options.markdown, report.markdown((found["attackers"], found["fields"], found["checks"])))
    sys.stderr.write(f"\r{time.perf_counter() - began:.1f} s{'':40}\n")
    return 0 if met else 1


def put(path: Path, tables: str) -> None:
    """Put `tables` between the marks in the document at `path`."""
    before, _, rest = path.read_text(encoding="utf-8").partition(report.BEGIN)
    _, _, after = rest.partition(report.END)
    path.write_text(f"{before}{report.BEGIN}\n{tables}{report.END}{after}", encoding="utf-8")


def _watched(part: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Say on standard error how far it is: on a terminal, at every finding."""
    for number, finding in enumerate(findings, start=1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{part}: {number}, {finding.subject[:40]:40}")
            sys.stderr.flush()
        yield finding
    if not sys.stderr.isatty():
        sys.stderr.write(f"{part}: done\n")


def _told(part: str, finding: Finding) -> Iterator[str]:
    verdict = "as expected" if finding.met else "NOT AS EXPECTED"
    yield f"{part.removesuffix('s')} {finding.subject}: {verdict}, {finding.states} states"
    if finding.against:
        yield f"  without it an attack by: {', '.join(finding.against)}"
    if finding.attack is not None:
        setting = finding.attack.setting
        yield f"  an attack ({setting.scenario.name.lower()}) given: {'; '.join(_given(setting)) or 'nothing'}"
        yield from (f"    {line}" for line in tell(finding.attack))
    yield ""


def _given(setting: Setting) -> list[str]:
    """What the attacker has and what is left out."""
    given = sorted(power.value for power in setting.powers)
    given += [f"not signed: {field}" for field in sorted(setting.dropped)]
    return given + sorted(check.value for check in setting.skipped)


def _row(finding: Finding) -> dict[str, object]:
    attack = finding.attack
    return {
        "subject": finding.subject,
        "met": finding.met,
        "states": finding.states,
        "against": list(finding.against),
        "given": [] if attack is None else _given(attack.setting),
        "broken": [] if attack is None else [what.name for what in attack.broken],
        "attack": [] if attack is None else tell(attack),
    }


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
