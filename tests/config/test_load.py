import contextlib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed import limits
from volly_fed.config.load import _structure, parse_edge, parse_homeserver, parse_toml
from volly_fed.config.model import AnchorSource, Dns, HomeserverConfig, LogLevel, ProviderChoice, Validation
from volly_fed.config.values import HostPort, Port, Resolver, Server
from volly_fed.errors import ConfigError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

MINIMAL = '[server]\ndomain = "Example.COM."\n[federation]\nhost = "fed.example.com"\n'
IDENTITY = fingerprint_text(Fingerprint(bytes(range(32))))
EDGE = (
    '[edge]\nname = "edge-1"\ndomain = "example.com"\nhomeserver = "[::1]:5224"\n'
    f'homeserver_identity = "{IDENTITY}"\n[devices]\n'
)


def problems(text: str, *, edge: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        (parse_edge if edge else parse_homeserver)(text, "x.toml")
    return caught.value.problems


def test_defaults_and_canonical_values() -> None:
    config = parse_homeserver(MINIMAL, "/etc/volly-fed/volly-fed.toml")
    assert config.server.domain == "example.com"
    assert config.server.data_dir == Path("/etc/volly-fed/data")
    assert config.server.trust_file == Path("/etc/volly-fed/trust.toml")
    assert config.federation.listen == HostPort("*", 5223)
    assert config.federation.listen.bind_host is None
    assert config.crypto.provider is ProviderChoice.AUTO
    assert config.dns.resolvers == ()
    assert config.dns.anchors_file is None
    assert config.limits.backoff_cap == limits.BACKOFF_CAP


def test_everything_set() -> None:
    text = (
        '[server]\ndomain = "a.test"\ndata_dir = "/var/lib/v"\ntrust_file = "t.toml"\n'
        '[federation]\nlisten = "[2001:db8::1]:0"\nhost = "f.a.test"\nport = 1\n'
        '[edges]\nlisten = "localhost:7"\n[devices]\nhost = "s.a.test"\nport = 2\ntls_certificate = "c.pem"\n'
        '[dns]\nresolvers = ["::1", "127.0.0.1:5300", "192.0.2.1#dns.a.test"]\nanchors_file = "a.ds"\n'
        'validate = "resolver-ad"\nanchors = "system"\nrequire_mldsa44 = true\nprobe_secure = "s.test"\n'
        'probe_bogus = "b.test"\nprobe_unsigned = "u.test"\ntls_ca_file = "ca.pem"\nauthoritative_port = 5353\n'
        'allow_private_addresses = true\n[crypto]\nprovider = "openssl"\n'
        "[limits]\nqueue_envelopes_per_peer = 1\nqueue_bytes_per_peer = 2\nmailbox_envelopes = 3\n"
        'mailbox_bytes = 4\nbackoff_cap = 5\n[log]\nlevel = "debug"\nformat = "json"\n'
    )
    config = parse_homeserver(text, Path("/e/volly-fed.toml"))
    assert config.server.data_dir == Path("/var/lib/v")
    assert config.server.trust_file == Path("/e/t.toml")
    assert str(config.federation.listen) == "[2001:db8::1]:0"
    assert config.edges.listen.is_loopback
    assert config.dns == Dns(
        resolvers=(
            Resolver(Server("::1", 53)),
            Resolver(Server("127.0.0.1", 5300)),
            Resolver(Server("192.0.2.1", 853, "dns.a.test")),
        ),
        anchors_file=Path("/e/a.ds"),
        validate=Validation.RESOLVER_AD,
        anchors=AnchorSource.SYSTEM,
        require_mldsa44=True,
        probe_secure=DomainName("s.test"),
        probe_bogus=DomainName("b.test"),
        probe_unsigned=DomainName("u.test"),
        tls_ca_file=Path("/e/ca.pem"),
        authoritative_port=Port(5353),
        allow_private_addresses=True,
    )
    assert config.log.level is LogLevel.DEBUG
    assert config.limits.mailbox_bytes == 4


def test_a_syntax_error_names_its_line() -> None:
    assert "line 3" in problems('[server]\ndomain = "a.test"\nport 5\n')[0]
    assert "line 2" in problems("[server]\ndomain = ")[0]
    assert len(problems("a = b")) == 1


def test_all_semantic_problems_at_once_with_their_keys() -> None:
    found = problems(
        '[server]\ndomian = "a.test"\n[federation]\nhost = "a b"\nport = "5223"\nlisten = "fed.example.com:1"\n'
        '[edges]\nlisten = "::1:5"\n[dns]\nresolvers = ["dns.example:53", "::1"]\nallow_private_addresses = 1\n'
        '[crypto]\nprovider = "rot13"\n[limits]\nmailbox_bytes = 0\nbackoff_cap = inf\nqueue_bytes_per_peer = true\n'
        '[log]\nlevel = "loud"\n[serve]\nx = 1\n'
    )
    keys = {problem.removeprefix("x.toml: ").partition(":")[0] for problem in found}
    assert keys == {
        "server.domain",
        "server.domian",
        "federation.host",
        "federation.port",
        "federation.listen",
        "edges.listen",
        "dns.resolvers",
        "dns.allow_private_addresses",
        "crypto.provider",
        "limits.mailbox_bytes",
        "limits.backoff_cap",
        "limits.queue_bytes_per_peer",
        "log.level",
        "serve",
    }
    assert all(problem.startswith("x.toml: ") for problem in found)


def test_unknown_keys_are_reported_with_the_closest_one() -> None:
    found = problems(MINIMAL + 'listne = "*:1"\n[zzz]\n')
    assert "x.toml: federation.listne: unknown key; did you mean `listen`?" in found
    assert any(problem.startswith("x.toml: zzz: unknown key; known are crypto, ") for problem in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "server: is missing"),
        (MINIMAL + "[[dns]]\n", "dns: must be a section of its own, [dns]"),
        ("server = 3\n[federation]\nhost='h'", "server: must be a section of its own, [server]"),
        (MINIMAL + '[dns]\nresolvers = "::1"\n', "dns.resolvers: must be a list"),
        (MINIMAL + '[http]\nhosts = ["a b"]\n', "http.hosts: item 1 must be a domain name"),
        (MINIMAL + '[http]\nlisten = "192.0.2.1:80"\n', "http.listen: is reachable from other machines"),
        (MINIMAL + '[http]\nlisten = "*:80"\n', "http.listen: is reachable from other machines"),
        (MINIMAL + '[edges]\nlisten = "127.0.0.1:5223"\n', "edges.listen: is the same port as federation.listen"),
        (MINIMAL + '[devices]\ntls_certificate = "c"\n', "devices.host: is needed to publish"),
        (MINIMAL + '[edges]\nlisten = "h:99999"\n', 'edges.listen: must be written "host:port"'),
        (MINIMAL + '[edges]\nlisten = ""\n', "edges.listen: must be a text in quotes"),
    ],
)
def test_single_problems(text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(text)), problems(text)


def test_an_edge() -> None:
    config = parse_edge(EDGE + "allow_plain_loopback = true\n", "/e/edge.toml")
    assert config.edge.homeserver == HostPort("::1", 5224)
    assert config.edge.homeserver_identity == bytes(range(32))
    assert config.edge.data_dir == Path("/e/edge-data")
    assert not config.devices.allow_classical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EDGE, "devices.tls_certificate: is needed, unless"),
        (EDGE + 'listen = "*:5222"\nallow_plain_loopback = true\n', "devices.tls_certificate: is needed, because"),
        (EDGE + 'tls_key = "k"\n', "devices.tls_certificate: is missing"),
        (EDGE + 'tls_certificate = "k"\n', "devices.tls_key: is missing"),
        (EDGE.replace("[::1]:5224", "*:5224"), "edge.homeserver: must name one host"),
        (EDGE.replace(IDENTITY, "x"), "edge.homeserver_identity: must be a fingerprint"),
    ],
)
def test_problems_of_an_edge(text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(text, edge=True))


def test_an_edge_that_is_not_ready_yet() -> None:
    assert parse_edge(EDGE, "x.toml", ready=False).devices.tls_certificate is None


@given(st.text())
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    for parse in (parse_homeserver, parse_edge, parse_toml):
        with contextlib.suppress(ConfigError):
            parse(text, "x.toml")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.sampled_from(["server", "federation", "dns", "log", "limits", "devices"]), st.data())
def test_any_value_of_any_option_is_taken_or_refused_with_its_key(section: str, data: st.DataObject) -> None:

    kind: Any = attrs.fields_dict(HomeserverConfig)[section].type
    option = data.draw(st.sampled_from([field.name for field in attrs.fields(kind)]))
    document: dict[str, dict[str, object]] = {"server": {"domain": "a.test"}, "federation": {"host": "h.test"}}
    document.setdefault(section, {})[option] = data.draw(VALUES)
    found: list[str] = []
    try:
        _structure(document, HomeserverConfig, "x.toml")
    except ConfigError as error:
        found = error.problems
    assert all(problem.startswith(f"x.toml: {section}.{option}: ") for problem in found)
