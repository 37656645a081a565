"""Questions to the configured resolvers: over UDP and, for long answers, TCP; over TLS to those that have a name.

in: a Question; out: the response as a message, its id, question and shape checked, nothing else believed.
Never: looks names up to find resolvers; they are literal addresses.
Source: RFC 1035 §4.2, RFC 5452, RFC 7766, RFC 7858.
"""

import enum
import secrets
import socket
import ssl
import struct
from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
import dns.flags
import dns.message
import dns.rcode
import trio
from dns.rdataclass import IN

from volly_fed import limits
from volly_fed.config.values import Server as Server
from volly_fed.daemon.dns.cache import SingleFlight, take
from volly_fed.daemon.dns.tls import TlsPool, frame, read_frame
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.message import Message, Question, has_ident, parse_response, query_for
from volly_fed.errors import BadMessage, Indeterminate

_IDENTS: Final = 1 << 16
_HEADER: Final = 12
_QUESTION: Final = struct.Struct("!HH")  # type and class, behind the name
_COUNT: Final = slice(4, 6)  # RFC 1035 §4.1.1: QDCOUNT
_USABLE: Final = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class Style(enum.Enum):
    """What a query asks for beside the records."""

    UNCHECKED = "DO, CD"
    """Signatures, and no validation there (RFC 4035 §3.2.2): we validate, or want to see what was refused."""
    VERDICT = "AD"
    """The resolver's verdict (RFC 6840 §5.7); no signatures."""
    SIGNED = "DO"
    """Signatures and the verdict."""


@attrs.frozen(kw_only=True)
class Reply:
    """A usable response and who gave it."""

    message: Message
    server: Server


class Unanswered(Indeterminate):
    """No server gave a usable response. `refusal` is the last SERVFAIL there was: it may say why (RFC 8914)."""

    def __init__(self, text: str, refusal: Reply | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal


class Transport:
    """Asks servers in turn. Every datagram has its own socket (random port) and a random id.

    The same question is sent once at a time, for all who ask it: several at once would be several chances for a forger.
    """

    def __init__(self, servers: Sequence[Server], tls: ssl.SSLContext | None = None) -> None:
        """`tls` replaces the system's certificate store for servers that have a name."""
        self.servers = tuple(servers)
        self._pool = TlsPool(tls)
        self._limiter = trio.Semaphore(limits.DNS_IN_FLIGHT)
        self._flights: SingleFlight[tuple[Question, Style, tuple[Server, ...]], Reply | Unanswered] = SingleFlight()

    def use(self, servers: Sequence[Server]) -> None:
        """Ask these from now on. Questions under way stay with the old ones."""
        self.servers = tuple(servers)

    async def ask(
        self,
        question: Question,
        budget: Budget,
        style: Style = Style.UNCHECKED,
        servers: Sequence[Server] | None = None,
    ) -> Reply:
        """The response, NOERROR or NXDOMAIN, of one of `servers` (of all, if left out).

        Raises Unanswered when no server gives one in time, and Indeterminate out of budget. Lost datagrams are sent
        again; a server that refuses, fails or answers nonsense is not asked twice.
        """
        chosen = self.servers if servers is None else tuple(servers)
        budget.spend_query()
        reply = await self._flights.do((question, style, chosen), partial(self._ask, question, budget, style, chosen))
        if isinstance(reply, Unanswered):
            raise Unanswered(str(reply), reply.refusal)  # a new one each time: it is raised in several tasks
        return reply

    async def _ask(
        self, question: Question, budget: Budget, style: Style, chosen: Sequence[Server]
    ) -> Reply | Unanswered:
        servers, wait = list(chosen), limits.DNS_RETRANSMIT
        reason, refusal = "no resolver is configured", None
        until = trio.current_time() + limits.DNS_PATIENCE
        for attempt in range(limits.DNS_ATTEMPTS):
            if not servers or trio.current_time() >= until:
                break
            if attempt:
                budget.spend_query()
            server = servers[attempt % len(servers)]
            try:
                await take(self._limiter)
                try:
                    message = await self._exchange(server, question, style, wait, budget)
                finally:
                    self._limiter.release()
            except trio.TooSlowError:
                self._postpone(server)
                reason, wait = f"{_text(server)} does not answer", min(wait * 2, limits.DNS_QUERY)
                continue
            except (OSError, BadMessage, trio.BrokenResourceError) as error:
                reason = f"{_text(server)}: {str(error) or type(error).__name__}"
            else:
                if message.rcode in _USABLE:
                    return Reply(message=message, server=server)
                reason = f"{_text(server)} answers {dns.rcode.to_text(message.rcode)}"
                if message.rcode == dns.rcode.SERVFAIL:
                    refusal = Reply(message=message, server=server)
            servers.remove(server)
        return Unanswered(f"{question}: {reason}", refusal)

    def _postpone(self, server: Server) -> None:
        """Let the others be asked first from now on: a dead server should not delay every question."""
        if server in self.servers:
            self.servers = (*(other for other in self.servers if other != server), server)

    async def _exchange(self, server: Server, question: Question, style: Style, wait: float, budget: Budget) -> Message:
        if server.name:
            with trio.fail_after(limits.DNS_QUERY):
                return parse_response(await self._pool.ask(server, partial(_query, question, style)), question, budget)
        # by hand: there is one for each question, and fail_after costs three times as much
        with trio.CancelScope(deadline=trio.current_time() + wait) as patience:
            wire = await _datagram(server, question, style)
        if patience.cancelled_caught:
            raise trio.TooSlowError
        try:
            message = parse_response(wire, question, budget)
            if not message.flags & dns.flags.TC:
                return message
        except BadMessage:
            pass  # cut short in the middle of a record, or a forgery with a lucky id: TCP tells
        with trio.fail_after(limits.DNS_QUERY):
            return parse_response(await _stream(server, question, style), question, budget)


def _text(server: Server) -> str:
    return f"resolver {server.host} port {server.port}{f' ({server.name})' if server.name else ''}"


def _query(question: Question, style: Style, ident: int) -> bytes:
    if style is Style.UNCHECKED:
        return query_for(question, ident)
    signed = style is Style.SIGNED
    query = dns.message.make_query(
        question.name, question.rdtype, use_edns=0, want_dnssec=signed, payload=limits.DNS_UDP_PAYLOAD, id=ident
    )
    query.flags |= dns.flags.AD
    return query.to_wire()


def _echoes(wire: bytes, question: Question, ident: int) -> bool:
    """Whether a datagram repeats the query's id and question: others are forgeries, or answers that come too late.

    A message without any question counts as well: some servers answer so when they cannot read the query.
    """
    if not has_ident(wire, ident):
        return False
    asked = question.name.to_digestable() + _QUESTION.pack(question.rdtype, IN)
    return not any(wire[_COUNT]) or wire[_HEADER : _HEADER + len(asked)].lower() == asked.lower()


async def _datagram(server: Server, question: Question, style: Style) -> bytes:
    ident = secrets.randbelow(_IDENTS)
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    # not trio's sockets: connect and send never wait here, and each would cost a turn of the event loop
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as datagrams:
        datagrams.connect((server.host, server.port))  # the kernel drops what comes from elsewhere
        datagrams.send(_query(question, style, ident))
        while True:
            await trio.lowlevel.wait_readable(datagrams)
            try:
                wire = datagrams.recv(limits.DNS_MAX_MESSAGE)
            except BlockingIOError:  # a damaged datagram, found out when it was read
                continue
            if _echoes(wire, question, ident):
                return wire


async def _stream(server: Server, question: Question, style: Style) -> bytes:
    ident = secrets.randbelow(_IDENTS)
    stream = await trio.open_tcp_stream(server.host, server.port)
    async with stream:
        await stream.send_all(frame(_query(question, style, ident)))
        wire = await read_frame(stream, bytearray())
    if not has_ident(wire, ident):
        raise BadMessage("an answer to another query")
    return wire
