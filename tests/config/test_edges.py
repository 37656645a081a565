from datetime import UTC, datetime

import pytest

from volly_fed.config.edges import Enrolment, format_edges, parse_edges
from volly_fed.errors import ConfigError
from volly_fed.names import DomainName, Fingerprint

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def enrolment(name: str, first: int) -> Enrolment:
    return Enrolment(name=DomainName(name), fingerprint=Fingerprint(bytes([first] * 32)), enrolled_at=NOW)


def test_round_trip() -> None:
    edges = {edge.name: edge for edge in (enrolment("edge-2", 2), enrolment("edge.one", 1))}
    assert parse_edges(format_edges(edges), "edges.toml") == edges
    assert parse_edges(format_edges({}), "edges.toml") == {}
    assert "enrolled_at = 2026-01-31T12:00:00Z" in format_edges(edges)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "x: must be a section"),
        ("[a]\nfingerprint = 'x'\nenrolled_at = 2026-01-31T12:00:00Z", "a: must be a fingerprint"),
        ("[a]\nfingerprnt = 'x'", "did you mean `fingerprint`"),
        ("[a]\nenrolled_at = 2026-01-31T12:00:00", "a time with its zone"),
        ('["a b"]\nenrolled_at = 2026-01-31T12:00:00Z', "a b: must be a domain name"),
        ("[a]\nenrolled", "line 2"),
    ],
)
def test_problems(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_edges(text, "edges.toml")
    assert expected in caught.value.problems[0]
    assert caught.value.problems[0].startswith("edges.toml: ")


def test_one_key_under_two_names_is_a_problem() -> None:
    text = format_edges({edge.name: edge for edge in (enrolment("a", 1), enrolment("b", 1))})
    with pytest.raises(ConfigError, match="b: fingerprint: is also that of a"):
        parse_edges(text, "edges.toml")
