"""Who is told of a late refusal, in bounded memory."""

import pytest

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.receipts import Submitters

NO = (ErrorCode.UNDELIVERABLE, "no")


def test_refusals_go_to_the_link_they_came_by() -> None:
    submitters = Submitters()
    submitters.note(1, range(10, 12), [b"a", b"b"])
    submitters.note(2, range(12, 13), [b"c"])
    submitters.note(1, range(20, 22), [b"d", b"e"])
    assert submitters.notices([(n, *NO) for n in (9, 11, 12, 13, 19, 20, 22, 99)]) == {
        1: [(b"b", *NO), (b"d", *NO)],
        2: [(b"c", *NO)],
    }


def test_nobody_is_told_of_what_nobody_noted() -> None:
    assert Submitters().notices([(1, *NO)]) == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIPT_MEMORY", 3)
    submitters = Submitters()
    submitters.note(1, range(1, 3), [b"a", b"b"])
    submitters.note(1, range(3, 5), [b"c", b"d"])
    assert submitters.notices([(n, *NO) for n in (1, 2, 3, 4)]) == {1: [(b"c", *NO), (b"d", *NO)]}
