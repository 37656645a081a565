"""Questions to the configured resolvers, over UDP and, for long answers, TCP.

in: a Question; out: the response as a message, its id, question and shape checked, nothing else believed.
Never: looks names up to find resolvers; they are literal addresses. Source: RFC 1035 §4.2, RFC 5452, RFC 7766.
"""

import secrets
import socket
from collections.abc import Sequence
from typing import Final, TypeAlias

import dns.flags
import dns.message
import dns.rcode
import trio

from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.message import Question, has_ident, parse_response, query_for
from volly_fed.errors import BadMessage, Indeterminate

Server: TypeAlias = tuple[str, int]
"""A literal address and a port."""

_IDENTS: Final = 1 << 16
_LENGTH: Final = 2  # RFC 1035 §4.2.2
_USABLE: Final = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class Transport:
    """Asks `servers` in turn. Every question has its own socket (random port) and a random id."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = tuple(servers)
        self._limiter = trio.CapacityLimiter(limits.DNS_IN_FLIGHT)

    async def ask(self, question: Question, budget: Budget) -> dns.message.Message:
        """The response, NOERROR or NXDOMAIN. Raises Indeterminate when no server gives one in time.

        Lost datagrams are sent again; a server that refuses, fails or answers nonsense is not asked twice.
        """
        servers, wait = list(self._servers), limits.DNS_RETRANSMIT
        reason = "no resolver is configured"
        for attempt in range(limits.DNS_ATTEMPTS):
            if not servers:
                break
            server = servers[attempt % len(servers)]
            budget.spend_query()
            try:
                async with self._limiter:
                    message = await _exchange(server, question, wait)
            except trio.TooSlowError:
                reason, wait = f"{_text(server)} does not answer", min(wait * 2, limits.DNS_QUERY)
                continue
            except (OSError, BadMessage, trio.BrokenResourceError) as error:
                reason = f"{_text(server)}: {str(error) or type(error).__name__}"
            else:
                if message.rcode() in _USABLE:
                    return message
                reason = f"{_text(server)} answers {dns.rcode.to_text(message.rcode())}"
            servers.remove(server)
        raise Indeterminate(f"{question}: {reason}")


def _text(server: Server) -> str:
    return f"resolver {server[0]} port {server[1]}"


async def _exchange(server: Server, question: Question, wait: float) -> dns.message.Message:
    with trio.fail_after(wait):
        wire = await _datagram(server, question)
    try:
        message = parse_response(wire, question)
        if not message.flags & dns.flags.TC:
            return message
    except BadMessage:
        pass  # cut short in the middle of a record, or a forgery with a lucky id: TCP tells
    with trio.fail_after(limits.DNS_QUERY):
        return parse_response(await _stream(server, question), question)


async def _datagram(server: Server, question: Question) -> bytes:
    ident = secrets.randbelow(_IDENTS)
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        await datagrams.connect(server)  # the kernel drops what comes from elsewhere
        await datagrams.send(query_for(question, ident))
        while True:
            wire = await datagrams.recv(limits.DNS_MAX_MESSAGE)
            if has_ident(wire, ident):
                return wire


async def _stream(server: Server, question: Question) -> bytes:
    ident = secrets.randbelow(_IDENTS)
    query = query_for(question, ident)
    stream = await trio.open_tcp_stream(*server)
    async with stream:
        await stream.send_all(len(query).to_bytes(_LENGTH) + query)
        size = int.from_bytes(await _read(stream, _LENGTH))
        if size > limits.DNS_MAX_MESSAGE:
            raise BadMessage(f"an answer of {size} bytes is refused")
        wire = await _read(stream, size)
    if not has_ident(wire, ident):
        raise BadMessage("an answer to another query")
    return wire


async def _read(stream: trio.SocketStream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = await stream.receive_some(size - len(received))
        if not chunk:
            raise BadMessage("the connection ended in the middle of an answer")
        received += chunk
    return bytes(received)
