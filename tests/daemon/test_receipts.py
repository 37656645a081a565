"""Who is told of a late refusal, in bounded memory."""

import pytest

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.receipts import Submitters

NO = (ErrorCode.UNDELIVERABLE, "no")


def test_refusals_go_to_the_link_they_came_by() -> None:
    submitters = Submitters()
    submitters.note(1, [10, 11], [b"a", b"b"])
    submitters.note(2, [12], [b"c"])
    assert submitters.settle([10, 11, 12, 99], [(11, *NO), (12, *NO), (99, *NO)]) == {
        1: [(b"b", *NO)],
        2: [(b"c", *NO)],
    }


def test_what_was_settled_is_forgotten() -> None:
    submitters = Submitters()
    submitters.note(1, [10], [b"a"])
    assert submitters.settle([10], []) == {}
    assert submitters.settle([10], [(10, *NO)]) == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIPT_MEMORY", 2)
    submitters = Submitters()
    submitters.note(1, [1, 2, 3], [b"a", b"b", b"c"])
    assert submitters.settle([1, 2, 3], [(n, *NO) for n in (1, 2, 3)]) == {1: [(b"b", *NO), (b"c", *NO)]}
