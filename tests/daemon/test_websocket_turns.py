"""Who sends and who reads when: pings, answers to a close, and calls that are cancelled in the middle."""

from collections import deque

import pytest
import trio
import trio.testing
from websockets.frames import Opcode

from tests.daemon.channel_helpers import connected, lockstep_pair, tcp_pair
from tests.daemon.websocket_pairs import frame, opening, raw_client, sockets
from volly_fed import limits
from volly_fed.channel import FEDERATION
from volly_fed.daemon.websocket import Socket, accept_websocket
from volly_fed.errors import ChannelError

PONG = 0x8A


def parse(data: bytes | bytearray) -> deque[tuple[int, bytes]]:
    """A server's frames: (first byte, payload)."""
    frames: deque[tuple[int, bytes]] = deque()
    while data:
        size, head = data[1], 2
        if size == 126:
            size, head = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(data[2:10], "big"), 10
        frames.append((data[0], bytes(data[head : head + size])))
        data = data[head + size :]
    return frames


async def test_a_ping_is_answered_though_nobody_sends() -> None:
    async with raw_client() as (stream, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_forever, server)
        for text in (b"one", b"two"):
            await stream.send_all(frame(Opcode.PING, text))
            assert parse(await stream.receive_some()) == deque([(PONG, text)])
        await stream.send_all(frame(Opcode.CLOSE, b""))


async def receive_forever(socket: Socket) -> None:
    try:
        while True:
            await socket.receive()
    except trio.EndOfChannel:
        pass


@pytest.mark.spec("channel-23")
async def test_of_many_pings_the_last_is_answered() -> None:
    async with raw_client() as (stream, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_forever, server)
        await stream.send_all(b"".join(frame(Opcode.PING, b"%d" % number) for number in range(1000)))
        assert parse(await stream.receive_some()) == deque([(PONG, b"999")])
        await stream.send_all(frame(Opcode.CLOSE, b""))


async def test_pings_do_not_hold_up_the_reader_behind_a_writer_that_is_stuck_and_pile_up_nothing() -> None:
    near, far = await lockstep_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, opening())
        server: list[Socket] = []

        async def accept() -> None:
            server.append(await accept_websocket(nursery, far, FEDERATION))

        nursery.start_soon(accept)
        await near.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server[0].send, b"stuck")
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            for number in range(100):
                async with trio.open_nursery() as both:
                    both.start_soon(near.send_all, frame(Opcode.PING, b"%d" % number) + frame(Opcode.BINARY, b"data"))
                    assert await server[0].receive() == b"data"
            heard = b""
            while heard.count(bytes((PONG,))) < 1:
                heard += await near.receive_some()
        assert parse(heard) == deque([(0x82, b"stuck"), (PONG, b"99")])
        nursery.cancel_scope.cancel()
    for stream in (near, far):
        await trio.aclose_forcefully(stream)


async def test_a_flood_of_pings_without_a_message_ends_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNCLAIMED", 10_000)
    async with raw_client() as (stream, server), trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, frame(Opcode.PING, bytes(100)) * 1000)
        with pytest.raises(ChannelError, match="without ever finishing"):
            await server.receive()


async def test_cancelled_receives_lose_no_message_and_no_fragment() -> None:
    client, server = await connected(tcp_pair)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, opening())
        socket = await accept_websocket(nursery, server, FEDERATION)
        sent = [bytes((number,)) * (number * 997 % 5000) for number in range(200)]
        stream = b"".join(
            frame(Opcode.BINARY, message[:100], fin=False) + frame(Opcode.CONT, message[100:]) for message in sent
        )

        async def trickle() -> None:
            for start in range(0, len(stream), 1234):
                await client.send_all(stream[start : start + 1234])
                await trio.lowlevel.checkpoint()

        nursery.start_soon(trickle)
        got: list[bytes] = []
        while len(got) < len(sent):
            with trio.move_on_after(0.0003):
                got.append(await socket.receive())
        assert got == sent
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


async def test_messages_before_the_close_are_delivered_and_the_close_is_answered() -> None:
    async with raw_client() as (stream, server):
        close = frame(Opcode.CLOSE, (1001).to_bytes(2, "big"))
        await stream.send_all(frame(Opcode.BINARY, b"1") + frame(Opcode.BINARY, b"2") + close + b"and more")
        assert [await server.receive(), await server.receive()] == [b"1", b"2"]
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await server.receive()
        assert parse(await stream.receive_some()) == deque([(0x88, (1001).to_bytes(2, "big"))])
        assert await stream.receive_some() == b""


async def test_closing_behind_a_writer_that_is_stuck_takes_a_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with sockets(lockstep_pair) as (client, _), trio.open_nursery() as nursery:

        async def stuck() -> None:
            with pytest.raises(ChannelError):
                await client.send(b"x")

        nursery.start_soon(stuck)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await client.aclose()
        assert trio.current_time() - start == pytest.approx(limits.CLOSE)


async def test_closing_takes_over_from_a_reader_that_is_cancelled() -> None:
    async with sockets() as (client, server), trio.open_nursery() as nursery:
        reader = trio.CancelScope()

        async def read() -> None:
            with reader:
                await client.receive()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(client.aclose)
        await trio.testing.wait_all_tasks_blocked()
        reader.cancel()
        with trio.fail_after(limits.CLOSE / 2):
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.EndOfChannel):
                await server.receive()


async def test_two_tasks_do_not_receive_at_once() -> None:
    async with sockets() as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(receive_forever, client)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.receive()
        nursery.cancel_scope.cancel()


async def test_a_text_message_comes_after_the_messages_before_it() -> None:
    async with raw_client() as (stream, server):
        await stream.send_all(frame(Opcode.BINARY, b"fine") + frame(Opcode.TEXT, b"not") + frame(Opcode.BINARY, b"no"))
        await stream.send_all(frame(Opcode.CLOSE, b""))
        assert await server.receive() == b"fine"
        with pytest.raises(ChannelError, match="text"):
            await server.receive()


async def test_a_frame_right_behind_the_opening_is_a_message() -> None:
    near, far = await tcp_pair()
    async with trio.open_nursery() as nursery:
        await near.send_all(opening() + frame(Opcode.BINARY, b"early"))
        server = await accept_websocket(nursery, far, FEDERATION)
        assert await server.receive() == b"early"
    await near.aclose()
    await server.aclose()
