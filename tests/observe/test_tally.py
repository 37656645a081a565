"""What a process counts: plain numbers, and how they are sorted."""

from hypothesis import given
from hypothesis import strategies as st

from volly_fed.codepoints import ErrorCode
from volly_fed.observe.tally import CLASSES, Histogram, Tally


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 9))))
def test_a_histogram_has_everything_once_and_in_its_place(times: list[tuple[float, int]]) -> None:
    histogram = Histogram((0.5, 1.0, 10.0))
    for seconds, count in times:
        histogram.note(seconds, count)
    assert histogram.count == sum(count for _, count in times)
    assert histogram.counts[0] == sum(count for seconds, count in times if seconds <= 0.5)
    assert histogram.counts[-1] == sum(count for seconds, count in times if seconds > 10)


@given(st.lists(st.sampled_from(sorted(CLASSES))))
def test_what_is_accepted_is_counted_by_class(urgencies: list[int]) -> None:
    tally = Tally()
    tally.accept("edge", urgencies)
    assert {name: tally.accepted["edge", name] for name in CLASSES.values()} == {
        name: urgencies.count(urgency) for urgency, name in CLASSES.items()
    }
    assert sum(tally.accepted.values()) == len(urgencies)


def test_a_refusal_has_its_reason_and_unreadable_ones_an_unknown_class() -> None:
    tally = Tally()
    tally.refuse("peer", [0, 1, 1, -1], ErrorCode.POLICY)
    assert dict(tally.refused) == {
        ("peer", "ring", "POLICY"): 1,
        ("peer", "signal", "POLICY"): 2,
        ("peer", "unknown", "POLICY"): 1,
    }


def test_a_delivery_is_counted_and_timed_where_its_time_is_known() -> None:
    tally = Tally()
    tally.deliver(1, 0.02, 5)
    tally.deliver(1, None, 2)
    tally.deliver(-1, None, 3)
    assert (tally.delivered["peer", "signal"], tally.delivered["peer", "unknown"]) == (7, 3)
    assert tally.waited["signal"].count == 5
    assert tally.waited["signal"].total == 0.1


def test_what_is_bound_to_come_begins_at_nothing() -> None:
    tally = Tally()
    assert tally.handshakes["peer", "dialler", "IDENTITY_MISMATCH"] == 0
    assert ("peer", "acceptor", "KEY_MISMATCH") in tally.handshakes
    assert set(tally.delivered) == {("peer", name) for name in CLASSES.values()} | {("device", "unknown")}
