"""Every input of the fuzzers' corpus through its target: what was found once is not found again."""

import time
from typing import Any

import pytest

import fuzz
from fuzz import corpus
from fuzz.target import join, split
from volly_fed.discovery.chain import Walk
from volly_fed.presence import View
from volly_fed.session import Session

SECONDS = 5
"""Of processor time, for all inputs of all targets."""


def replay(name: str) -> int:
    """Through the target; how many inputs there are."""
    target, count = fuzz.load(name), 0
    for path in corpus.inputs(corpus.FOLDER / name):
        target.run(path.read_bytes())
        count += 1
    return count


def test_nothing_is_found_in_the_corpus() -> None:
    began = time.process_time()
    for name in fuzz.NAMES:
        assert replay(name) > 0, f"{name} has no corpus: python -m fuzz {name} --minimise"
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_a_corpus_is_small_and_has_all_seeds(name: str) -> None:
    target = fuzz.load(name)
    inputs = {path.name: path.read_bytes() for path in corpus.inputs(corpus.FOLDER / name)}
    assert sum(map(len, inputs.values())) <= corpus.CAP
    seeds = [*target.seeds()]
    kept = [inputs.get(f"seed-{number:02}", b"") for number in range(len(seeds))]
    assert [*map(len, kept)] == [*map(len, seeds)], f"python -m fuzz {name} --minimise"


def _broken(*_: Any, **__: Any) -> Any:
    raise KeyError("what a parser must not raise")


BROKEN: dict[str, str | type] = {
    "wire": "fuzz.wire.parse_message",
    "envelope": "fuzz.envelope.read_head",
    "handshake": "volly_fed.handshake.exchange.verify_identity",
    "session": Session,
    "link": Session,
    "discovery": "fuzz.discovery.parse_response",
    "validator": Walk,
    "presence": View,
    "client": "fuzz.client.parse_content",
    "device": "volly_fed.client.conversation.parse_message",
}
METHODS: dict[type, str] = {Session: "_take", Walk: "verify_in", View: "_change"}


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_another_error_than_the_named_one_is_red(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = BROKEN[name]
    if isinstance(broken, str):
        monkeypatch.setattr(broken, _broken)
    else:
        monkeypatch.setattr(broken, METHODS[broken], _broken)
    with pytest.raises(KeyError):
        replay(name)


@pytest.mark.parametrize("data", [b"", b"\1", b"\1\0\0", b"\1\0\2ab\2\0\0\3\0\1c"])
def test_steps_come_back(data: bytes) -> None:
    assert split(join(split(data))) == split(data)


def test_steps_that_are_cut_short_are_what_there_is_of_them() -> None:
    assert split(b"\1\0\5ab") == [(1, b"ab")]
    assert len(split(bytes(10_000))) == 200
