"""How a WebSocket is opened: by servers and devices, and by those who break off or say something else."""

from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.daemon.channel_helpers import (
    connected,
    device_client,
    memory_pair,
    outcomes,
    tcp_pair,
    wrap,
    write_files,
)
from tests.daemon.websocket_pairs import opening, sockets
from volly_fed import limits
from volly_fed.channel import DEVICE, EDGE, FEDERATION, ChannelProfile
from volly_fed.daemon.tls import make_context
from volly_fed.daemon.websocket import accept_websocket, connect_websocket
from volly_fed.errors import ChannelError, LocalProtocolError


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


@pytest.mark.spec("channel-14")
async def test_another_path_is_refused_with_404() -> None:
    client, server = await refused_opening(attrs.evolve(FEDERATION, path="/federation/v2"), FEDERATION)
    assert "HTTP 404" in str(client)
    assert "path" in str(server)


@pytest.mark.spec("channel-15")
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


@pytest.mark.spec("channel-16")
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


@pytest.mark.spec("channel-13", "channel-17")
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


@pytest.mark.spec("channel-13")
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


@pytest.mark.parametrize("end", [b"\r\n", b""])
async def test_an_opening_that_is_too_long_is_refused_at_once_whether_it_ends_or_not(end: bytes) -> None:
    near, far = await memory_pair()
    async with trio.open_nursery() as nursery:
        await near.send_all(opening(extra="".join(f"X-{n}: {'x' * 1000}\r\n" for n in range(20)))[:-2] + end)
        with trio.fail_after(5), pytest.raises(ChannelError, match="more than"):
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
