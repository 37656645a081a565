"""What must not stand in a log."""

import json

import pytest

from volly_fed.testing.log_watch import unexpected


def test_trouble_from_outside_is_expected() -> None:
    lines = [json.dumps({"event": event, "level": "info"}) for event in ("started", "link_down", "dial_failed")]
    assert list(unexpected("\n".join(lines) + "\n")) == []


def decided(gate: str, reason: str) -> str:
    return json.dumps({"event": "decided", "gate": gate, "verdict": "refused", "reason": reason})


def test_a_clock_that_jumps_in_the_middle_of_a_handshake_is_expected() -> None:
    assert list(unexpected(decided("establish", "the evidence about a.test is out of date"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        '{"event": "defect", "reason": "KeyError"}',
        '{"event": "storage_failed"}',
        '{"event": "identity_changed"}',
        decided("establish", "a.test: the identity is not the one the domain publishes"),
        decided("accept", "denied by a rule"),
        '{"event": "decided"}',
        '{"event": "edge_refused", "code": "BAD_PROOF"}',
        '{"event": "an event of tomorrow"}',
        '{"event": ["started"]}',
        '{"level": "info"}',
        '["started"]',
        '{"event": "started"',
        "null",
    ],
)
def test_everything_else_is_not(line: str) -> None:
    assert list(unexpected(f'{{"event": "started"}}\n{line}\n')) == [line]
