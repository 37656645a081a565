"""From a TCP stream to a peer that has proved who it is: TLS, WebSocket, handshake, in both roles.

in: a fresh stream, our TLS context and Party, and the caller's judgement of keys and claims; out: a Connection that
is handed to `use`, inside the nursery of this connection, and closed when that returns.
Never: hands out a connection before both proofs, or keeps one open after `use`.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.codepoints import TLS_SIGNATURE_NAME, ErrorCode
from volly_fed.daemon.handshake_pool import in_pool
from volly_fed.daemon.tls import TlsContext
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import NORMAL, Socket, accept_websocket, connect_websocket
from volly_fed.errors import ChannelError, DiscoveryError, LocalError, Refused, RemoteError, VollyFedError
from volly_fed.handshake import (
    Accept,
    ChannelBinding,
    Claimed,
    Established,
    Event,
    Expired,
    Initiator,
    Outcome,
    Party,
    Prove,
    Proved,
    Responder,
    Start,
    refusal,
)
from volly_fed.names import DomainName, Fingerprint, fingerprint_text


@attrs.frozen(kw_only=True)
class Connection:
    """A link whose other end has proved its identity. `took` is seconds from the TCP stream to the last proof.

    `negotiated` is without the peer's certificate and key: both are judged, and would stay in memory for days.
    `records_until` is when the records that its keys were compared with run out (Unix seconds), where there were any.
    """

    socket: Socket
    negotiated: Negotiated
    outcome: Outcome
    took: float
    records_until: float | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """For the log."""
        return {
            "peer": self.outcome.peer,
            "role": self.outcome.role.name.lower(),
            "fingerprint": fingerprint_text(self.outcome.fingerprint),
            "group": self.negotiated.group,
            "signature": TLS_SIGNATURE_NAME,
            "took_ms": round(self.took * 1000, 1),
        }


Use = Callable[[Connection], Awaitable[None]]
Confirm = Callable[[Outcome], Awaitable[None]]
"""The `establish` gate: returns, or raises RemoteError to refuse."""


@attrs.frozen(kw_only=True)
class Dialled:
    """What a dialler knows and wants: whom, under which keys, and what to do with the connection."""

    context: TlsContext
    party: Party
    host: str
    """The TLSA base domain: SNI and Host header."""
    wanted: DomainName
    expected: frozenset[Fingerprint]
    check_key: Callable[[Negotiated], None]
    """Compares the server's TLS key with what is published or enrolled; raises NoMatch."""
    confirm: Confirm
    use: Use


@attrs.frozen(kw_only=True)
class Accepted:
    """What an acceptor brings: how it judges claims, and what to do with a proved connection."""

    context: TlsContext
    party: Party
    admit: Callable[[Claimed, Negotiated], Awaitable[frozenset[Fingerprint]]]
    """Judges a claim: the identities it may prove, or an error that refuses it."""
    confirm: Confirm
    use: Use


async def dial(stream: trio.abc.Stream, plan: Dialled) -> None:
    """Prove ourselves to the server at the other end of `stream` and it to us, then `use` the connection.

    Raises ChannelError, NoMatch, Refused, RemoteError: no connection came about, or it broke; and what `use` raises.

    Resource handling: `stream` is closed in every case.
    """
    began = trio.current_time()

    async def proceed(nursery: trio.Nursery) -> None:
        tls, negotiated = await secure(stream, plan.context, plan.host)
        plan.check_key(negotiated)  # [channel-9]
        with _timed(limits.WEBSOCKET_UPGRADE, "the WebSocket did not open in time"):
            socket = await connect_websocket(nursery, tls, plan.context.profile, plan.host)
        outcome = await _answering(socket, partial(_initiate, _binding(tls, negotiated), socket, plan))
        negotiated = tls.forget_certificate()
        await _use(plan.use, Connection(socket=socket, negotiated=negotiated, outcome=outcome, took=_since(began)))

    await _owning(stream, proceed)


async def accept(
    stream: trio.abc.Stream,
    plan: Accepted,
    *,
    secured: Callable[[], None] = lambda: None,
    proved: Callable[[], None],
) -> None:
    """Let the caller at the other end of `stream` prove itself, then `use` the connection.

    `secured` is called when TLS has been agreed on, `proved` as soon as the caller is a stranger no more. Raises and
    closes like `dial`.
    """
    began = trio.current_time()

    async def proceed(nursery: trio.Nursery) -> None:
        tls, negotiated = await secure(stream, plan.context, "")
        secured()
        with _timed(limits.WEBSOCKET_UPGRADE, "the WebSocket did not open in time"):
            socket = await accept_websocket(nursery, tls, plan.context.profile)
        outcome = await _answering(socket, partial(_respond, _binding(tls, negotiated), socket, plan, negotiated))
        proved()
        negotiated = tls.forget_certificate()
        await _use(plan.use, Connection(socket=socket, negotiated=negotiated, outcome=outcome, took=_since(began)))

    await _owning(stream, proceed)


async def _owning(stream: trio.abc.Stream, proceed: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    """Run `proceed` in this connection's nursery; only one plain error of ours comes out, everything is closed."""
    failure: VollyFedError | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                await proceed(nursery)
            except VollyFedError as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


async def secure(stream: trio.abc.Stream, context: TlsContext, host: str) -> tuple[PqStream, Negotiated]:
    """TLS over `stream`, with what it agreed on checked against the profile; the keys are not judged yet."""
    tls = PqStream(stream, context, host)
    with _timed(limits.TLS_HANDSHAKE, "the TLS handshake did not finish in time"):
        return tls, await tls.handshake()


def _binding(tls: PqStream, negotiated: Negotiated) -> ChannelBinding:
    return ChannelBinding.of(
        tls.export,  # [channel-11]
        alpn=negotiated.alpn,
        group=negotiated.group,
        own_spki_sha256=negotiated.own_spki_sha256,
        peer_spki_sha256=negotiated.peer_spki_sha256,
    )


async def _initiate(binding: ChannelBinding, socket: Socket, plan: Dialled) -> Outcome:
    machine = Initiator(
        own=plan.party,
        wanted=plan.wanted,
        expected=plan.expected,
        binding=binding,
        random=os.urandom,
        deadline=trio.current_time() + limits.HANDSHAKE,
    )
    await socket.send(machine.send(Start()))
    await _next_event(machine, socket)  # Greeted: name and identity are the expected ones
    await socket.send(await in_pool(partial(machine.send, Prove())))
    event = await _next_event(machine, socket, verify=True)
    assert isinstance(event, Established), "the table leads nowhere else"  # [handshake-12]
    await plan.confirm(event.outcome)
    return event.outcome


async def _respond(binding: ChannelBinding, socket: Socket, plan: Accepted, negotiated: Negotiated) -> Outcome:
    machine = Responder(
        own=plan.party, binding=binding, random=os.urandom, deadline=trio.current_time() + limits.HANDSHAKE
    )
    claim = await _next_event(machine, socket)
    assert isinstance(claim, Claimed), "the table leads nowhere else"
    expected = await plan.admit(claim, negotiated)
    await socket.send(machine.send(Accept(expected=expected)))
    event = await _next_event(machine, socket, verify=True)
    assert isinstance(event, Proved), "the table leads nowhere else"
    await plan.confirm(event.outcome)
    await socket.send(await in_pool(partial(machine.send, Prove())))
    return event.outcome


async def _next_event(machine: Initiator | Responder, socket: Socket, *, verify: bool = False) -> Event:
    """What the other end's next message means; `verify` where it holds a signature, which takes its time."""
    while not (events := machine.events()):
        deadline = machine.deadline
        assert deadline is not None, "only an unfinished handshake waits for messages"
        with trio.move_on_at(deadline) as scope:
            take = partial(machine.receive, await socket.receive(), trio.current_time())
            await in_pool(take) if verify else take()
        if scope.cancelled_caught:
            machine.tick(trio.current_time())
    if isinstance(events[0], Expired):
        raise events[0].error
    return events[0]


async def _answering(socket: Socket, handshake: Callable[[], Awaitable[Outcome]]) -> Outcome:  # [handshake-23]
    """Run `handshake`; tell the other end why, where it is refused."""
    try:
        with _timed(limits.HANDSHAKE, "the handshake did not finish in time"):
            return await handshake()
    except Refused:  # [wire-27]
        await socket.aclose(NORMAL)
        raise
    except trio.EndOfChannel:
        raise ChannelError("the connection was closed in the middle of the handshake") from None
    except (RemoteError, DiscoveryError, LocalError) as error:
        await _refuse(socket, _as_answer(error))
        raise


def _as_answer(error: VollyFedError) -> RemoteError:
    """What the other end may know of `error`: our own troubles are only "busy"."""
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, DiscoveryError):
        return RemoteError(str(error), code=ErrorCode.DISCOVERY)  # [handshake-16] [discovery-29]
    return RemoteError("not at the moment", code=ErrorCode.BUSY)  # [handshake-24]


async def _refuse(socket: Socket, error: RemoteError) -> None:  # [handshake-22]
    with trio.move_on_after(limits.CLOSE):
        try:
            await socket.send(refusal(error))  # [wire-25]
        except ChannelError:
            return
        await socket.aclose(NORMAL)


async def _use(use: Use, connection: Connection) -> None:
    try:
        await use(connection)
    finally:
        # not shielded: a cancelled process has no time for goodbyes, and aclose then closes at once
        await connection.socket.aclose(NORMAL)


def _since(began: float) -> float:
    return trio.current_time() - began


@contextmanager
def _timed(seconds: float, text: str) -> Iterator[None]:
    """As trio.fail_after, with an error of ours."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ChannelError(text, code=ErrorCode.TIMEOUT)
