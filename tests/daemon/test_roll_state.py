"""A roll of the TLS key: what is known of it from look to look, and the reasons to wait."""

import pytest

from tests.daemon.roll_world import NEW, NOW, TTL
from volly_fed.daemon.upkeep.roll import Look, Phase, Roll, Shown, observe


def shown(*shows: bool | None, ttl: int = TTL) -> tuple[Shown, ...]:
    return tuple(
        Shown(server=f"ns{number}.test", shows=one, ttl=None if one is None else ttl, reason="told so")
        for number, one in enumerate(shows)
    )


# --- the state, from look to look ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("looks", "since"),
    [
        ([(0, (True, True))], 0),
        ([(0, (True, False))], None),
        ([(0, (True, None))], None),
        ([(0, ())], None),
        ([(0, (True, True)), (100, (True, True))], 0),
        ([(0, (True, True)), (100, (True, False)), (200, (True, True))], 200),
        ([(0, (True, True)), (100, (True, None)), (200, (True, True))], 0),
        ([(0, (True, True)), (100, (None, None))], 0),
        ([(0, (True, None)), (100, (None, True)), (200, (True, True))], 200),
        ([(500, (True, True)), (100, (True, True))], 100),
        ([(500, (True, True)), (100, (True, None))], None),
    ],
)
def test_since_when_all_servers_have_shown_it(
    looks: list[tuple[int, tuple[bool | None, ...]]], since: int | None
) -> None:
    state = Roll(new=NEW)
    for at, shows in looks:
        state = observe(state, shown(*shows), NOW + at)
    assert state.seen_since == (None if since is None else NOW + since)


def test_the_longest_ttl_seen_counts_also_that_of_the_records_before() -> None:
    state = observe(Roll(new=NEW), shown(False, ttl=900), NOW)
    state = observe(state, shown(True, ttl=60), NOW)
    assert (state.ttl, state.ready_at) == (900, NOW + 1800)


def look(*shows: bool | None, since: float | None = NOW, validated: bool | None = True, new: bytes = NEW) -> Look:
    state = Roll(new=new, ttl=TTL, seen_since=since, phase=Phase.WAITING)
    told = Shown(server="validating resolver", shows=validated, reason="told so")
    return Look(roll=state, servers=shown(*shows), validated=told)


@pytest.mark.parametrize("emergency", [False, True])
@pytest.mark.parametrize(
    ("seen", "after", "says"),
    [
        (look(True, True), 599, "1 s left"),
        (look(True, True, since=None), 9999, "not all authoritative servers have been seen"),
        (look(True, False), 9999, "ns1.test: told so"),
        (look(True, True, validated=False), 9999, "validating resolver: told so"),
        (look(None, None), 9999, "no authoritative server is known to show"),
        (look(), 9999, "no authoritative server is known to show"),
    ],
)
def test_reasons_to_wait_that_no_emergency_overrules(seen: Look, after: int, says: str, emergency: bool) -> None:
    assert any(says in objection for objection in seen.objections(NOW + after, emergency=emergency))


def test_twice_the_ttl_is_enough() -> None:
    assert look(True, True).objections(NOW + 2 * TTL) == []


def test_a_silent_server_is_waited_for_except_in_an_emergency() -> None:
    seen = look(True, None)
    assert seen.objections(NOW + 9999) == ["ns1.test: told so"]
    assert seen.objections(NOW + 9999, emergency=True) == []
