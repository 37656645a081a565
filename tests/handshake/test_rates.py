"""Token buckets: what is saved up, what comes back, and what is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from volly_fed.handshake import Rates


def rates(*, size: int = 100) -> Rates[str]:
    return Rates(burst=3, per_second=0.5, size=size)


def test_a_burst_and_then_as_it_comes_back() -> None:
    some = rates()
    assert [some.take("a", 0) for _ in range(4)] == [True, True, True, False]
    assert some.wait("a", 0) == 2
    assert some.take("a", 1.9) is False
    assert some.take("a", 2) is True
    assert some.wait("a", 3) == 1


def test_keys_do_not_spend_each_others() -> None:
    some = rates()
    assert all(some.take("a", 0) for _ in range(3))
    assert some.wait("b", 0) == 0
    assert some.take("b", 0)


def test_a_full_bucket_is_forgotten_and_the_oldest_goes_when_there_is_no_room() -> None:
    some = rates()
    for name in "abcd":
        some.take(name, 0)
    assert len(some) == 4
    some.take("e", 2)  # all others are full again
    assert len(some) == 1
    some = rates(size=2)
    for name in "abc":
        some.take(name, 0)
    assert len(some) == 2
    assert some.level("a", 0) == 3
    assert some.level("b", 0) == 2


@given(st.lists(st.floats(0, 10), max_size=100))
def test_never_more_than_the_burst_and_what_has_come_back(pauses: list[float]) -> None:
    some, now, taken = rates(), 0.0, 0
    for pause in pauses:
        now += pause
        taken += some.take("a", now)
        assert taken <= 3 + now * 0.5 + 1e-6
        assert 0 <= some.level("a", now) <= 3
