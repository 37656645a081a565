"""What gets through a Socket, and what every kind of misbehaviour turns into."""

import contextlib

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from tests.daemon.channel_helpers import (
    Transports,
    connected,
    memory_pair,
    tcp_pair,
)
from tests.daemon.websocket_pairs import frame, opening, raw_client, sockets, tls_pair
from volly_fed import limits
from volly_fed.channel import FEDERATION
from volly_fed.daemon import websocket
from volly_fed.daemon.websocket import Socket, accept_websocket
from volly_fed.errors import ChannelError, LocalProtocolError


@pytest.mark.spec("wire-1")
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


@pytest.mark.spec("wire-2")
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


@pytest.mark.spec("wire-4")
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


@pytest.mark.spec("wire-5")
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


@pytest.mark.spec("wire-3")
async def test_our_own_oversized_message_is_our_own_mistake() -> None:
    async with sockets() as (client, _):
        with pytest.raises(LocalProtocolError):
            await client.send(bytes(limits.MAX_MESSAGE + 1))
        await client.send(b"the socket lives on")


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


@pytest.mark.spec("channel-25")
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
