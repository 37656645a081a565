"""How many connections are taken up: of one address, of all, and of those that proved themselves."""

from volly_fed import limits
from volly_fed.daemon.call_rate import CallRate

HONEST = "192.0.2.1"
IN_ALL = "too many connections in all"
FROM_ONE = "too many connections from one address"


def flood(rate: CallRate, now: float, sources: int, each: int) -> int:
    """How many connections are taken up of those that come from everywhere."""
    return sum(not rate.objection(f"10.0.{n // 250}.{n % 250}", now) for _ in range(each) for n in range(sources))


def test_one_address_has_so_many_a_minute() -> None:
    rate = CallRate(per_minute=30)
    answers = [rate.objection(HONEST, 0) for _ in range(31)]
    assert answers == [""] * 30 + [FROM_ONE]
    assert rate.objection("192.0.2.2", 0) == ""
    assert rate.objection(HONEST, 1.9) == FROM_ONE
    assert rate.objection(HONEST, 2) == ""


def test_what_few_addresses_do_leaves_half_to_those_that_have_not_called() -> None:
    rate = CallRate()
    for second in range(60):
        flood(rate, second, sources=20, each=10)
        assert rate.objection(f"192.0.2.{second}", second) == ""


def test_the_work_for_all_is_bounded() -> None:
    rate = CallRate()
    taken = sum(flood(rate, second, sources=3000, each=1) for second in range(10))
    assert taken <= limits.CONNECTIONS_PER_SECOND * (10 + 2)
    assert rate.objection("192.0.2.77", 9) == IN_ALL


def test_where_somebody_proved_himself_a_flood_changes_nothing() -> None:
    rate = CallRate(per_minute=30)
    rate.proved(HONEST)
    for second in range(10):
        flood(rate, second, sources=3000, each=1)
        assert rate.objection(HONEST, second) == ""
    assert [rate.objection(HONEST, 9) for _ in range(60)][-1] == FROM_ONE  # but for its own limit


def test_memory_is_bounded() -> None:
    rate = CallRate()
    for n in range(limits.CALLERS + 10):
        rate.proved(f"10.{n // 62500}.{n // 250 % 250}.{n % 250}")
    assert len(rate._proved) == limits.CALLERS
    assert not rate.knows("10.0.0.0")
    assert rate._sources.size == limits.CALLERS
