"""How much one peer may hand over per second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.relay.rate import RateLimit


def test_a_second_is_free_and_what_is_more_is_waited_for() -> None:
    rate = RateLimit(100, 10_000, now=0.0)
    assert rate.take(100, 0, 0.0) == 0
    assert rate.take(50, 0, 0.0) == 0.5
    assert rate.wait(0.25) == 0.25
    assert rate.wait(0.5) == 0
    assert rate.take(1, 20_000, 10.0) == 1.0  # bytes count too; the bucket has held a second's worth, not nine


@pytest.mark.parametrize(("envelopes", "size", "windows"), [(1, 1, (1, 1)), (1e6, 1e9, (1024, 1 << 20))])
def test_no_more_than_a_second_is_granted_at_once(envelopes: float, size: float, windows: tuple[int, int]) -> None:
    rate = RateLimit(envelopes, size, now=0.0)
    assert (rate.window, rate.window_bytes) == windows
    assert windows[0] <= limits.WINDOW_ENVELOPES


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 3)), max_size=50))
def test_who_waits_when_told_never_exceeds_the_rate(steps: list[tuple[int, float]]) -> None:
    rate, now, total = RateLimit(100, 1e9, now=0.0), 0.0, 0
    for count, pause in steps:
        now += pause + rate.wait(now + pause)
        rate.take(count, 0, now)
        total += count
        assert total <= 100 * (now + 1) + 300 + 1e-6
