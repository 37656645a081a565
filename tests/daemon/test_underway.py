"""When what is on its way was accepted: by batch, whatever the order in which it is settled."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits_http
from volly_fed.daemon.store.rows import OutboundRow
from volly_fed.daemon.underway import NO_CLASS, Underway


def rows(*urgencies: int) -> list[OutboundRow]:
    return [OutboundRow(b"", 0, urgency, b"") for urgency in urgencies]


batches = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 2), min_size=1, max_size=8)), max_size=12)


@given(batches, st.randoms(use_true_random=False))
def test_every_envelope_is_found_once_with_its_class_and_time(
    given_: list[tuple[int, list[int]]], random: Random
) -> None:
    underway, known, key = Underway(), {}, 1
    for now, (gap, urgencies) in enumerate(given_):
        key += gap  # other peers' rows lie between
        underway.begin(range(key, key + len(urgencies)), rows(*urgencies), float(now))
        for urgency in urgencies:
            known[key] = (urgency, float(now))
            key += 1
    strangers = [number for number in range(1, key + 5) if number not in known]
    order = [*known, *strangers]
    random.shuffle(order)
    while order:
        some, order = order[:5], order[5:]
        found: Counter[tuple[int, float | None]] = Counter()
        for urgency, seconds, count in underway.end(some, 100.0):
            found[urgency, None if seconds is None else 100.0 - seconds] += count
        assert found == Counter(known.get(number, (NO_CLASS, None)) for number in some)
    assert not underway._runs, "nothing is remembered of what is settled"


def test_the_last_time_is_remembered_and_forgetting_does_not_change_it() -> None:
    underway = Underway()
    assert underway.last is None
    underway.begin(range(1, 4), rows(1, 1, 1), 10.0)
    assert list(underway.end([1], 10.5)) == [(1, 0.5, 1)]
    underway.forget({2, 3, 99})
    assert underway.last == 0.5
    assert underway._runs == []


def test_what_an_earlier_process_accepted_has_a_class_and_no_time() -> None:
    underway = Underway()
    underway.begin(range(10, 12), rows(0, 0), 1.0)
    underway.found([3, 4, 7], 2)
    underway.found([10, 11], 0)  # read back from the disk: known already
    assert [underway.class_of(key) for key in (3, 7, 8, 10)] == [2, 2, NO_CLASS, 0]
    assert sorted(underway.end([3, 4, 7, 10, 11], 2.0)) == [(0, 1.0, 2), (2, None, 1), (2, None, 2)]


def test_memory_is_bounded() -> None:
    underway = Underway()
    for key in range(limits_http.TRACKED_BATCHES + 10):
        underway.begin(range(key, key + 1), rows(1), 0.0)
    assert len(underway._runs) == limits_http.TRACKED_BATCHES
    beyond = limits_http.TRACKED_BATCHES + 5
    assert list(underway.end([1, beyond], 1.0)) == [(1, 1.0, 1), (NO_CLASS, None, 1)]
