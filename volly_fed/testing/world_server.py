"""Serves a test world's names on loopback, UDP and TCP on one port, at once or after a delay.

in: a responder (messages in, replies out) and an address; out: a running server until cancelled.
Never: binds anything but what it is told to, or holds more than `_IN_FLIGHT` answers back at once.
Source: RFC 1035 §4.2, RFC 6891, RFC 7766 §6.2.1.1 (answers on one connection come in any order).
"""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeAlias

import attrs
import dns.exception
import dns.flags
import dns.message
import trio

from volly_fed import limits

Response: TypeAlias = dns.message.Message | bytes | None
"""A message, bytes to send as they are, or None for silence."""


@attrs.frozen
class Later:
    """`response`, but not before `seconds` have passed; other questions are answered meanwhile."""

    seconds: float
    response: Response


@attrs.frozen
class Datagrams:
    """Several datagrams for one question, in this order; over TCP only the last of them."""

    responses: tuple[Response, ...]


Reply: TypeAlias = Response | Later | Datagrams
"""What a server can do about one question."""

_LENGTH: Final = 2  # RFC 1035 §4.2.2
_PLAIN_UDP: Final = 512  # without EDNS, RFC 1035 §2.3.4
_MAX_UDP: Final = 65535
_PORT_ATTEMPTS: Final = 20
_IN_FLIGHT: Final = 1024
_Send: TypeAlias = Callable[[bytes], Awaitable[None]]


class Names(Protocol):
    """Whoever knows the answers: `World`."""

    def reply(self, query: dns.message.Message, *, udp: bool) -> Reply:
        """What to do about `query`."""
        ...


class WorldServer:
    """A name server for `names`; `queries` counts what was asked, for tests of caches."""

    def __init__(self, names: Names, *, delay: float = 0.0) -> None:
        """`delay`: seconds by which every answer is held back, as by a round trip; questions do not wait in line.

        A TCP handshake is the kernel's, and takes no such time.
        """
        self.queries = 0
        self._names = names
        self._delay = delay

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
                room = trio.Semaphore(_IN_FLIGHT)
                nursery.start_soon(self._serve_datagrams, datagrams, nursery, room)
                nursery.start_soon(trio.serve_listeners, lambda stream: self._serve_stream(stream, room), [listener])
                task_status.started(address)

    async def _serve_datagrams(
        self, datagrams: trio.socket.SocketType, nursery: trio.Nursery, room: trio.Semaphore
    ) -> None:
        while True:
            wire, sender = await datagrams.recvfrom(_MAX_UDP)
            send = partial(_send_datagram, datagrams, sender)
            await self._handle(wire, send, nursery, room, udp=True)

    async def _serve_stream(self, stream: trio.SocketStream, room: trio.Semaphore) -> None:
        received, send = bytearray(), partial(_send_on, stream, trio.Lock())
        async with trio.open_nursery() as nursery:
            try:
                async for chunk in stream:
                    received += chunk
                    while (wire := _take(received)) is not None:
                        await self._handle(wire, send, nursery, room, udp=False)
            except trio.BrokenResourceError:
                return  # the other end went away: a name server does not mind

    async def _handle(
        self, wire: bytes, send: _Send, nursery: trio.Nursery, room: trio.Semaphore, *, udp: bool
    ) -> None:
        """Answer one question: at once, or in a task of its own."""
        seconds, answers = self._answers(wire, udp=udp)
        if not (seconds and answers):
            for answer in answers:
                await send(answer)
            return
        await room.acquire()

        async def later() -> None:
            try:
                await trio.sleep(seconds)
                for answer in answers:
                    await send(answer)
            finally:
                room.release()

        nursery.start_soon(later)

    def _answers(self, wire: bytes, *, udp: bool) -> tuple[float, list[bytes]]:
        """How long to wait, and what to send then."""
        self.queries += 1
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return 0, []
        reply = self._names.reply(query, udp=udp) if query.question else None
        seconds = self._delay
        if isinstance(reply, Later):
            seconds, reply = seconds + reply.seconds, reply.response
        responses = reply.responses if isinstance(reply, Datagrams) else (reply,)
        chosen = [response for response in (responses if udp else responses[-1:]) if response is not None]
        return seconds, [
            response if isinstance(response, bytes) else _encode(query, response, udp=udp) for response in chosen
        ]


async def _send_datagram(datagrams: trio.socket.SocketType, to: tuple[object, ...], answer: bytes) -> None:
    await datagrams.sendto(answer, to)


async def _send_on(stream: trio.SocketStream, lock: trio.Lock, answer: bytes) -> None:
    async with lock:
        try:
            await stream.send_all(len(answer).to_bytes(_LENGTH) + answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # as in `_serve_stream`


def settled(reply: Reply) -> Response:
    """What one who waits, and is not fooled by what comes first, gets in the end."""
    if isinstance(reply, Later):
        return reply.response
    return reply.responses[-1] if isinstance(reply, Datagrams) else reply


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
