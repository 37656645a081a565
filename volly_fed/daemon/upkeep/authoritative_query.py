"""One question to one authoritative name server: over UDP, again over TCP where the answer does not fit.

in: a literal address and a Question; out: the response as a message, its id, question and shape checked.
Never: asks for recursion, believes a server without authority, or takes longer than limits.DNS_QUERY an attempt.
Source: RFC 1035 §4.2, RFC 2181 §5.4.1 (authority), RFC 5452, RFC 7766.
"""

import secrets
import socket
from typing import Final

import dns.flags
import dns.message
import dns.rcode
import trio

from volly_fed import limits
from volly_fed.discovery.message import Message, Question, has_ident, parse_response
from volly_fed.errors import BadMessage, Indeterminate

_IDENTS: Final = 1 << 16
_LENGTH: Final = 2  # RFC 1035 §4.2.2
_USABLE: Final = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class Unroutable(Indeterminate):
    """This machine has no way to the address: it says nothing about the server."""


async def ask(address: str, port: int, question: Question, *, referral: bool = False) -> Message:
    """The server's own answer, NOERROR or NXDOMAIN. Raises Indeterminate: no answer, or one without authority.

    With `referral` it may also be one that only names the servers of a zone below (RFC 1034 §4.2.1). A lost datagram
    is sent again; takes a few times limits.DNS_QUERY at most.
    """
    try:
        message = await _exchange(address, port, question)
    except trio.TooSlowError:
        raise Indeterminate("it does not answer") from None
    except BadMessage as error:
        raise Indeterminate(str(error)) from error
    if message.rcode not in _USABLE:
        raise Indeterminate(f"it answers {dns.rcode.to_text(message.rcode)}")
    if not (referral or message.flags & dns.flags.AA):
        raise Indeterminate("it answers without authority: the zone is delegated to it, and it does not hold the zone")
    return message


async def _exchange(address: str, port: int, question: Question) -> Message:
    try:
        wire = await _datagrams(address, port, question)
        message = parse_response(wire, question)
        if not message.flags & dns.flags.TC:
            return message
    except BadMessage:
        pass  # cut short in the middle of a record: TCP tells
    except OSError as error:
        raise _unreachable(error) from error
    try:
        with trio.fail_after(limits.DNS_QUERY):
            return parse_response(await _stream(address, port, question), question)
    except (OSError, trio.BrokenResourceError) as error:
        raise Indeterminate("its answer does not fit into UDP, and it does not speak TCP") from error


def _unreachable(error: OSError) -> Indeterminate:
    if isinstance(error, ConnectionRefusedError):
        return Indeterminate("nothing listens there")
    return Unroutable(f"this machine does not reach it ({error.strerror or type(error).__name__})")


def _query(question: Question, ident: int) -> bytes:
    query = dns.message.make_query(
        question.name, question.rdtype, want_dnssec=True, payload=limits.DNS_UDP_PAYLOAD, id=ident, flags=0
    )
    return query.to_wire()


async def _datagrams(address: str, port: int, question: Question) -> bytes:
    """Attempts with growing patience. Raises TooSlowError after the last."""
    wait = limits.DNS_RETRANSMIT
    while True:
        try:
            with trio.fail_after(wait):
                return await _datagram(address, port, question)
        except trio.TooSlowError:
            if wait >= limits.DNS_QUERY:
                raise
            wait = min(wait * 2, limits.DNS_QUERY)


async def _datagram(address: str, port: int, question: Question) -> bytes:
    ident = secrets.randbelow(_IDENTS)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        await datagrams.connect((address, port))  # the kernel drops what comes from elsewhere
        await datagrams.send(_query(question, ident))
        while True:
            wire = await datagrams.recv(limits.DNS_MAX_MESSAGE)
            if has_ident(wire, ident):
                return wire


async def _stream(address: str, port: int, question: Question) -> bytes:
    ident = secrets.randbelow(_IDENTS)
    query = _query(question, ident)
    async with await trio.open_tcp_stream(address, port) as stream:
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
