"""The kinds of value a configuration file can hold, each read strictly.

in: what tomllib made of a value; out: a checked value, or ValueError with words for the operator.
Never: touches a file, resolves a name, or accepts a number written as text.
"""

import ipaddress
from collections.abc import Callable
from typing import NamedTuple, NewType

from volly_fed.names import BadName, DomainName, Fingerprint, parse_domain, parse_fingerprint

_MAX_PORT = 65535
ANY_HOST = "*"
DNS_PORT = 53
DOT_PORT = 853
"""RFC 7858 §3.1."""


class HostPort(NamedTuple):
    """A host (name, IPv4 or IPv6 literal, or `*` for every local address) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def bind_host(self) -> str | None:
        """What the socket layer calls this host: None for every local address of both families."""
        return None if self.host == ANY_HOST else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Server(NamedTuple):
    """A DNS server: a literal address, a port, and the name it proves over TLS; without a name it is asked in clear."""

    host: str
    port: int = DNS_PORT
    name: str = ""

    def __str__(self) -> str:
        address = str(HostPort(self.host, self.port))
        return f"{address}#{self.name}" if self.name else address

    @property
    def is_loopback(self) -> bool:
        """Whether what it says can only come from this machine."""
        return HostPort(self.host, self.port).is_loopback


Listen = NewType("Listen", HostPort)
"""An address to listen on: port 0 (let the system choose) and host `*` are allowed."""
Remote = NewType("Remote", HostPort)
"""An address to connect to."""
Resolver = NewType("Resolver", Server)
"""A DNS server to ask: `ADDRESS[:PORT][#NAME]`; port 53, or 853 where a name asks for TLS."""
HostName = NewType("HostName", str)
"""What may stand for this machine in a URL: a domain name, or a literal address without brackets."""
IpLiteral = NewType("IpLiteral", str)
"""An IPv4 or IPv6 address as text, in its canonical spelling."""
Port = NewType("Port", int)
"""1 to 65535."""
Count = NewType("Count", int)
"""A whole number, 1 or more."""
Seconds = NewType("Seconds", float)
"""A duration greater than 0."""


def read_text(value: object) -> str:
    """A text of at least one character."""
    if not isinstance(value, str) or not value:
        raise ValueError('must be a text in quotes, like "this"')
    return value


def read_flag(value: object) -> bool:
    """True or false, and nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")  # noqa: TRY004 - one kind of error leaves this module
    return value


def read_domain(value: object) -> DomainName:
    """A domain name in canonical form."""
    try:
        return parse_domain(read_text(value))
    except BadName as error:
        raise ValueError(f"must be a domain name: {error}") from error


def read_fingerprint(value: object) -> Fingerprint:
    """A fingerprint as `volly-fed keys show` prints it."""
    try:
        return parse_fingerprint(read_text(value))
    except BadName as error:
        raise ValueError(f"must be a fingerprint as `volly-fed keys show` prints it: {error}") from error


def read_count(value: object) -> Count:
    """A whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must be a whole number, 1 or more")
    return Count(value)


def read_seconds(value: object) -> Seconds:
    """A number of seconds greater than 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError("must be a number of seconds greater than 0")
    return Seconds(float(value))


def read_port(value: object) -> Port:
    """A port number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_PORT:
        raise ValueError(f"must be a port number, 1 to {_MAX_PORT}, without quotes")
    return Port(value)


def parse_host_port(text: str) -> HostPort:
    """`host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`; raises ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ValueError('must be written "host:port", with the port after the last colon')
    if host.startswith("[") and host.endswith("]"):
        return HostPort(str(ipaddress.IPv6Address(host[1:-1])), int(port))
    if ":" in host:
        raise ValueError('must have its IPv6 address in brackets, like "[2001:db8::1]:5223"')
    return HostPort(host if host == ANY_HOST else parse_domain(host), int(port))


def read_listen(value: object) -> Listen:
    """An address to listen on."""
    address = parse_host_port(read_text(value))
    if address.host not in {ANY_HOST, "localhost"}:
        _literal(address.host, 'must start with a literal address, "localhost" or "*"')
    return Listen(address)


def read_remote(value: object) -> Remote:
    """An address to connect to."""
    address = parse_host_port(read_text(value))
    if address.host == ANY_HOST or address.port == 0:
        raise ValueError("must name one host and a port other than 0")
    return Remote(address)


def read_resolver(value: object) -> Resolver:
    """A DNS server: `ADDRESS[:PORT][#NAME]`, as systemd-resolved has it; the name is the one in its certificate."""
    text, hash_sign, written = read_text(value).partition("#")
    name = read_domain(written) if hash_sign else ""
    try:
        return Resolver(Server(str(ipaddress.ip_address(text)), DOT_PORT if name else DNS_PORT, name))
    except ValueError:
        address = parse_host_port(text)
    _literal(address.host, "must be a literal address: a DNS server cannot be looked up by name")
    if address.port == 0:
        raise ValueError("must have a port other than 0")
    return Resolver(Server(address.host, address.port, name))


def read_host_name(value: object) -> HostName:
    """A domain name, or a literal IPv4 or IPv6 address without brackets."""
    try:
        return HostName(str(ipaddress.ip_address(read_text(value))))
    except ValueError:
        return HostName(read_domain(value))


def read_ip(value: object) -> IpLiteral:
    """A literal IPv4 or IPv6 address, without brackets."""
    try:
        return IpLiteral(str(ipaddress.ip_address(read_text(value))))
    except ValueError:
        raise ValueError('must be a literal address, like "192.0.2.53" or "2001:db8::53"') from None


def _literal(host: str, complaint: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(complaint) from None


READERS: dict[object, Callable[[object], object]] = {
    str: read_text,
    bool: read_flag,
    DomainName: read_domain,
    Fingerprint: read_fingerprint,
    Count: read_count,
    Seconds: read_seconds,
    HostName: read_host_name,
    IpLiteral: read_ip,
    Port: read_port,
    Listen: read_listen,
    Remote: read_remote,
    Resolver: read_resolver,
}
"""The reader of each type that the model uses."""
