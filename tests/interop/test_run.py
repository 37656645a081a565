"""Which implementations are tried with which, and what becomes of one that does not start."""

import subprocess
import sys
from pathlib import Path

import pytest

from interop.contract import Contract
from interop.results import Outcome
from interop.run import Runner, combinations, known_keys
from interop.scenario import all_scenarios

ROOT = Path(__file__).parents[2]


def contract(name: str, *argv: str, lacks: frozenset[str] = frozenset()) -> Contract:
    return Contract(name=name, folder=ROOT, argv=argv, lacks=lacks)


def names(reference: Contract, *contracts: Contract) -> list[tuple[str, ...]]:
    return [tuple(one.name for one in given) for given in combinations(reference, contracts)]


def test_each_alone_and_with_the_reference_in_both_directions() -> None:
    python, js = contract("python"), contract("js")
    assert names(python, python) == [("python", "python"), ("python",)]
    assert names(python, python, js) == [
        *(("python", "python"), ("js", "python"), ("python", "js")),
        *(("python",), ("js",)),
    ]
    assert names(python, js) == [("js", "python"), ("python", "js"), ("js",)]


def test_what_there_could_be_a_verdict_of() -> None:
    python, js = contract("python"), contract("js")
    scenarios = all_scenarios()[:1]
    assert scenarios[0].servers == 1
    known = known_keys(scenarios, python, [js])
    assert {(scenarios[0].name, ("python",)), (scenarios[0].name, ("js",))} <= known
    assert not any(name != scenarios[0].name for name, _ in known)


@pytest.mark.real
async def test_one_that_does_not_start_fails_everything_that_it_does_not_lack() -> None:
    broken = contract("broken", "false", "{site}", lacks=frozenset({"presence"}))
    scenarios = [one for one in all_scenarios() if one.name in ("claims/replaced", "presence/within-one-domain")]
    runner = Runner([(broken,)], scenarios)
    await runner.run()
    verdicts = {verdict.scenario: verdict for verdict in runner.verdicts}
    assert verdicts["presence/within-one-domain"].outcome is Outcome.UNSUPPORTED
    assert verdicts["claims/replaced"].outcome is Outcome.FAIL
    assert "has ended" in verdicts["claims/replaced"].reason


@pytest.mark.real
def test_as_a_file_and_as_a_module() -> None:
    for command in (["interop/run.py"], ["-m", "interop.run"]):
        arguments = [sys.executable, *command, "--list", "claims/replaced"]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("claims/replaced  1 edge-15\n    A mailbox is claimed through a second edge")
