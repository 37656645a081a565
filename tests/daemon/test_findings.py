import pytest

from volly_fed.daemon.upkeep.findings import Finding, Verdict, exit_code, plain
from volly_fed.errors import Bogus, Indeterminate, LocalError, VollyFedError


def finding(verdict: Verdict) -> Finding:
    return Finding(subject="x", verdict=verdict)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([Verdict.OK, Verdict.INFO], 0),
        ([Verdict.OK, Verdict.WARNING, Verdict.INFO], 1),
        ([Verdict.UNKNOWN, Verdict.WARNING], 3),
        ([Verdict.UNKNOWN, Verdict.FAILED, Verdict.OK], 2),
    ],
)
def test_the_worst_verdict_is_the_exit_code(verdicts: list[Verdict], code: int) -> None:
    assert exit_code(map(finding, verdicts)) == code


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Bogus("bad\nnote: sign it"), Verdict.FAILED),
        (LocalError("bad; note: sign it"), Verdict.FAILED),
        (Indeterminate("bad\nnote: sign it"), Verdict.UNKNOWN),
    ],
)
def test_an_error_keeps_its_note(error: VollyFedError, verdict: Verdict) -> None:
    found = Finding.of_error("zone", error)
    assert (found.subject, found.verdict, found.note) == ("zone", verdict, "sign it")
    assert found.reason.rstrip(";") == "bad"


def test_as_plain_values() -> None:
    found = Finding(subject="x", verdict=Verdict.WARNING, reason="y", note="z")
    assert plain([found]) == [{"subject": "x", "verdict": "warning", "reason": "y", "note": "z"}]
