"""Peers: what a hostile one, a dead one or a forbidden one can do to the others and to us."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import A, B, Site, endpoint, envelope, material, sites, some_limits
from volly_fed import limits
from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.codepoints import EnvelopeClass, ErrorCode, TrustLevel
from volly_fed.daemon.connection import Accepted, Connection, accept
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.tls import make_context
from volly_fed.errors import ChannelError
from volly_fed.handshake import Claimed, Outcome, Party
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust.policy import Policy
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Ack, Batch, Close, Open

Behave = Callable[[Connection], Awaitable[None]]


@attrs.define
class Rogue:
    """A peer with a proved identity that does what a test likes with its connections."""

    behave: Behave
    calls: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        keys = material(B)

        async def admit(_: Claimed, __: Negotiated) -> frozenset[Fingerprint]:
            return frozenset({material(A).fingerprint})

        async def confirm(_: Outcome) -> None:
            pass

        plan = Accepted(
            context=make_context(FEDERATION, server=True, identity=tls_identity(keys)),
            party=Party(name=B, key=keys.identity),
            admit=admit,
            confirm=confirm,
            use=self._use,
        )
        with suppress(ChannelError):
            await accept(stream, plan, proved=lambda: None)

    async def _use(self, connection: Connection) -> None:
        self.calls += 1
        with suppress(ChannelError, trio.EndOfChannel):
            await self.behave(connection)


@asynccontextmanager
async def rogue(a: Site, behave: Behave) -> AsyncIterator[Rogue]:
    peer = Rogue(behave)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    a.resolver.known = {**a.resolver.known, B: endpoint(B, port)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, peer.serve, listeners)
        yield peer
        nursery.cancel_scope.cancel()


async def hang_up(_: Connection) -> None:
    pass


async def overloaded(connection: Connection) -> None:
    """Answers every envelope with "later"."""
    socket = connection.socket
    while True:
        message = parse_message(await socket.receive())
        if isinstance(message, Open):
            await socket.send(encode_message(Ack(stream=message.stream, cursor=0)))
        elif isinstance(message, Batch):
            last = message.first + len(message.envelopes) - 1
            refusals = tuple((n, ErrorCode.OVERLOADED, "full") for n in range(message.first, last + 1))
            await socket.send(encode_message(Ack(stream=message.stream, cursor=last, refusals=refusals)))


@pytest.mark.spec("relay-17")
async def test_a_peer_that_proves_itself_and_hangs_up_is_not_dialled_withoutpause(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    a.limits = some_limits(backoff_cap=3600.0)
    async with a.running(listening=False), rogue(a, hang_up) as peer:
        await a.submit(envelope(B))
        await a.log.wait("link_down", count=2)
        backoff = await a.store.backoff(B)
        assert backoff is not None
        assert backoff.failures == peer.calls == 2


async def busy(connection: Connection) -> None:
    await connection.socket.send(encode_message(Close(code=ErrorCode.BUSY, text="busy", retry_after=1 << 60)))
    await connection.socket.receive()


async def test_a_busy_peer_is_not_a_failing_one_and_cannot_silence_us(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running(listening=False), rogue(a, busy):
        await a.submit(envelope(B))
        await a.log.wait("link_down", code="BUSY", count=4)
        (peer,) = a.server.peers.known()
        state, standing = peer.state, peer.standing
        assert (state in {"waiting", "dialling"}, standing.domain, standing.last_error) == (True, B, "busy")
        assert standing.failures <= 1
        assert standing.not_before <= time.time() + a.server.peers.attempts.cap


async def test_a_peer_that_never_has_room_holds_little_of_our_memory(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    total = 4 * limits.WINDOW_ENVELOPES
    frames = [envelope(B) for _ in range(total)]
    async with a.running(listening=False), rogue(a, overloaded):
        # before it has said so even once, all that is submitted waits in memory for the link: another limit
        await a.submit(*frames[: limits.BATCH_ENVELOPES])
        await a.until(lambda: a.server.peers._peer(B).room(EnvelopeClass.SIGNAL) == 0)
        for at in range(limits.BATCH_ENVELOPES, total, limits.BATCH_ENVELOPES):
            await a.submit(*frames[at : at + limits.BATCH_ENVELOPES])
        most = 0
        for _ in range(40):
            await trio.testing.wait_all_tasks_blocked(0.005)
            most = max(most, a.server.peers._peer(B).unsettled)
        assert limits.BATCH_ENVELOPES <= most <= 3 * limits.WINDOW_ENVELOPES
        assert a.settled == []
        assert a.store.outbound_depth(B)[0] == total


async def test_a_dead_peer_costs_the_others_nothing(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        nowhere = [DomainName(f"n{number}.test") for number in range(20)]
        for domain in nowhere:
            await a.submit(envelope(domain))
        await a.submit(envelope(B))
        await a.until(lambda: len(a.settled) == 1)


async def test_the_number_of_peers_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEERS", 2)
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        assert await a.submit(envelope(DomainName("one.test")), envelope(DomainName("two.test"))) == ()
        (refusal,) = await a.submit(envelope(B), envelope(DomainName("one.test")))
        assert refusal[1] is ErrorCode.OVERLOADED
        await b.submit(envelope(A))
        await a.log.wait("claim_refused", code="BUSY")


async def test_a_peer_without_work_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEER_LINGER", 0.02)
    a, b = sites(tmp_path, A, B)
    async with a.running():
        async with b.running():
            await b.register()
            await a.submit(envelope(B))
            await a.until(lambda: len(a.settled) == 1)
            assert B in a.server.peers._peers
        await a.log.wait("link_down")
        while a.server.peers._peers:
            await trio.testing.wait_all_tasks_blocked()
        async with b.running():
            await a.submit(envelope(B))
            await a.until(lambda: len(a.settled) == 2)


async def test_no_link_with_whom_the_policy_refuses_and_envelopes_wait(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.policy = Policy(default=TrustLevel.NONE)
    async with a.running(), b.running():
        await a.submit(envelope(B))
        failure = await a.log.wait("dial_failed", peer=B)
        assert "policy" in failure["reason"]
        assert "default" not in failure["reason"]  # the rule that decided stays over there
        assert (await b.log.wait("decided", gate="accept"))["reason"].count("default") == 1
        assert a.store.outbound_depth(B)[0] == 1
        assert b.log.all("link_up") == []


async def test_what_a_peer_had_no_room_for_keeps_its_class_and_its_order(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running(listening=False):
        peer = a.server.peers._peer(B)
        ring, signal, bulk = EnvelopeClass
        frames = [envelope(B, urgency=urgency) for urgency in (bulk, ring, bulk, signal)]
        young = envelope(B, urgency=bulk)
        peer.outbound.offer([(9, young)], bulk)
        peer.later([(4, frames[3]), (3, frames[2])])
        peer.later([(1, frames[0]), (2, frames[1])])
        peer.offer_later()
        assert [[key for key, _ in waiting] for waiting in peer.outbound._waiting] == [[2], [4], [1, 3, 9]]
