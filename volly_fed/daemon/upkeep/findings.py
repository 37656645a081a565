"""What a check of this installation found: one line each, with verdict, reason and next step.

in: what checks noticed; out: Findings, their exit code, and plain values for --json.
Never: prints, or lets "could not tell" pass for "fine". `dns check` and `doctor` share it.
"""

import enum
from collections.abc import Iterable
from typing import Final

import attrs

from volly_fed.errors import Indeterminate, VollyFedError

_NOTE: Final = "note:"


class Verdict(enum.StrEnum):
    """How a finding stands, best first."""

    OK = "ok"
    INFO = "info"
    """Nothing is wrong; worth knowing all the same."""
    WARNING = "warning"
    """It works today."""
    UNKNOWN = "unknown"
    """Nobody could be asked."""
    FAILED = "failed"


# the contract of every command: 0 fine, 1 warnings, 2 failed or refused, 3 could not tell
_EXIT_CODES: Final = {Verdict.OK: 0, Verdict.INFO: 0, Verdict.WARNING: 1, Verdict.UNKNOWN: 3, Verdict.FAILED: 2}
_ORDER: Final = tuple(Verdict)


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What: an owner with its type, a zone, a server, a file."""
    verdict: Verdict
    reason: str = ""
    note: str = ""
    """The next step; "" where there is none to take."""

    @classmethod
    def of_error(cls, subject: str, error: VollyFedError) -> "Finding":
        """What `error` says of `subject`: unknown where nobody could be asked, else failed; its note kept apart."""
        reason, _, note = str(error).partition(_NOTE)
        verdict = Verdict.UNKNOWN if isinstance(error, Indeterminate) else Verdict.FAILED
        return cls(subject=subject, verdict=verdict, reason=reason.strip(), note=note.strip())


def exit_code(findings: Iterable[Finding]) -> int:
    """Of the worst verdict: 0 fine, 1 warnings, 2 failed, 3 could not tell (and nothing failed for certain)."""
    worst = max((finding.verdict for finding in findings), key=_ORDER.index, default=Verdict.OK)
    return _EXIT_CODES[worst]


def plain(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """The findings as plain values for --json."""
    return [
        {"subject": found.subject, "verdict": str(found.verdict), "reason": found.reason, "note": found.note}
        for found in findings
    ]
