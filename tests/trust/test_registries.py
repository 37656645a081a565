"""spec/registries says what the code does; every gate has one place where it is asked."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import volly_fed
from tests.trust.vectors import spelled
from tests.vectors import registry
from volly_fed.codepoints import Gate, TrustLevel
from volly_fed.trust import RIGHTS, Direction, passages

_PRESENCE = {"show", "hear"}


def test_the_levels_and_their_gates_are_those_of_the_registry() -> None:
    entries = registry("trust-levels")
    assert [entry["value"] for entry in entries] == [str(level) for level in TrustLevel] == [str(k) for k in RIGHTS]
    for entry in entries:
        found = {passage.name: spelled(passage) for passage in passages(TrustLevel(entry["value"]))}
        assert found == entry["gates"]
        assert list(found) == list(entry["gates"])


def test_the_gates_are_those_of_the_registry() -> None:
    entries = registry("gates")
    assert [entry["value"] for entry in entries] == [str(gate) for gate in Gate]
    for entry in entries:
        ways = [p.direction for p in passages(TrustLevel.FULL) if p.gate == entry["value"]]
        assert [way for way in ways if way] == [Direction(way) for way in entry["directions"]]
        assert len(ways) == max(1, len(entry["directions"]))


@pytest.mark.spec("trust-1")
def test_every_gate_is_asked_in_one_place() -> None:
    root = Path(volly_fed.__file__).parent
    calls: Counter[str] = Counter()
    for path in root.rglob("*.py"):
        if path.parent.name == "trust":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                calls[ast.unparse(node.func)] += 1
    found = {gate: calls[f"gates.{gate}"] + (calls[str(gate)] if gate is Gate.DELIVER else 0) for gate in Gate}
    assert {gate: count for gate, count in found.items() if gate not in _PRESENCE} == {
        gate: 1 for gate in Gate if gate not in _PRESENCE
    }
    assert all(found[Gate(gate)] <= 1 for gate in _PRESENCE)
