"""The list of disagreements is exact: what is not in it is found, and so is what does not hold."""

from pathlib import Path

import pytest

from tests.discovery.opinion import Disagreement, Opinion, Subject, complaints, listed

SUBJECT = Subject("some-case", "fed.good.test A")
ROW = Disagreement(Opinion.INSECURE, Opinion.SECURE, "because")


def test_what_is_listed_and_holds_is_no_complaint() -> None:
    seen = Disagreement(Opinion.INSECURE, Opinion.SECURE, "what the judge said")
    assert complaints("delv", {SUBJECT: ROW}, {SUBJECT: seen}) == []
    assert complaints("delv", {}, {}) == []


def test_a_difference_that_is_not_listed_is_a_complaint() -> None:
    (complaint,) = complaints("delv", {}, {SUBJECT: ROW})
    assert complaint.startswith("not listed:\n[[disagreement]]\n")


def test_a_row_that_does_not_hold_is_a_complaint() -> None:
    (complaint,) = complaints("delv", {SUBJECT: ROW}, {})
    assert complaint.startswith("does not hold:\n")


def test_another_verdict_than_the_listed_one_is_a_complaint() -> None:
    changed = Disagreement(Opinion.BOGUS, Opinion.SECURE, "because")
    assert len(complaints("delv", {SUBJECT: ROW}, {SUBJECT: changed})) == 2


def test_a_complaint_about_a_difference_is_a_row_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.toml"
    path.write_text(ROW.row(SUBJECT, "delv"))
    assert listed("delv", path) == {SUBJECT: ROW}
    assert listed("delv", path)[SUBJECT].why == "because"
    assert listed("unbound", path) == {}


@pytest.mark.parametrize("text", [ROW.row(SUBJECT, "delv") * 2, ROW.row(SUBJECT, "delv").replace('"because"', '""')])
def test_a_row_twice_or_without_a_reason_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.toml"
    path.write_text(text)
    with pytest.raises(AssertionError):
        listed("delv", path)
