"""`volly-fed probe` as a process would run it: against a resolver that is not there, in words and as JSON."""

import json
from pathlib import Path

import pytest

from volly_fed.cli.app import run
from volly_fed.testing.world import World


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    world = World(seed=b"probe")
    world.sign(1_800_000_000.0)
    path = tmp_path / "anchors.ds"
    path.write_text(world.anchor_text)
    return path


def arguments(anchors: Path) -> list[str]:
    return ["probe", "b.test", "--resolver", "127.0.0.1:1", "--anchors", str(anchors)]


def test_a_resolver_that_does_not_answer_is_could_not_tell(anchors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments(anchors), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["domain"] == "b.test"
    assert document["exit_code"] == 3
    (step,) = [step for step in document["steps"] if step["what"] == "discovery of b.test"]
    assert step["verdict"] == "indeterminate"
    assert "note: check [dns] resolvers" in step["reason"]


def test_for_people_it_is_a_line_a_step(anchors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(anchors)) == 3
    output = capsys.readouterr().out
    assert "indeterminate" in output
    assert "discovery of b.test" in output


@pytest.mark.parametrize(
    "wrong", [["probe"], ["probe", "not a name"], ["probe", "b.test", "--resolver", "example.com"]]
)
def test_what_cannot_be_probed(wrong: list[str]) -> None:
    assert run(wrong) == 2
