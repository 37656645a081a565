"""The order of targets: priority first, then those that have not failed lately, then as discovery drew them."""

from volly_fed import limits
from volly_fed.daemon.targets import Failures
from volly_fed.discovery.endpoint import Target

A1, A2, A3 = (Target(host=f"{name}.test", port=1, priority=10) for name in ("a1", "a2", "a3"))
B1 = Target(host="b1.test", port=1, priority=20)
DRAWN = [A2, A1, A3, B1]


def test_without_failures_as_drawn() -> None:
    assert Failures().in_order(DRAWN, 0) == DRAWN


def test_who_failed_comes_last_of_its_priority_for_a_while() -> None:
    failures = Failures()
    failures.note(A2, 100)
    assert failures.in_order(DRAWN, 101) == [A1, A3, A2, B1]
    assert failures.in_order(DRAWN, 100 + limits.TARGET_FAILED) == DRAWN
    failures.note(A2, 200)
    failures.forget(A2)
    assert failures.in_order(DRAWN, 201) == DRAWN


def test_a_port_is_not_another() -> None:
    failures = Failures()
    failures.note(Target(host=A2.host, port=2), 0)
    assert failures.in_order(DRAWN, 1) == DRAWN


def test_where_all_have_failed_all_are_tried() -> None:
    failures = Failures()
    for target in DRAWN:
        failures.note(target, 0)
    assert failures.in_order(DRAWN, 1) == DRAWN


def test_memory_is_bounded() -> None:
    failures = Failures()
    for port in range(1, limits.FAILED_TARGETS + 10):
        failures.note(Target(host="x.test", port=port), port)
    assert len(failures._last) == limits.FAILED_TARGETS
