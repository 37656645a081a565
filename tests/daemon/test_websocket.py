"""What gets through a Socket, and what every kind of misbehaviour turns into."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.daemon.channel_helpers import (
    Transports,
    connected,
    device_client,
    memory_pair,
    outcomes,
    tcp_pair,
    wrap,
    write_files,
)
from volly_fed import limits
from volly_fed.channel import DEVICE, EDGE, FEDERATION, ChannelProfile
from volly_fed.daemon import websocket
from volly_fed.daemon.tls import make_context
from volly_fed.daemon.websocket import Socket, accept_websocket, connect_websocket
from volly_fed.errors import ChannelError, LocalProtocolError


async def tls_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return await connected(tcp_pair)


@asynccontextmanager
async def sockets(
    transports: Transports = memory_pair, profile: ChannelProfile = FEDERATION
) -> AsyncIterator[tuple[Socket, Socket]]:
    near, far = await transports()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as both:
            ends: list[Socket] = []

            async def accept() -> None:
                ends.append(await accept_websocket(nursery, far, profile))

            both.start_soon(accept)
            client = await connect_websocket(nursery, near, profile, "server.test:5223")
        yield client, ends[0]
        nursery.start_soon(client.aclose)
        await ends[0].aclose()


@asynccontextmanager
async def raw_client(transports: Transports = memory_pair) -> AsyncIterator[tuple[trio.abc.Stream, Socket]]:
    """A server's Socket, and the raw stream of a client that has finished its opening."""
    near, far = await transports()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as both:
            both.start_soon(near.send_all, opening())
            server = await accept_websocket(nursery, far, FEDERATION)
            await near.receive_some()
        yield near, server
        await server.aclose()
        await trio.aclose_forcefully(near)


def opening(path: str = "/federation/v1", subprotocol: str = "volly-fed.v1", extra: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: server.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """RFC 6455 §5.2, for lawful frames and others; the masking key is zero."""
    size = len(payload)
    short, long = (size, b"") if size < 126 else (126, size.to_bytes(2, "big")) if size < 1 << 16 else (127, b"")
    long = long or (size.to_bytes(8, "big") if short == 127 else b"")
    head = bytes((fin << 7 | opcode, masked << 7 | short))
    return head + long + (bytes(4) if masked else b"") + payload


@pytest.mark.parametrize("transports", [memory_pair, tcp_pair, tls_pair])
async def test_messages_arrive_whole_in_order_and_both_ways(transports: Transports) -> None:
    messages = [b"", b"x", bytes(1024), bytes(70_000), bytes(limits.MAX_MESSAGE)]
    async with sockets(transports) as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            async with trio.open_nursery() as nursery:

                async def send(sender: Socket = sender) -> None:
                    for message in messages:
                        await sender.send(message)

                nursery.start_soon(send)
                assert [await receiver.receive() for _ in messages] == messages


@pytest.mark.parametrize("transports", [memory_pair, tls_pair])
async def test_closing_in_order_ends_both_channels(transports: Transports) -> None:
    async with sockets(transports) as (client, server):
        await client.send(b"last")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, websocket.GOING_AWAY, "ä" * 200)
            assert await server.receive() == b"last"
            with pytest.raises(trio.EndOfChannel):
                await server.receive()
        with pytest.raises(trio.EndOfChannel):
            await client.receive()
        for end in (client, server):
            with pytest.raises(ChannelError):
                await end.send(b"late")
            await end.aclose()


async def test_closing_for_a_fault_is_a_channel_error_with_the_code() -> None:
    async with sockets() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose, 1008, "policy")
        with pytest.raises(ChannelError, match=r"code 1008 \('policy'\)"):
            await server.receive()


async def test_closing_wakes_our_own_receiver() -> None:
    async with sockets() as (client, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.EndOfChannel):
                await client.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()


async def test_text_is_refused_with_its_code() -> None:
    async with raw_client() as (stream, server):
        await stream.send_all(frame(Opcode.TEXT, b"hello"))
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                assert (await stream.receive_some())[:4] == b"\x88\x16" + websocket.UNSUPPORTED_DATA.to_bytes(2, "big")
                await stream.send_all(frame(Opcode.CLOSE, websocket.UNSUPPORTED_DATA.to_bytes(2, "big")))

            nursery.start_soon(answer)
            with pytest.raises(ChannelError, match="text"):
                await server.receive()


async def test_too_large_is_refused_with_1009_and_nothing_of_it_is_delivered() -> None:
    async with raw_client() as (stream, server):
        await stream.send_all(frame(Opcode.BINARY, bytes(limits.MAX_MESSAGE + 1)))
        with pytest.raises(ChannelError, match="1009"):
            await server.receive()
        assert (await stream.receive_some())[2:4] == (1009).to_bytes(2, "big")


async def test_too_large_in_fragments_and_twice_costs_only_the_connection() -> None:
    async with raw_client() as (stream, server):
        part = frame(Opcode.BINARY, bytes(limits.MAX_MESSAGE), fin=False)
        rest = frame(Opcode.CONT, bytes(10), fin=False)
        await stream.send_all(part + rest * 3 + frame(Opcode.CONT, bytes(limits.MAX_MESSAGE + 1)))
        with pytest.raises(ChannelError):
            await server.receive()


async def test_endless_empty_fragments_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNCLAIMED", 200_000)
    async with raw_client() as (stream, server), trio.open_nursery() as nursery:
        empty = frame(Opcode.CONT, b"", fin=False) * 10_000

        async def pour() -> None:
            await stream.send_all(frame(Opcode.BINARY, b"", fin=False))
            for _ in range(limits.MAX_UNCLAIMED // len(empty) + 1):
                await stream.send_all(empty)

        nursery.start_soon(pour)
        with pytest.raises(ChannelError, match="without ever finishing"):
            await server.receive()


async def test_more_bytes_than_that_pass_when_they_are_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNCLAIMED", 100_000)
    async with sockets() as (client, server), trio.open_nursery() as nursery:

        async def pour() -> None:
            for _ in range(40):
                await client.send(bytes(10_000))

        nursery.start_soon(pour)
        assert [len(await server.receive()) for _ in range(40)] == [10_000] * 40


async def test_closing_leaves_no_task_behind_that_waits_for_its_last_message_to_be_taken() -> None:
    with trio.fail_after(5):
        async with raw_client() as (stream, server):
            await stream.send_all(frame(Opcode.TEXT, b"refused") + frame(Opcode.BINARY, b"never taken") * 3)
            await stream.aclose()  # so that the close frame cannot be sent either
            with pytest.raises(ChannelError):
                await server.receive()


async def test_our_own_oversized_message_is_our_own_mistake() -> None:
    async with sockets() as (client, _):
        with pytest.raises(LocalProtocolError):
            await client.send(bytes(limits.MAX_MESSAGE + 1))
        await client.send(b"the socket lives on")


async def refused_opening(client: ChannelProfile, server: ChannelProfile) -> tuple[ChannelError, ChannelError]:
    near, far = await tcp_pair()
    errors: dict[str, ChannelError] = {}
    async with trio.open_nursery() as nursery:

        async def one(name: str) -> None:
            with pytest.raises(ChannelError) as caught:
                await (
                    connect_websocket(nursery, near, client, "server.test")
                    if name == "client"
                    else accept_websocket(nursery, far, server)
                )
            errors[name] = caught.value

        async with trio.open_nursery() as both:
            both.start_soon(one, "client")
            both.start_soon(one, "server")
    return errors["client"], errors["server"]


async def test_another_path_is_refused_with_404() -> None:
    client, server = await refused_opening(attrs.evolve(FEDERATION, path="/federation/v2"), FEDERATION)
    assert "HTTP 404" in str(client)
    assert "path" in str(server)


async def test_another_subprotocol_is_refused_with_400() -> None:
    client, server = await refused_opening(attrs.evolve(FEDERATION, subprotocol=EDGE.subprotocol), FEDERATION)
    assert "HTTP 400" in str(client)
    assert "subprotocol" in str(server)


async def test_plain_http_is_answered_and_refused() -> None:
    near, far = await tcp_pair()
    async with trio.open_nursery() as nursery:
        await near.send_all(b"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n")
        with pytest.raises(ChannelError):
            await accept_websocket(nursery, far, FEDERATION)
        assert (await near.receive_some()).startswith(b"HTTP/1.1 426")  # upgrade required
    await near.aclose()


async def test_extensions_are_not_taken_up() -> None:
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        await near.send_all(opening(extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        server = await accept_websocket(nursery, far, FEDERATION)
        answer = await near.receive_some()
        assert b"101" in answer
        assert b"xtension" not in answer
        await trio.aclose_forcefully(near)
        await server.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 over there\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00" * 40,
    ],
)
async def test_whatever_a_server_answers_instead_is_a_channel_error(answer: bytes) -> None:
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        await far.send_all(answer)
        await far.aclose()
        with pytest.raises(ChannelError):
            await connect_websocket(nursery, near, FEDERATION, "server.test")


async def test_a_server_that_forgets_the_subprotocol_is_refused() -> None:
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:

        async def forgetful() -> None:
            protocol = ServerProtocol()
            protocol.receive_data(await far.receive_some())
            (request,) = protocol.events_received()
            assert isinstance(request, Request)
            protocol.send_response(protocol.accept(request))
            await far.send_all(b"".join(protocol.data_to_send()))

        nursery.start_soon(forgetful)
        with pytest.raises(ChannelError, match="did not agree"):
            await connect_websocket(nursery, near, FEDERATION, "server.test")


@pytest.mark.parametrize("sent", [b"", b"GET /fed", opening()[:-2], b"\x00\xff\xfe" * 100, b"A" * 100_000])
async def test_a_client_that_breaks_off_its_opening_is_a_channel_error(sent: bytes) -> None:
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        if sent:
            await near.send_all(sent)
        await near.aclose()
        with pytest.raises(ChannelError):
            await accept_websocket(nursery, far, FEDERATION)


async def test_a_client_that_stops_in_its_opening_is_the_callers_time_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        await near.send_all(b"GET /federation/v1 HTTP/1.1\r\n")
        with trio.move_on_after(limits.WEBSOCKET_UPGRADE) as scope:
            await accept_websocket(nursery, far, FEDERATION)
        assert scope.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"the stream was closed")


async def test_a_half_closed_peer_ends_the_channel_but_not_in_order() -> None:
    near, far = await tcp_pair()
    async with trio.open_nursery() as nursery:
        await near.send_all(opening())
        server = await accept_websocket(nursery, far, FEDERATION)
        await near.send_all(frame(Opcode.BINARY, b"one"))
        await near.send_eof()
        assert await server.receive() == b"one"
        with pytest.raises(ChannelError, match="without a WebSocket close"):
            await server.receive()
        await server.aclose()
    await near.aclose()


async def test_a_tls_end_without_a_websocket_close_is_a_channel_error() -> None:
    near, far = await connected(tcp_pair)
    async with trio.open_nursery() as nursery:
        await near.send_all(opening())
        server = await accept_websocket(nursery, far, FEDERATION)
        await near.receive_some()
        await near.aclose()  # with close_notify
        with pytest.raises(ChannelError, match="without a WebSocket close"):
            await server.receive()
        await server.aclose()


async def test_a_cut_tls_stream_says_so() -> None:
    near, far = await connected(tcp_pair)
    async with trio.open_nursery() as nursery:
        await near.send_all(opening())
        server = await accept_websocket(nursery, far, FEDERATION)
        await near.receive_some()
        await trio.aclose_forcefully(near._transport)
        with pytest.raises(ChannelError, match="close_notify"):
            await server.receive()
        await server.aclose()
    await trio.aclose_forcefully(near)


@pytest.mark.parametrize("over_tls", [False, True])
async def test_an_abrupt_reset_is_a_channel_error(over_tls: bool) -> None:
    sockets_pair = await tcp_pair()
    near, far = await shake_if(over_tls, sockets_pair)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as both:
            both.start_soon(near.send_all, opening())
            server = await accept_websocket(nursery, far, FEDERATION)
        sockets_pair[0].setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        await trio.aclose_forcefully(sockets_pair[0])
        with pytest.raises(ChannelError, match="broke"):
            await server.receive()
        with pytest.raises(ChannelError):
            await server.send(b"x")
        await server.aclose()
    await trio.aclose_forcefully(near)


async def shake_if(
    over_tls: bool, transports: tuple[trio.abc.Stream, trio.abc.Stream]
) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    if not over_tls:
        return transports

    async def given() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        return transports

    return await connected(given)


async def test_a_send_cancelled_half_way_ends_the_socket_also_without_tls() -> None:
    async with raw_client(tcp_pair) as (_, server):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def flood() -> None:
                    while True:
                        await server.send(bytes(limits.MAX_MESSAGE))

                nursery.start_soon(flood)
                await trio.testing.wait_all_tasks_blocked(0.01)
                scope.cancel()
        with pytest.raises(ChannelError):
            await server.send(b"more")


async def test_closing_a_peer_that_does_not_read_takes_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_client() as (_, server):
        start = trio.current_time()
        await server.aclose()
        assert 0 < trio.current_time() - start <= 2 * limits.CLOSE


async def test_a_goodbye_that_is_cancelled_closes_the_stream_at_once() -> None:
    async with raw_client() as (stream, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.aclose()
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.tuples(st.sampled_from(list(Opcode)), st.binary(max_size=200), st.booleans()).map(
                lambda made: frame(made[0], made[1], fin=made[2])
            ),
        ),
        max_size=8,
    )
)
def test_no_bytes_after_the_opening_raise_anything_but_channel_errors(head: list[bytes]) -> None:
    async def main() -> None:
        async with raw_client() as (stream, server):
            with contextlib.suppress(trio.BrokenResourceError):
                for data in head:
                    await stream.send_all(data)
            await stream.aclose()
            with pytest.raises((ChannelError, trio.EndOfChannel)):
                await receive_all(server)

    trio.run(main)


async def receive_all(socket: Socket) -> None:
    while True:
        await socket.receive()


# --- devices -------------------------------------------------------------------------------------------------------


async def test_a_device_connects_over_tls_with_an_ordinary_certificate(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    server_context = make_context(DEVICE, server=True, identity=files)

    async def transports() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        return await connected(tcp_pair, device_client(roots=files.certificate), server_context)

    async with sockets(transports, DEVICE) as (device, edge):
        await device.send(b"from the device")
        assert await edge.receive() == b"from the device"
        await edge.send(b"from the edge")
        assert await device.receive() == b"from the edge"
    refused = await outcomes(device_client(attrs.evolve(DEVICE, groups=("X25519",))), server_context)
    assert all(isinstance(error, ChannelError) for error in refused)


async def test_a_device_on_loopback_connects_without_tls() -> None:
    async with sockets(tcp_pair, DEVICE) as (device, edge):
        await device.send(b"plain")
        assert await edge.receive() == b"plain"


async def test_a_websocket_on_a_stream_without_handshake_is_our_bug_and_opens_nothing() -> None:
    client, _ = wrap(await memory_pair())
    async with trio.open_nursery() as nursery:
        with pytest.raises(LocalProtocolError):
            await connect_websocket(nursery, client, FEDERATION, "server.test")
