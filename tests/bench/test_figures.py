"""Goals, percentiles, and what is made of them."""

import math
from array import array
from pathlib import Path

import pytest

from bench.relay.arrivals import Arrivals, Run
from bench.relay.envelopes import RUN_SHIFT, Press, Target, Tickets
from bench.relay.figure import Figure, Goal, Result, least, merged, most, number, percentile
from bench.relay.options import Options
from bench.relay.report import BEGIN, END, as_json, markdown, put_markdown, table
from volly_fed.names import DomainName
from volly_fed.wire import parse_message
from volly_fed.wire.messages import Batch


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (most(2), 2, True),
        (most(2), 2.1, False),
        (least(40), 40, True),
        (least(40), 39.9, False),
        (most(2), math.nan, False),
        (least(2), math.nan, False),
    ],
)
def test_goals(goal: Goal, value: float, met: bool) -> None:
    assert goal.met(value) is met


def test_percentiles_are_samples() -> None:
    samples = [float(value) for value in range(100, 0, -1)]
    assert [percentile(samples, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(("value", "text"), [(40_000, "40,000"), (0.8512, "0.851"), (12.34, "12.3"), (math.nan, "-")])
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_missed_goal_is_said_everywhere() -> None:
    figures = [Figure("busy", "rate", 12.0, "envelopes/s", least(40)), Figure("busy", "CPU", 3.0, "µs")]
    assert [figure.missed for figure in figures] == [True, False]
    assert "MISSED" in table(figures)
    assert "| busy | rate | 12 envelopes/s | ≥ 40 | MISSED |" in markdown(figures)
    assert [entry["missed"] for entry in as_json(figures, Options(quick=True))["figures"]] == [True, False]


def test_what_arrives_twice_is_counted_once() -> None:
    run = Run()
    run.note(array("Q", [1, 2]), array("Q", [10, 20]), 100)
    run.note(array("Q", [2, 3]), array("Q", [20, 30]), 200)
    assert (run.seen, run.twice, list(run.took)) == ({1, 2, 3}, 1, [90, 80, 180, 170])


async def test_runs_are_told_apart_in_one_delivery() -> None:
    domains = [DomainName("b.test"), DomainName("longer.test")]
    to = [Target(mailbox=bytes(32), domain=domain, capability=bytes(16)) for domain in domains]
    press = Press(to, 1024, Tickets(bytes(16)))
    frames = []
    for run, count in ((1, 3), (2, 2)):
        batch = parse_message(press.batch(bytes(8), 1, run << RUN_SHIFT, [0] * count))
        assert isinstance(batch, Batch)
        frames += batch.envelopes
    arrivals = Arrivals(bytes(16))
    arrivals.note(frames)
    assert [await arrivals.count(run) for run in (1, 2)] == [3, 2]
    assert len((await arrivals.take(2)).took) == 2
    assert await arrivals.count(2) == 0


def test_rounds_are_merged_into_medians() -> None:
    rounds = []
    for value in (3.0, 1.0, 2.0):
        result = Result("busy")
        result.add("p50", value, "ms", most(2))
        rounds.append(result)
    (figure,) = merged(rounds).figures
    assert (figure.value, figure.rounds, figure.missed) == (2.0, (3.0, 1.0, 2.0), False)


def test_the_table_replaces_the_former_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    figures = [Figure("busy", "rate", 12.0, "envelopes/s", least(40))]
    for _ in range(2):
        put_markdown(page, as_json(figures, Options(rounds=3)), figures)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert (text.count("| rate |"), text.count("old")) == (1, 0)
    assert "rounds: 3" in text


def test_a_page_without_a_place_for_it_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="no place"):
        put_markdown(page, as_json([], Options()), [])
    assert page.read_text() == "nothing here"
