"""Scenarios are registered once, have a story, and their verdicts are short."""

import pytest

from interop.scenario import Failed, all_scenarios, check, equal, scenario
from interop.stage import Stage


async def nothing(stage: Stage) -> None:
    """Nothing happens."""


async def untold(stage: Stage) -> None:
    pass


def test_every_scenario_tells_its_story() -> None:
    scenarios = all_scenarios()
    assert len({one.name for one in scenarios}) == len(scenarios) > 50
    for one in scenarios:
        assert one.story.endswith("."), one.name


@pytest.mark.parametrize("name", ["one", "A/b", "a/b c", "envelopes/one-each-way"])
def test_names(name: str) -> None:
    all_scenarios()
    with pytest.raises(ValueError, match="named once"):
        scenario(name, servers=1)(nothing)


def test_what_is_said_of_it() -> None:
    for register in (
        scenario("t/servers", servers=3),
        scenario("t/needs", servers=1, needs=("luck",)),
        scenario("t/covers", servers=1, covers=("Relay 1",)),
    ):
        with pytest.raises(ValueError, match="1 or 2 servers"):
            register(nothing)
    with pytest.raises(ValueError, match="docstring"):
        scenario("t/untold", servers=1)(untold)


def test_verdicts() -> None:
    check(1, "it is there")
    with pytest.raises(Failed, match="expected: it is there"):
        check([], "it is there")
    equal(b"x", b"x", "the byte")
    with pytest.raises(Failed, match=r"the frames: expected \[<70000 bytes, SHA-256 \w{8}…>\], and it is \[\]"):
        equal([], [bytes(70000)], "the frames")
