import pytest
from hypothesis import given
from hypothesis import strategies as st

from volly_fed.config.values import READERS, HostPort, Server, parse_host_port, read_listen, read_resolver


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("fed.Example.com:1", "fed.example.com", 1),
        ("*:0", "*", 0),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[2001:DB8::1]:53", "2001:db8::1", 53),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = parse_host_port(text)
    assert address == (host, port)
    assert parse_host_port(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "::1:53", "[::1]", "[::1:5", "[x]:1", "h:65536", "h:-1", "h:\u0663", "h: 1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_host_port(text)


def test_who_can_reach_it() -> None:
    assert HostPort("127.0.0.9", 1).is_loopback
    assert HostPort("::1", 1).is_loopback
    assert HostPort("localhost", 1).is_loopback
    assert not HostPort("*", 1).is_loopback
    assert not HostPort("192.0.2.1", 1).is_loopback


def test_resolvers_have_a_port_of_their_own() -> None:
    assert read_listen("localhost:1").bind_host == "localhost"


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("2001:db8::53", Server("2001:db8::53", 53)),
        ("[2001:db8::53]:5300", Server("2001:db8::53", 5300)),
        ("9.9.9.9#dns.Quad9.net", Server("9.9.9.9", 853, "dns.quad9.net")),
        ("[2620:fe::fe]:8853#dns.quad9.net", Server("2620:fe::fe", 8853, "dns.quad9.net")),
        ("2620:fe::fe#dns.quad9.net", Server("2620:fe::fe", 853, "dns.quad9.net")),
    ],
)
def test_resolvers_are_literal_addresses_and_may_have_a_name(text: str, server: Server) -> None:
    assert read_resolver(text) == server
    assert read_resolver(str(server)) == server


@pytest.mark.parametrize("text", ["dns.example", "dns.example:53", "9.9.9.9#", "9.9.9.9#-", "127.0.0.1:0", "#a.test"])
def test_what_is_no_resolver(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|empty"):
        read_resolver(text)


@given(st.sampled_from(list(READERS.values())), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_a_reader_takes_a_value_or_raises_value_error(reader: object, value: object) -> None:
    assert callable(reader)
    try:
        reader(value)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - most values are refused, but not all
