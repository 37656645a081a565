"""What libFuzzer says on standard error, as figures and findings.

in: its lines; out: a Result. Never: takes a run that told no figures for one that found nothing.
"""

import re
from pathlib import Path

import attrs

_STATUS = re.compile(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+)")
_STATISTIC = re.compile(r"^stat::(\w+):\s+(\d+)")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")
_ERROR = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Warning|Interrupt|Message|Refused|Name|Exit)\w*): ?(.*)")


@attrs.frozen(kw_only=True)
class Finding:
    """An input that does what must not be done; `file` has it."""

    target: str
    file: Path
    kind: str
    """crash, timeout or oom."""
    error: str

    @property
    def reproduce(self) -> str:
        """The command that shows it again."""
        return f"python -m fuzz {self.target} --replay {self.file}"


@attrs.frozen(kw_only=True)
class Result:
    """What one run of a target came to."""

    target: str
    executions: int
    seconds: float
    coverage: int
    """Edges of volly_fed's byte code that were reached."""
    features: int
    peak_megabytes: int
    findings: tuple[Finding, ...] = ()
    failure: str = ""
    """Why there are no figures, if there are none."""

    @property
    def per_second(self) -> float:
        """Executions, over the whole run."""
        return self.executions / self.seconds if self.seconds else 0.0


def read(target: str, text: str, *, code: int, seconds: float) -> Result:
    """The result of a run that has ended with `code` and said `text`."""
    statuses = [found for line in text.splitlines() if (found := _STATUS.match(line))]
    statistics = {found[1]: int(found[2]) for line in text.splitlines() if (found := _STATISTIC.match(line))}
    count, coverage, features = map(int, statuses[-1].groups()) if statuses else (0, 0, 0)
    findings = _findings(target, text)
    failure = ""
    if not statuses or (code and not findings):
        failure = f"exit code {code}: " + " / ".join(text.splitlines()[-3:])
    return Result(
        target=target,
        executions=max(count, statistics.get("number_of_executed_units", 0)),
        seconds=seconds,
        coverage=coverage,
        features=features,
        peak_megabytes=statistics.get("peak_rss_mb", 0),
        findings=findings,
        failure=failure,
    )


def _findings(target: str, text: str) -> tuple[Finding, ...]:
    errors = [line for line in text.splitlines() if _ERROR.match(line)]
    files = dict.fromkeys(Path(found[1]) for found in _ARTIFACT.finditer(text))
    return tuple(
        Finding(
            target=target, file=file, kind=file.name.partition("-")[0], error=errors[0] if errors else "no exception"
        )
        for file in files
        if not file.name.startswith("slow-unit")
    )
