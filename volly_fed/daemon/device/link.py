"""From a device to an edge of its own domain: finding it, TLS with a hybrid key exchange, the WebSocket.

in: an address on loopback, a host, or the domain itself (DNS); out: a Socket that speaks the device protocol.
Never: leaves TLS out except to loopback, falls back to classical key exchange, or believes a certificate that neither
TLSA records nor a trusted root vouch for. Source: RFC 7673 (DANE with SRV), RFC 6125 (names in certificates).
"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import DEVICE, check_tlsa
from volly_fed.codepoints import PORT_DEVICE
from volly_fed.daemon.eyeballs import connect_any
from volly_fed.daemon.tls import PeerTrust, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, connect_websocket
from volly_fed.discovery.endpoint import Endpoint, Service, Target
from volly_fed.errors import ChannelError, LocalError, NoMatch
from volly_fed.names import BadName, DomainName, parse_domain

T = TypeVar("T")
E = TypeVar("E", bound="PlainEdge | NamedEdge | Target")


class Discover(Protocol):
    """What of daemon.dns.Resolver is needed here."""

    async def discover(self, domain: DomainName, *, service: Service) -> Endpoint:
        """Where `domain`'s service is."""
        ...


class Machine(Protocol):
    """What client.receiver and client.submitter have in common."""

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called at the latest."""
        ...

    def tick(self, now: float) -> None:
        """Let time pass."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take one message of the edge."""
        ...


@attrs.frozen
class PlainEdge:
    """An edge on this machine, without TLS: for tests and the test network."""

    address: str
    port: int


@attrs.frozen
class NamedEdge:
    """An edge whose host the user named; its certificate must lead to a trusted root."""

    host: str
    port: int
    roots: Path | None = None


@attrs.frozen
class FoundEdge:
    """Whatever edge the domain's DNS names; its TLSA records, or else a trusted root, vouch for the certificate."""

    domain: DomainName
    resolver: Discover
    roots: Path | None = None


@attrs.frozen
class OneOf:
    """Any of several edges of the domain: the next one is tried where one does not answer."""

    edges: tuple[PlainEdge | NamedEdge, ...]


@attrs.frozen
class GivenEdge:
    """An edge to which somebody else makes the connection: for tests without a network."""

    connect: Callable[[], Awaitable[Socket]]


Way: TypeAlias = PlainEdge | NamedEdge | FoundEdge | OneOf | GivenEdge


@attrs.define
class Choice:
    """Which edge a device is connected to, and which it has left: it goes back there only if no other answers."""

    here: str = ""
    left: str = ""

    def leave(self) -> None:
        """The present one is no good, or has gone."""
        self.here, self.left = "", self.here or self.left

    def order(self, edges: Sequence[E]) -> list[E]:
        """`edges`, the one that was left last."""
        return sorted(edges, key=lambda edge: _name(edge) == self.left)


def parse_edge(text: str, roots: Path | None = None) -> PlainEdge | NamedEdge:
    """The way that `ws://127.0.0.1:PORT` or `wss://HOST[:PORT]` spells. Raises LocalError for anything else."""
    try:
        url = urlsplit(text)
        port, host = url.port, url.hostname or ""
    except ValueError as error:
        raise LocalError("--edge is not a URL; note: write ws://127.0.0.1:PORT or wss://HOST") from error
    if url.path not in ("", "/") or url.query or url.fragment or not host:
        raise LocalError("--edge names a host and a port only; note: write ws://127.0.0.1:PORT or wss://HOST")
    if url.scheme == "ws" and port:
        if not _is_loopback(host):
            raise LocalError(
                "without TLS only this machine is reached; note: write wss://HOST, or an address like 127.0.0.1"
            )
        return PlainEdge(host, port)
    if url.scheme == "wss":
        try:
            return NamedEdge(host if _is_address(host) else parse_domain(host), port or PORT_DEVICE, roots)
        except BadName as error:
            raise LocalError(f"--edge: {error}") from error
    raise LocalError("--edge begins with ws:// (loopback, with a port) or wss://")


async def with_socket(way: Way, use: Callable[[Socket, trio.Nursery], Awaitable[T]], choice: Choice | None = None) -> T:
    """Connect, let `use` talk, close. `use` may start tasks in the nursery; they are cancelled when it returns.

    Who connects again and again keeps a `choice`, and says when it leaves an edge.

    Raises ChannelError (or another RemoteError), DiscoveryError, LocalError: no edge can be reached, or what `use`
    raises; the first error alone when there are several.
    """
    try:
        async with trio.open_nursery() as background:
            socket = await _open(background, way, choice or Choice())
            try:
                async with trio.open_nursery() as nursery:
                    result = await use(socket, nursery)
                    nursery.cancel_scope.cancel()
            finally:
                with trio.move_on_after(limits.CLOSE, shield=True):
                    await socket.aclose()
        return result  # noqa: TRY300 - it exists only if nothing was raised
    except BaseExceptionGroup as group:
        raise _first(group) from None


async def wait_message(socket: Socket, machine: Machine) -> None:
    """Until a message came or the machine's deadline passed; its events say what that means."""
    deadline = machine.deadline
    try:
        with trio.move_on_at(deadline if deadline is not None else float("inf")) as scope:
            data = await socket.receive()
    except trio.EndOfChannel:
        raise ChannelError("the edge closed the connection") from None
    if scope.cancelled_caught:
        machine.tick(trio.current_time())
    else:
        machine.receive(data, trio.current_time())


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """An error before a cancellation, and the first one."""
    errors = group.split(trio.Cancelled)[1]
    leaf: BaseException = errors if errors is not None else group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf


async def _open(nursery: trio.Nursery, way: Way, choice: Choice) -> Socket:
    match way:
        case OneOf():
            return await _first_that_answers(choice, way.edges, partial(_open_one, nursery), "no edge answers")
        case FoundEdge():
            endpoint = await way.resolver.discover(way.domain, service=Service.DEVICE)
            text = f"no edge of {way.domain} can be reached"
            return await _first_that_answers(choice, endpoint.targets, partial(_open_target, nursery, way), text)
        case GivenEdge():
            return await way.connect()
        case _:
            return await _first_that_answers(choice, [way], partial(_open_one, nursery))


async def _first_that_answers(
    choice: Choice, edges: Sequence[E], open_: Callable[[E], Awaitable[Socket]], text: str = ""
) -> Socket:
    """The first that opens, and a note of it in `choice`. Without `text` there is one only, and its error is raised."""
    failures = []
    for edge in choice.order(edges):
        try:
            socket = await open_(edge)
        except (ChannelError, NoMatch, trio.TooSlowError) as error:
            if not text:
                raise
            failures.append(f"{_name(edge)}: {str(error) or 'no answer in time'}")
        else:
            choice.here = _name(edge)
            return socket
    raise ChannelError(f"{text}: {'; '.join(failures)}")


async def _open_one(nursery: trio.Nursery, way: PlainEdge | NamedEdge) -> Socket:
    if isinstance(way, PlainEdge):
        return await _upgrade(nursery, await connect_any([way.address], way.port), way.address, way.port)
    stream = await _connect_host(way)
    return await _secure(nursery, stream, Target(host=way.host, port=way.port), way.roots)


async def _open_target(nursery: trio.Nursery, way: FoundEdge, target: Target) -> Socket:
    stream = await connect_any(target.addresses, target.port)
    return await _secure(nursery, stream, target, way.roots)


def _name(edge: "PlainEdge | NamedEdge | Target") -> str:
    return f"{edge.address if isinstance(edge, PlainEdge) else edge.host}:{edge.port}"


async def _connect_host(way: NamedEdge) -> trio.SocketStream:
    try:
        with trio.fail_after(limits.CONNECT):
            return await trio.open_tcp_stream(way.host, way.port)
    except (OSError, trio.TooSlowError) as error:
        raise ChannelError(f"cannot connect to {way.host} port {way.port}") from error


async def _secure(nursery: trio.Nursery, stream: trio.abc.Stream, target: Target, roots: Path | None) -> Socket:
    trust = PeerTrust.KEY if target.tlsa else PeerTrust.ROOTS  # [channel-10]
    tls = PqStream(stream, make_context(DEVICE, server=False, trust=trust, roots=roots), target.host)
    try:
        with trio.fail_after(limits.TLS_HANDSHAKE):
            negotiated = await tls.handshake()
        if target.tlsa:
            check_tlsa(target.tlsa, negotiated)
    except BaseException:
        await trio.aclose_forcefully(tls)
        raise
    return await _upgrade(nursery, tls, target.host, target.port)


async def _upgrade(nursery: trio.Nursery, stream: trio.abc.Stream, host: str, port: int) -> Socket:
    shown = f"[{host}]" if ":" in host else host
    with trio.fail_after(limits.WEBSOCKET_UPGRADE):
        return await connect_websocket(nursery, stream, DEVICE, f"{shown}:{port}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
