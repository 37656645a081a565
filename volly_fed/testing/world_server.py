"""Serves a test world's names on loopback, UDP and TCP on one port.

in: a responder (messages in, messages out) and an address; out: a running server until cancelled.
Never: binds anything but what it is told to. Source: RFC 1035 §4.2, RFC 6891.
"""

import socket
from typing import Final, Protocol

import dns.exception
import dns.flags
import dns.message
import trio

from volly_fed import limits

_LENGTH: Final = 2  # RFC 1035 §4.2.2
_PLAIN_UDP: Final = 512  # without EDNS, RFC 1035 §2.3.4
_MAX_UDP: Final = 65535
_PORT_ATTEMPTS: Final = 20


class Names(Protocol):
    """Whoever knows the answers: `World`."""

    def respond(self, query: dns.message.Message, *, udp: bool) -> dns.message.Message | bytes | None:
        """The response, raw bytes to send as they are, or None for silence."""
        ...


class WorldServer:
    """A name server for `names`; `queries` counts what was asked, for tests of caches."""

    def __init__(self, names: Names) -> None:
        self.queries = 0
        self._names = names

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; reports (host, port) as started. Raises OSError where the port is taken."""
        listener, datagrams = await _bind(host, port)
        address = (host, int(datagrams.getsockname()[1]))
        with datagrams:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_datagrams, datagrams)
                nursery.start_soon(trio.serve_listeners, self._serve_stream, [listener])
                task_status.started(address)

    async def _serve_datagrams(self, datagrams: trio.socket.SocketType) -> None:
        while True:
            wire, sender = await datagrams.recvfrom(_MAX_UDP)
            answer = self._answer(wire, udp=True)
            if answer is not None:
                await datagrams.sendto(answer, sender)

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        received = bytearray()
        try:
            async for chunk in stream:
                received += chunk
                while (wire := _take(received)) is not None:
                    answer = self._answer(wire, udp=False)
                    if answer is not None:
                        await stream.send_all(len(answer).to_bytes(_LENGTH) + answer)
        except trio.BrokenResourceError:
            return  # the other end went away: a name server does not mind

    def _answer(self, wire: bytes, *, udp: bool) -> bytes | None:
        self.queries += 1
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        response = self._names.respond(query, udp=udp) if query.question else None
        if response is None or isinstance(response, bytes):
            return response
        return _encode(query, response, udp=udp)


def _encode(query: dns.message.Message, response: dns.message.Message, *, udp: bool) -> bytes:
    room = _MAX_UDP
    if udp:
        room = max(_PLAIN_UDP, min(query.payload, limits.DNS_UDP_PAYLOAD)) if query.edns >= 0 else _PLAIN_UDP
    try:
        return response.to_wire(max_size=room)
    except dns.exception.TooBig:
        short = dns.message.make_response(query, recursion_available=True)
        short.flags |= dns.flags.TC
        return short.to_wire()


def _take(received: bytearray) -> bytes | None:
    """One whole message off the front of `received`, or None for "more data"."""
    size = int.from_bytes(received[:_LENGTH])
    if len(received) < _LENGTH + size or len(received) < _LENGTH:
        return None
    wire = bytes(received[_LENGTH : _LENGTH + size])
    del received[: _LENGTH + size]
    return wire


async def _bind(host: str, port: int) -> tuple[trio.SocketListener, trio.socket.SocketType]:
    """TCP first, then UDP on the same port: a port that the kernel picks for one may be taken for the other."""
    for attempt in range(_PORT_ATTEMPTS):
        (listener,) = await trio.open_tcp_listeners(port, host=host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        datagrams = trio.socket.socket(family, socket.SOCK_DGRAM)
        try:
            await datagrams.bind((host, listener.socket.getsockname()[1]))
        except OSError:
            datagrams.close()
            await listener.aclose()
            if port or attempt == _PORT_ATTEMPTS - 1:
                raise
        else:
            return listener, datagrams
    raise AssertionError("the last attempt returns or raises")
