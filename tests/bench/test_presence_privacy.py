"""The attacker's bench: its attacks succeed where they must, and see what the machines would give away if they did."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import attrs
import numpy as np
import pytest

from bench.presence_privacy import __main__ as bench
from bench.presence_privacy import moments, names, numbers, plain
from bench.presence_privacy.chance import Estimate, correlation, share
from bench.presence_privacy.report import BEGIN, END, Figure, Goal, as_json, markdown, put_markdown, table
from bench.presence_privacy.seen import Epoch, Peer, play
from bench.presence_privacy.world import World, make_world
from volly_fed.crypto.secret import Secret
from volly_fed.presence import Pace, bounds
from volly_fed.presence.dummies import Dummies
from volly_fed.presence.placement import Placement
from volly_fed.presence.shown import Shown

SMALL = attrs.evolve(bench.QUICK, users=120, epochs=range(18, 21), filters=60, crowds=3)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SMALL.seed, SMALL.users, SMALL.epochs)


def day(world: World, pace: Pace = Pace.PROMPT) -> Peer:
    return play(world, pace, np.random.default_rng(7))


def nothing(estimate: Estimate) -> bool:
    return Figure("", "", estimate, Goal.NOTHING, bound=1).met


def test_filters_of_names_give_everything_away(world: World) -> None:
    found = plain.attack(world)
    assert (found.online.value, found.joiners.value, found.linked.value) == (1, 1, 1)
    assert found.false.value < 0.01
    assert found.population.value > 0.99


def test_ours_give_no_names_away(world: World) -> None:
    peer = day(world)
    assert all(nothing(found) for found in names.dictionary(world, peer))
    assert nothing(names.named(world, peer, np.random.default_rng(1)))


def test_contacts_are_known(world: World) -> None:
    there, dated = names.contacts(world, day(world, Pace.TICK))
    assert there.value > 0.99
    assert dated.value == 1


def test_tags_made_of_names_are_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unkeyed(world: World, epoch: int) -> list[bytes]:
        return [names.guesses(name, epoch)[0] for name in world.names]

    monkeypatch.setattr(World, "tags", unkeyed)
    peer = day(world)
    online, others = names.dictionary(world, peer)
    assert not nothing(online)
    assert nothing(others)
    named = names.named(world, peer, np.random.default_rng(1))
    assert named.value > 0.45


def test_placement_without_a_key_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one tag for all epochs: then a delta's bits say who comes again."""
    monkeypatch.setattr(World, "tags", lambda world, _: [names.guesses(name, 0)[0] for name in world.names])
    monkeypatch.setattr(Placement, "encrypt", lambda _, tags: b"".join(tags))
    world = make_world(1, 200, range(12, 42))
    by_bits, _ = names.linked(world, day(world), None, np.random.default_rng(1))
    assert not nothing(by_bits)
    assert by_bits.value > 0.4


def test_a_filter_without_dummies_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(5)
    assert nothing(numbers.popcounts(60, chance))

    def none(seed: Secret, _: int, *, recent: int) -> Dummies:
        return Dummies(seed, 0, recent=recent)

    monkeypatch.setattr("volly_fed.presence.shown.Dummies", none)
    assert numbers.popcounts(60, chance).low > 0.99


def test_dummies_that_leave_oldest_first_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those from the beginning first: visits are then users' alone."""
    monkeypatch.setattr(bounds, "OLD_SHARE", 1)
    world, other = (make_world(seed, 300, range(18, 22)) for seed in (1, 2))
    peer, known = (play(each, Pace.TICK, np.random.default_rng(7)) for each in (world, other))
    seen = moments.evidence(peer, moments.learn(other, known), Pace.TICK)
    assert moments.found_visits(world, seen, np.random.default_rng(2)).low > 0.2


def test_deltas_without_dummies_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stays away and comes back sees how much has happened, unless there is another filter then."""
    monkeypatch.setattr(bounds, "AWAY", float(bounds.EPOCH))
    monkeypatch.setattr(Shown, "_dummy_changes", lambda *_: (0, 0))
    found = numbers.after_absence(world, play(world, Pace.TICK, np.random.default_rng(7), absent=True))
    assert found.value > 0.8


def test_a_peer_follows_bits_as_the_view_does(world: World) -> None:
    peer = day(world)
    assert peer.view.filter is not None
    bits = np.unpackbits(np.frombuffer(peer.view.filter.to_bytes(), dtype=np.uint8), bitorder="little")
    assert np.array_equal(bits, peer._bits)
    assert len(peer.epochs) == len(world.epochs)


def test_who_is_online_adds_up(world: World) -> None:
    parts = list(world.by_epoch())
    for (_, online, changes), (_, later, _) in pairwise(parts):
        now = set(online)
        for _, user, comes in changes:
            assert (user in now) is not comes
            (now.add if comes else now.discard)(user)
        assert now == later


def test_intervals() -> None:
    tossed = share(50, 100)
    assert tossed.low == pytest.approx(0.3359, abs=1e-3)  # R: binom.test(50, 100, conf.level=0.999)
    assert tossed.high == pytest.approx(1 - tossed.low)
    assert (share(0, 10).low, share(10, 10).high) == (0, 1)
    line = np.arange(50, dtype=float)
    assert correlation(line, line).value == pytest.approx(1)
    assert correlation(line, np.ones(50)).value == 0


def test_verdicts() -> None:
    clear, wide = Estimate(0.2, 0.1, 0.3, 9, ""), Estimate(0.0, -0.4, 0.4, 9, "")
    assert not Figure("g", "n", clear, Goal.NOTHING, 1).met
    assert not Figure("g", "n", wide, Goal.NOTHING, 0.1).met
    assert Figure("g", "n", wide, Goal.NOTHING, 0.5).met
    assert Figure("g", "n", clear, Goal.SAID).met
    missed = Figure("g", "n", clear, Goal.SUCCESS)
    assert "MISSED" in table([missed])
    assert json.loads(json.dumps(as_json([missed], {"seed": 1})))["figures"][0]["met"] is False


def test_the_figures_on_a_page_are_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    figures = [Figure(group, "n", Estimate(0.2, 0.1, 0.3, 9, ""), Goal.NOTHING) for group in ("a", "b")]
    figures.append(Figure("b", "m", Estimate(0.2, 0.1, 0.3, 9, ""), Goal.SAID))
    for _ in range(2):
        put_markdown(page, markdown(figures, "the command"))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert (text.count("| n | **0.200 (0.100 … 0.300)** |"), text.count("old")) == (1, 0)
    assert "| m |  | 0.200 (0.100 … 0.300) |" in text
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="no place"):
        put_markdown(page, "text")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(bench, "QUICK", SMALL)
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["presence_privacy", "--quick", "--json", str(path)])
    return path


@pytest.mark.slow
def test_the_command_is_seeded_and_judges(command: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [bench.main()]
    first = command.read_text()
    codes.append(bench.main())
    assert command.read_text() == first
    missed = [figure for figure in json.loads(first)["figures"] if not figure["met"]]
    assert codes == [bool(missed)] * 2
    assert f"seed {SMALL.seed}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_fails_where_tags_are_made_of_names(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "tags", lambda world, epoch: [names.guesses(name, epoch)[0] for name in world.names])
    assert bench.main() == 1
    missed = {figure["name"] for figure in json.loads(command.read_text())["figures"] if not figure["met"]}
    assert {"users online who are found by name", "which of two has joined, by the bits of a delta"} <= missed


def test_visits_that_only_users_make_are_found(world: World) -> None:
    sessions = world.sessions(contacts=False)
    true = np.array(sessions) + bounds.TICK / 2
    moved = true + np.random.default_rng(1).uniform(60, 300, true.shape)
    for visits, least, most in ((true, 0.95, 1.0), (moved, -0.1, 0.1)):
        believed = np.ones(len(visits))
        evidence = moments.Evidence(visits, believed, np.sort(visits.ravel()), np.ones(2 * len(visits)))
        found = moments.found_visits(world, evidence, np.random.default_rng(2))
        assert least <= found.value <= most


def test_ages_that_dummies_have_too_are_not_believed(world: World) -> None:
    peer = day(world)
    epoch = peer.epochs[0]
    sessions = world.sessions(contacts=False) + world.sessions(contacts=True)
    epoch.visits = [(came + bounds.TICK / 2, went + bounds.TICK / 2) for came, went in sessions]
    for other in peer.epochs[1:]:
        other.visits = []
    assert moments.weigh(peer, moments.learn(world, peer)).max() > 0.5
    epoch.visits += [(came + 77, went + 77) for came, went in sessions for _ in range(3)]
    assert moments.weigh(peer, moments.learn(world, peer)).max() < 0.5


@pytest.mark.parametrize(("drift", "learnt"), [(1.0, True), (0.0, False)])
def test_whatever_depends_on_the_number_is_learnt(world: World, drift: float, learnt: bool) -> None:
    chance, days = np.random.default_rng(4), []
    first = day(world).epochs[0].first
    for _ in range(2):
        online = chance.integers(0, 100, 40).astype(float)
        lasting = (0.5 + 0.001 * (drift * online + chance.normal(0, 5, 40))).tolist()
        days.append((online, [Epoch(1, 0.0, first, lasting=share) for share in lasting]))
    found = numbers.population(*days[0], *days[1])
    assert nothing(found) is not learnt
    assert (found.value > 0.9) is learnt


def test_a_picture_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    plot = pytest.importorskip("bench.presence_privacy.plot", reason="needs the extra `bench`")
    figures = [Figure(group, "n", Estimate(0.2, 0.1, 0.3, 9, ""), Goal.SAID) for group in ("a", "b")]
    for name in ("one.svg", "two.svg"):
        plot.draw(figures, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
