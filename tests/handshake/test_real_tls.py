"""The handshake over real TLS: real exporters and certificates, and a man in the middle between two real legs."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache

import attrs
import pytest
import trio
import trio.testing

from tests.handshake.peers import A, B, prints
from volly_fed import limits
from volly_fed.channel import EDGE, FEDERATION, ChannelProfile, check_negotiated
from volly_fed.codepoints import TLS_GROUP, ErrorCode
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.errors import RemoteError
from volly_fed.handshake import Accept, ChannelBinding, Initiator, Outcome, Prove, Responder, Start
from volly_fed.handshake.outcome import Established

Legs = tuple[PqStream, PqStream]
_PREFIX = 4


@cache
def tls(name: str) -> TlsIdentity:
    return TlsIdentity.from_key(TlsKey.generate(), name, datetime.now(UTC))


async def leg(dialler: str, acceptor: str, profile: ChannelProfile = FEDERATION) -> Legs:
    """One TLS connection in memory between the holders of two TLS keys."""
    near, far = trio.testing.memory_stream_pair()
    ends = (
        PqStream(near, make_context(profile, server=False, identity=tls(dialler))),
        PqStream(far, make_context(profile, server=True, identity=tls(acceptor))),
    )
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.handshake)
    for end in ends:
        check_negotiated(profile, end.negotiated)
    return ends


@asynccontextmanager
async def closing(*streams: PqStream) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)


def binding(stream: PqStream) -> ChannelBinding:
    return ChannelBinding.of(
        stream.export,
        alpn=stream.negotiated.alpn,
        group=stream.negotiated.group,
        own_spki_sha256=stream.negotiated.own_spki_sha256,
        peer_spki_sha256=stream.negotiated.peer_spki_sha256,
    )


async def send(stream: PqStream, message: bytes) -> None:
    await stream.send_all(len(message).to_bytes(_PREFIX, "big") + message)


async def receive(stream: PqStream) -> bytes:
    data = b""
    while len(data) < _PREFIX or len(data) < _PREFIX + int.from_bytes(data[:_PREFIX], "big"):
        piece = await stream.receive_some()
        assert piece, "the other end closed"
        data += piece
    return data[_PREFIX:]


async def dial(stream: PqStream) -> Outcome:
    machine = Initiator(
        own=A,
        wanted=B.name,
        expected=prints(B),
        binding=binding(stream),
        random=os.urandom,
        deadline=limits.HANDSHAKE,
    )
    await send(stream, machine.send(Start()))
    machine.receive(await receive(stream), 0)
    machine.events()
    await send(stream, machine.send(Prove()))
    machine.receive(await receive(stream), 0)
    return established(machine)


async def accept(stream: PqStream) -> Outcome:
    machine = Responder(own=B, binding=binding(stream), random=os.urandom, deadline=limits.HANDSHAKE)
    machine.receive(await receive(stream), 0)
    await send(stream, machine.send(Accept(expected=prints(A))))
    machine.events()
    machine.receive(await receive(stream), 0)
    machine.events()
    await send(stream, machine.send(Prove()))
    return established(machine)


def established(machine: Initiator | Responder) -> Outcome:
    [event] = machine.events()
    assert isinstance(event, Established)
    return event.outcome


async def both(near: PqStream, far: PqStream) -> dict[str, Outcome | ErrorCode]:
    """Play both ends; an end that refuses closes its stream, which cuts the other one off."""
    results: dict[str, Outcome | ErrorCode] = {}

    async def play(name: str, part: Callable[[PqStream], Awaitable[Outcome]], stream: PqStream) -> None:
        try:
            results[name] = await part(stream)
        except RemoteError as error:
            results[name] = error.code
            scope.cancel()

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, "dialler", dial, near)
            nursery.start_soon(play, "acceptor", accept, far)
    return results


async def test_over_one_connection() -> None:
    near, far = await leg("a", "b")
    async with closing(near, far):
        results = await both(near, far)
    dialled, accepted = results["dialler"], results["acceptor"]
    assert isinstance(dialled, Outcome)
    assert isinstance(accepted, Outcome)
    assert (dialled.peer, accepted.peer) == (B.name, A.name)


@pytest.mark.spec("channel-11")
async def test_both_ends_derive_the_same_facts() -> None:
    near, far = await leg("a", "b")
    async with closing(near, far):
        ours, theirs = binding(near), binding(far)
    assert ours.exporter_dialler == theirs.exporter_dialler
    assert ours.exporter_acceptor == theirs.exporter_acceptor
    assert ours.exporter_dialler != ours.exporter_acceptor
    assert (ours.own_spki_sha256, ours.peer_spki_sha256) == (theirs.peer_spki_sha256, theirs.own_spki_sha256)
    assert ours.group == theirs.group == TLS_GROUP.encode()
    assert ours.alpn == theirs.alpn == FEDERATION.alpn
    assert ours.exporter_dialler.hex() not in repr(ours)


async def relay(source: PqStream, sink: PqStream) -> None:
    while piece := await source.receive_some():
        await sink.send_all(piece)


@pytest.mark.parametrize(("shown_to_a", "shown_to_b"), [("m", "m"), ("b", "a"), ("b", "m"), ("m", "a")])
async def test_a_man_in_the_middle(shown_to_a: str, shown_to_b: str) -> None:
    """He passes every certificate check: with keys of his own that count as published, or even with theirs."""
    near, mallory_near = await leg("a", shown_to_a)
    mallory_far, far = await leg(shown_to_b, "b")
    async with closing(near, far, mallory_near, mallory_far), trio.open_nursery() as nursery:
        nursery.start_soon(relay, mallory_near, mallory_far)
        nursery.start_soon(relay, mallory_far, mallory_near)
        results = await both(near, far)
        nursery.cancel_scope.cancel()
    assert results == {"acceptor": ErrorCode.BAD_SIGNATURE}


async def test_a_recorded_proof_on_another_connection_with_the_same_certificates() -> None:
    first_near, first_far = await leg("a", "b")
    second_near, second_far = await leg("a", "b")
    async with closing(first_near, first_far, second_near, second_far):
        facts = binding(first_near), binding(second_near)
        assert attrs.evolve(facts[0], exporter_dialler=facts[1].exporter_dialler) != facts[1]
        assert facts[0].exporter_dialler != facts[1].exporter_dialler
        own = Initiator(
            own=A, wanted=B.name, expected=prints(B), binding=facts[0], random=os.urandom, deadline=limits.HANDSHAKE
        )
        there = Responder(own=B, binding=binding(second_far), random=os.urandom, deadline=limits.HANDSHAKE)
        there.receive(own.send(Start()), 0)
        own.receive(there.send(Accept(expected=prints(A))), 0)
        with pytest.raises(RemoteError) as caught:
            there.receive(own.send(Prove()), 0)
    assert caught.value.code is ErrorCode.BAD_SIGNATURE


async def test_an_edge_link_uses_the_same_handshake() -> None:
    near, far = await leg("a", "b", EDGE)
    async with closing(near, far):
        assert binding(near).alpn == EDGE.alpn
        assert isinstance((await both(near, far))["dialler"], Outcome)
