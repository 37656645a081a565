"""The model of the handshake: what holds against whom, the attack that each field and check stops, and that it sees."""

import json
from itertools import product
from pathlib import Path

import attrs
import pytest

from tests.handshake.model import __main__ as command
from tests.handshake.model import report
from tests.handshake.model.agreement import ALL, Agreement
from tests.handshake.model.attackers import ATTACKERS, Attacker
from tests.handshake.model.cases import CHECK_CASES, FIELD_CASES, Case
from tests.handshake.model.search import Result, search
from tests.handshake.model.story import tell
from tests.handshake.model.terms import FIELDS
from tests.handshake.model.world import Check, Power, Scenario, Setting

DOCUMENT = Path(__file__).parents[2] / "docs" / "handshake-model.md"
CASES = [*FIELD_CASES.values(), *CHECK_CASES]
ONE_EACH = (1, 1)
SLOW = pytest.mark.slow


def named(case: Case | Attacker) -> str:
    return case.name


@pytest.mark.parametrize("attacker", ATTACKERS, ids=named)
@pytest.mark.parametrize(
    "scenario", [s if s is Scenario.TWICE else pytest.param(s, marks=SLOW) for s in Scenario], ids=lambda s: s.name
)
def test_what_holds_against_an_attacker(attacker: Attacker, scenario: Scenario) -> None:
    holds = attacker.holds(scenario)
    if holds:
        result = search(attacker.setting(scenario), holds)
        assert result.attack is None, "\n".join(tell(result.attack))
        assert result.done == 4, "nobody is ever done: there is nothing to hold"


@SLOW
@pytest.mark.parametrize("attacker", [a for a in ATTACKERS if a.falls or a.deceived], ids=named)
def test_what_does_not_hold_is_found(attacker: Attacker) -> None:
    for scenario in attacker.falls:
        lost = search(attacker.setting(scenario)).attack
        assert lost is not None
        assert set(lost.broken) <= attacker.falls[scenario]
    for scenario in (s for s in Scenario if attacker.holds(s)):
        deceived = search(attacker.setting(scenario), attacker.holds(scenario), excuse=False).attack is not None
        assert deceived is (scenario in attacker.deceived)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_field_or_check_decides_in_its_case(case: Case) -> None:
    assert search(case.kept, case.expected).attack is None
    attack = search(case.without, case.expected).attack
    assert attack is not None
    assert tell(attack)[-1].startswith("broken: ")


@SLOW
@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_case_is_as_small_as_it_can_be(case: Case) -> None:
    for setting in case.smaller:
        assert search(setting, case.expected).attack is None


def test_without_any_signature() -> None:
    neither = frozenset({Check.ML_DSA, Check.ED25519})
    attack = search(Setting(scenario=Scenario.EDGE, skipped=neither)).attack
    assert attack is not None
    assert attack.broken == (Agreement.PEER,)
    assert "made by e" in "\n".join(tell(attack))


def test_without_anything_signed_but_a_label() -> None:
    everything = frozenset(FIELDS) - {"context", "label"}
    found = search(Setting(powers=frozenset({Power.KEY_EXCHANGE}), dropped=everything)).attack
    assert found is not None


def test_a_signature_of_nothing_else_than_its_channel() -> None:
    """Names and identities unsigned: evil's zone names the identity of another (unknown key share)."""
    hellos = frozenset(field for field in FIELDS if field.startswith(("dialler ", "acceptor ")))
    found = search(Setting(powers=frozenset({Power.KEY_EXCHANGE}), dropped=hellos), frozenset({Agreement.DOMAINS}))
    assert found.attack is not None


def test_the_story_of_the_man_in_the_middle() -> None:
    case = FIELD_CASES["exporter"]
    attack = search(case.without).attack
    assert attack is not None
    assert tell(attack) == [
        "session 1: a dials b (volly-fed/1, X25519MLKEM768), and e answers with the TLS key of b",
        "  a -> e  [1-e]  HELLO {versions 1-2, a to b, identity of a, nonce 1, extension x}",
        "session 3: e dials b (volly-fed/1, X25519MLKEM768) with the TLS key of a",
        "  e -> b  [3-e]  HELLO {versions 1-2, a to b, identity of a, nonce 1, extension x}  (that of session 1)",
        "  b -> e  [3-e]  HELLO {versions 1-2, b to a, identity of b, nonce 3, extension x}",
        "  e -> a  [1-e]  HELLO {versions 1-2, b to a, identity of b, nonce 3, extension x}  (that of session 3)",
        "  a -> e  [1-e]  AUTH by the identity of a",
        "  e -> b  [3-e]  AUTH by the identity of a, as it was made",
        "  b -> e  [3-e]  AUTH by the identity of b",
        "session 3 of b is done, with a, identity of a, version 2, extensions x",
        "broken: the ends are not on one connection",
    ]


# --- the reduction hides nothing -----------------------------------------------------------------------------------


def both_ways(setting: Setting, expected: frozenset[Agreement]) -> tuple[Result, Result]:
    return search(setting, expected), search(setting, expected, reduce=False)


@SLOW
def test_the_reduction_changes_no_verdict_for_a_session_each() -> None:
    settings = [(a.setting(s), a.holds(s)) for a, s in product(ATTACKERS, Scenario) if a.holds(s)]
    settings += [(setting, case.expected) for case in CASES for setting in (case.kept, case.without)]
    attacks = 0
    for setting, expected in settings:
        reduced, whole = both_ways(attrs.evolve(setting, sessions=ONE_EACH), expected)
        assert (reduced.attack is None) is (whole.attack is None)
        assert reduced.states <= whole.states or whole.attack is not None
        attacks += whole.attack is not None
    assert attacks == len(CASES) - 3, "all but those of the nonces and ALPN, which take two sessions"


@SLOW
@pytest.mark.parametrize("sessions", [(2, 1), (1, 2)])
@pytest.mark.parametrize("field", ["signer SPKI", "other SPKI"])
def test_the_reduction_changes_no_verdict_for_three_sessions(sessions: tuple[int, int], field: str) -> None:
    case = FIELD_CASES[field]
    for setting in (case.kept, case.without):
        reduced, whole = both_ways(attrs.evolve(setting, sessions=sessions), case.expected)
        assert (reduced.attack is None) is (whole.attack is None)


# --- the whole run -------------------------------------------------------------------------------------------------


@SLOW
def test_the_whole_run_and_the_tables_of_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.md"
    copy.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert command.main(["--json", "--markdown", str(copy)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["met"]
    assert [row["subject"] for row in found["fields"]] == list(FIELDS)
    assert all(row["attack"] and row["broken"] for row in found["fields"])
    assert copy.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8")


def test_a_run_that_is_not_as_expected_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without = attrs.evolve(FIELD_CASES["exporter"], powers=frozenset())
    monkeypatch.setattr(command, "_PARTS", {"checks": lambda: iter([report._case(without)])})
    assert command.main([]) == 1
    assert "NOT AS EXPECTED" in capsys.readouterr().out


def test_all_holds_is_all() -> None:
    assert frozenset(Agreement) == ALL
