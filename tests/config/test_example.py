from pathlib import Path

import pytest

from volly_fed.config.example import edge_text, homeserver_text, toml_value
from volly_fed.config.load import parse_edge, parse_homeserver, parse_toml
from volly_fed.config.policy import parse_policy_text
from volly_fed.config.values import HostPort
from volly_fed.trust.policy import EXAMPLE

REFERENCE = Path(__file__).parents[2] / "docs" / "config-reference"


@pytest.mark.parametrize(
    ("name", "text"), [("volly-fed.toml", homeserver_text()), ("edge.toml", edge_text()), ("trust.toml", EXAMPLE)]
)
def test_the_committed_reference_is_current(name: str, text: str) -> None:
    assert (REFERENCE / name).read_text() == text, "run `make reference`"


def test_the_examples_load() -> None:
    assert parse_homeserver(homeserver_text(), "x").server.domain == "example.com"
    assert parse_edge(edge_text(), "x", ready=False).edge.name == "edge-1"
    parse_policy_text(EXAMPLE, "x")


def uncommented(text: str) -> str:
    lines = (line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    return "\n".join(line for line in lines if not line.startswith("#"))


UPDATES = (
    'server = "192.0.2.53"',
    'zone = "example.com"',
    'tsig_key_file = "dns-update.key"',
    'tsig_name = "volly-fed.example.com"',
)


def test_every_default_that_is_shown_is_the_default() -> None:
    shown = uncommented(homeserver_text())
    for unset in (
        'anchors_file = "anchors.ds"',
        'tls_ca_file = "/etc/ssl/resolver-ca.pem"',
        'tls_certificate = "/etc/ssl/signal.example.com.pem"',
        'listen = "127.0.0.1:9223"',
    ):
        assert unset in shown  # options without a default show an example
        shown = shown.replace(unset, "")
    shown = shown.replace('host = "signal.example.com"', "")
    shown = "\n".join(line for line in shown.splitlines() if line not in UPDATES)
    assert parse_homeserver(shown, "/e/x") == parse_homeserver(homeserver_text(), "/e/x")


def test_chosen_values_are_set_and_the_rest_is_commented_out() -> None:
    values = {"server.domain": "a.test", "federation.host": "f.a.test", "edges.listen": HostPort("::1", 7)}
    text = homeserver_text(values)
    assert parse_toml(text, "x") == {
        "server": {"domain": "a.test"},
        "federation": {"host": "f.a.test"},
        "edges": {"listen": "[::1]:7"},
        "devices": {},
        "dns": {},
        "dns_update": {},
        "trust": {},
        "crypto": {},
        "limits": {},
        "http": {},
        "log": {},
    }


def test_wrong_or_missing_options_are_bugs_of_the_caller() -> None:
    with pytest.raises(KeyError, match="no such option"):
        homeserver_text({"server.domain": "a", "federation.host": "b", "server.x": 1})
    with pytest.raises(KeyError, match="must be set"):
        homeserver_text({"server.domain": "a"})


def test_values_as_toml() -> None:
    nasty = 'quote " backslash \\ newline \n tab \t nul \x00 del \x7f ü'
    assert parse_toml(f"a = {toml_value(nasty)}", "x") == {"a": nasty}
    assert toml_value(["a", 1, True, 300.0, 100_000]) == '["a", 1, true, 300, 100_000]'
    with pytest.raises(TypeError):
        toml_value(object())
