"""The timetable of a test of chaos."""

from itertools import combinations

import pytest

from volly_fed import limits
from volly_fed.testing.chaos_plan import CLOCK_WRONG, Fault, Kind, Parts, make_plan

PARTS = Parts({f"{letter}.test": (f"edge-1.{letter}.test", f"edge-2.{letter}.test") for letter in "abcde"})
SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_a_plan(seed: int) -> None:
    plan = make_plan(seed, PARTS, seconds=180)
    assert plan == make_plan(seed, PARTS, seconds=180)
    assert plan != make_plan(seed + 1, PARTS, seconds=180)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_over_in_time_and_in_order(seed: int) -> None:
    plan = make_plan(seed, PARTS, seconds=180)
    assert all(0 < fault.at <= fault.until < 180 for fault in plan)
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_broken_twice_at_once(seed: int) -> None:
    own = {Kind.CLOCK, Kind.DISK, Kind.RESOLVER}
    for one, other in combinations(make_plan(seed, PARTS, seconds=600), 2):
        if set(one.subjects) & set(other.subjects) and not (
            one.kind is not other.kind and own & {one.kind, other.kind}
        ):
            assert one.until < other.at, (str(one), str(other))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_comes_within_three_minutes(seed: int) -> None:
    assert {fault.kind for fault in make_plan(seed, PARTS, seconds=180, every=2.0)} == set(Kind)


@pytest.mark.parametrize("seed", SEEDS)
def test_subjects_exist_and_fit_their_kind(seed: int) -> None:
    links = {*PARTS.between(PARTS.domains, PARTS.domains), *PARTS.edge_links}
    for fault in make_plan(seed, PARTS, seconds=600):
        assert fault.subjects
        known = links if is_of_links(fault) else set(PARTS.processes)
        assert set(fault.subjects) <= known, str(fault)
        assert not any(link.split(">")[0] == link.split(">")[-1] for link in fault.subjects if ">" in link)


def is_of_links(fault: Fault) -> bool:
    return fault.kind not in {Kind.KILL, Kind.FREEZE, Kind.CLOCK, Kind.DISK, Kind.RESOLVER}


def test_two_clocks_differ_by_less_than_what_is_tolerated() -> None:
    assert 2 * CLOCK_WRONG < limits.CLOCK_SKEW
    faults = [fault for seed in SEEDS for fault in make_plan(seed, PARTS, seconds=600) if fault.kind is Kind.CLOCK]
    assert all(0 < abs(fault.strength) <= CLOCK_WRONG for fault in faults)
    assert {fault.strength > 0 for fault in faults} == {True, False}


def test_a_partition_parts_some_from_all_others() -> None:
    faults = [fault for seed in SEEDS for fault in make_plan(seed, PARTS, seconds=600) if fault.kind is Kind.PARTITION]
    for fault in faults:
        pairs = {frozenset(link.split(">")) for link in fault.subjects}
        sides = [{other for pair in pairs if own in pair for other in pair - {own}} for own in PARTS.domains]
        assert all(sides), "everybody is on one side"
        assert len(fault.subjects) == 2 * len(pairs) in {8, 12}


def test_two_servers_are_enough() -> None:
    parts = Parts({"a.test": ("edge-1.a.test",), "b.test": ("edge-1.b.test",)})
    assert make_plan(1, parts, seconds=600)
