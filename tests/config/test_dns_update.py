"""[dns_update]: where dynamic updates go."""

from pathlib import Path

import pytest

from volly_fed.config.load import parse_homeserver
from volly_fed.config.model import DnsUpdate, TsigAlgorithm
from volly_fed.errors import ConfigError

HEAD = '[server]\ndomain = "a.test"\n[federation]\nhost = "fed.a.test"\n[dns_update]\n'


def test_left_out_there_is_none() -> None:
    assert parse_homeserver(HEAD, "/e/x").dns_update == DnsUpdate()


def test_all_options() -> None:
    text = (
        'server = "2001:DB8::0053"\nport = 5353\nzone = "A.test."\ntsig_key_file = "k"\ntsig_name = "k.test"\n'
        'tsig_algorithm = "hmac-sha512"\n'
    )
    update = parse_homeserver(HEAD + text, "/e/x").dns_update
    assert (update.server, update.port, update.zone) == ("2001:db8::53", 5353, "a.test")
    assert (update.tsig_key_file, update.tsig_name) == (Path("/e/k"), "k.test")
    assert update.tsig_algorithm is TsigAlgorithm.SHA512


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('server = "192.0.2.53"', "dns_update.tsig_key_file: is needed"),
        ('server = "ns.example.com"\ntsig_key_file = "k"', "dns_update.server: must be a literal address"),
        ('server = "[::1]"\ntsig_key_file = "k"', "dns_update.server: must be a literal address"),
        ('tsig_algorithm = "hmac-md5"', "dns_update.tsig_algorithm: must be"),
        ("port = 0", "dns_update.port: must be a port number"),
    ],
)
def test_problems(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_homeserver(HEAD + text, "x.toml")
    assert [problem for problem in caught.value.problems if says in problem]
