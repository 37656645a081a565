"""The stream itself: trio's own conformance checks, and the ways a TLS stream can break."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
import trio.testing
from OpenSSL._util import lib

from tests.daemon.channel_helpers import (
    Pair,
    Transports,
    connected,
    context,
    lockstep_pair,
    memory_pair,
    shake,
    tcp_pair,
    wrap,
)
from volly_fed import limits
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.errors import ChannelError, LocalProtocolError


async def drain(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


async def flood(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(b"x")


async def clogged() -> Pair:
    return await connected(lockstep_pair)


async def test_conformance_in_memory() -> None:
    await trio.testing.check_two_way_stream(connected, clogged)


async def test_conformance_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint in every call: that there are fewer is the one rule of trio that we leave, and on purpose."""
    monkeypatch.setattr(limits, "CALLS_WITHOUT_CHECKPOINT", 1)

    async def maker() -> Pair:
        return await connected(tcp_pair)

    await trio.testing.check_two_way_stream(maker, clogged)


@pytest.mark.parametrize("transports", [memory_pair, tcp_pair, lockstep_pair])
async def test_close_notify_is_an_ordinary_end_and_the_other_direction_stays_open(transports: Transports) -> None:
    client, server = await connected(transports)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"last words")
        assert await server.receive_some(100) == b"last words"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose)
        assert await server.receive_some(100) == b""
    assert await server.receive_some(100) == b""
    await server.aclose()


@pytest.mark.spec("channel-24")
async def test_an_end_without_close_notify_is_an_attack_not_an_end() -> None:
    client, server = await connected(tcp_pair)
    await client.send_all(b"half of it")
    await trio.aclose_forcefully(client._transport)
    assert await server.receive_some(100) == b"half of it"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="close_notify"):
            await server.receive_some(100)
    with pytest.raises(trio.BrokenResourceError):
        await server.send_all(b"x")
    await server.aclose()


async def test_forged_bytes_break_the_stream_and_tell_the_peer() -> None:
    near, far = trio.testing.memory_stream_pair()
    client, server = await shake(wrap((near, far)))
    await near.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(trio.BrokenResourceError, match="decryption failed"):
        await server.receive_some()
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError, match="bad record mac"):
        await client.receive_some()
    await client.aclose()


async def test_both_directions_full_at_once_still_move() -> None:
    # no buffer at all in between: every send blocks until the other end reads
    client, server = await connected(lockstep_pair)
    size = 1 << 19
    received = {client: 0, server: 0}

    async def read(stream: PqStream) -> None:
        while received[stream] < size:
            received[stream] += len(await stream.receive_some())

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for stream in (client, server):
                nursery.start_soon(stream.send_all, bytes(size))
            await trio.testing.wait_all_tasks_blocked()
            for stream in (client, server):
                nursery.start_soon(read, stream)
    assert set(received.values()) == {size}


async def test_a_reader_with_something_to_say_never_waits_for_the_writer() -> None:
    client, server = await connected(lockstep_pair)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, bytes(1 << 18))  # blocks: nobody reads
        await trio.testing.wait_all_tasks_blocked()
        client._queue.append(b"the answer to a key update, say")
        nursery.start_soon(server.send_all, b"to a busy writer")
        with trio.fail_after(5):
            assert await client.receive_some() == b"to a busy writer"
        nursery.cancel_scope.cancel()


async def test_a_send_cancelled_half_way_kills_the_stream() -> None:
    client, server = await connected(lockstep_pair)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, bytes(100))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    with pytest.raises(trio.BrokenResourceError, match="half-way"):
        await client.send_all(b"more")
    with pytest.raises(trio.BrokenResourceError, match="half-way"):
        await client.receive_some()
    await client.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await drain(server)


async def test_a_cancelled_receive_loses_nothing() -> None:
    client, server = await connected()
    for _ in range(3):
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive_some()
    await client.send_all(b"all of it")
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.receive_some()
    assert scope.cancelled_caught
    assert await server.receive_some() == b"all of it"


async def test_several_records_arrive_in_one_receive() -> None:
    client, server = await connected()
    for _ in range(5):
        await client.send_all(b"r" * 1000)
    assert len(await server.receive_some()) == 5000


async def test_data_right_behind_the_handshake_and_in_odd_portions_arrives() -> None:
    near, far = trio.testing.memory_stream_pair()
    client, server = wrap((near, far))
    sent = bytes(range(256)) * 1000
    got = bytearray()
    async with trio.open_nursery() as nursery:

        async def dial() -> None:
            await client.handshake()
            await client.send_all(sent)

        nursery.start_soon(dial)
        await server.handshake()
        while len(got) < len(sent):
            got += await server.receive_some(1 + len(got) % 30_000)
    assert got == sent


async def test_a_reset_is_broken_for_sender_and_receiver() -> None:
    near, far = await tcp_pair()
    client, _ = await shake(wrap((near, far)))
    far.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    await trio.aclose_forcefully(far)
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await flood(client)
    await client.aclose()


async def test_exporters_are_equal_at_both_ends_and_differ_by_context_label_and_connection() -> None:
    client, server = await connected()
    other, _ = await connected()
    label = b"EXPORTER-volly-fed-s2s-auth-v1"
    dialler = client.export(label, 64, b"\x01")
    assert dialler == server.export(label, 64, b"\x01")
    assert len(dialler) == 64
    rest = (
        client.export(label, 64, b"\x02"),
        client.export(b"EXPORTER-x", 64, b"\x01"),
        other.export(label, 64, b"\1"),
    )
    assert len({dialler, *rest}) == 4


async def test_nothing_works_before_the_handshake_and_it_happens_once() -> None:
    client, server = wrap(await memory_pair())
    for call in (client.send_all, client.receive_some):
        with pytest.raises(LocalProtocolError):
            await call(b"x" if call == client.send_all else 1)  # type: ignore[arg-type]  # two signatures, one loop
    with pytest.raises(LocalProtocolError):
        client.negotiated  # noqa: B018 - the property raises
    with pytest.raises(LocalProtocolError):
        client.export(b"EXPORTER-x", 32, b"")
    await shake((client, server))
    with pytest.raises(LocalProtocolError):
        await client.handshake()


async def test_a_peer_that_hangs_up_in_the_handshake_is_a_channel_error() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    with pytest.raises(ChannelError):
        await PqStream(near, context(server=False)).handshake()
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ChannelError, match="handshake failed"):
        await PqStream(far, context(server=True)).handshake()


async def test_closing_wakes_a_blocked_sender() -> None:
    client, _ = await connected(lockstep_pair)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.send_all(bytes(1 << 20))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()


async def test_a_peer_that_does_not_read_delays_closing_by_a_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, _ = await connected(lockstep_pair)
    start = trio.current_time()
    await client.aclose()
    assert 0 < trio.current_time() - start <= 1.0


@pytest.mark.spec("channel-5")
async def test_no_session_is_resumed() -> None:
    client, server = await connected()
    await server.send_all(b"tickets first")
    await client.receive_some()
    session = client._connection.get_session()
    assert session is not None
    second, far = wrap(await memory_pair())
    second._connection.set_session(session)
    await shake((second, far))
    for end in (second, far):
        assert lib.SSL_session_reused(end._ssl) == 0
        assert end.negotiated.peer_spki  # the certificate was shown again


def test_two_event_loops_side_by_side_do_not_mix_what_they_read() -> None:
    """As an application does that runs a device in a thread of its own: plain text is nobody else's."""

    async def pump(letter: bytes) -> None:
        client, server = await connected(memory_pair)
        block, left = letter * limits.TLS_SCRATCH, 60 * limits.TLS_SCRATCH
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(60):
                    await client.send_all(block)

            nursery.start_soon(send)
            while left:
                data = await server.receive_some()
                assert data.count(letter) == len(data)
                left -= len(data)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(trio.run, pump, letter) for letter in (b"a", b"b")]:
            done.result()


# --- over sockets --------------------------------------------------------------------------------------------------


def linger_none(stream: trio.SocketStream) -> None:
    """Let closing `stream` send a reset."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("reset", [False, True])
async def test_a_reader_that_waits_notices_a_cut_by_fin_and_by_reset(reset: bool) -> None:
    near, far = await tcp_pair()
    client, server = await shake(wrap((near, far)))
    if reset:
        linger_none(near)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.BrokenResourceError, match="broken" if reset else "close_notify"):
                await server.receive_some()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.aclose_forcefully(near)
    await trio.aclose_forcefully(client)
    await server.aclose()


async def test_receives_that_are_cancelled_again_and_again_lose_nothing_over_tcp() -> None:
    client, server = await connected(tcp_pair)
    sent, got = bytes(range(256)) * 4000, bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, sent)
        while len(got) < len(sent):
            with trio.move_on_after(0.0002):
                got += await server.receive_some(1 + len(got) % 3000)
    assert got == sent
    await client.aclose()
    await server.aclose()


async def test_a_stream_that_never_blocks_lets_others_run_and_notices_cancellation() -> None:
    client, server = await connected(tcp_pair)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(10 * limits.CALLS_WITHOUT_CHECKPOINT):
            await client.send_all(b"x")
        assert turns >= 9
        nursery.cancel_scope.cancel()
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.send_all(b"never sent")
    assert scope.cancelled_caught
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


async def test_a_send_cancelled_half_way_kills_the_stream_over_tcp() -> None:
    client, server = await connected(tcp_pair)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, bytes(1 << 24))
            await trio.testing.wait_all_tasks_blocked(0.02)
            scope.cancel()
    with pytest.raises(trio.BrokenResourceError, match="half-way"):
        await client.send_all(b"more")
    await client.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await drain(server)
    await server.aclose()


class Late(trio.abc.ReceiveStream):
    """Gives the second piece only when `ready`, and then everything at once."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.stream, self.ready, self.calls = stream, trio.Event(), 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.calls += 1
        if self.calls == 2:
            await self.ready.wait()
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_what_arrives_in_one_piece_with_the_end_of_the_handshake_is_not_lost() -> None:
    near, far = trio.testing.memory_stream_pair()
    late = Late(far.receive_stream)
    client, server = wrap((near, trio.StapledStream(far.send_stream, late)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        await client.handshake()
        await client.send_all(b"early" * 9999)
        late.ready.set()
    got = bytearray()
    while len(got) < 5 * 9999:
        got += await server.receive_some()
    assert got == b"early" * 9999
    await client.aclose()
    await trio.aclose_forcefully(server)
