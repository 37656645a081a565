"""Where devices connect: TLS as browsers speak it, a certificate that reloads, and devices that misbehave."""

import os
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.channel_helpers import device_client, write_files
from tests.daemon.door import FINGERPRINT, Deaf, device, plain, with_tls
from tests.daemon.sites import A, envelope
from volly_fed import limits
from volly_fed.channel import DEVICE
from volly_fed.codepoints import TLS_GROUP, TLS_GROUP_CLASSICAL, ErrorCode
from volly_fed.daemon.tls import TlsFiles
from volly_fed.daemon.websocket import connect_websocket
from volly_fed.errors import ChannelError, LocalError
from volly_fed.wire import encode_message
from volly_fed.wire.messages import Claim, Close, Deliver, Ping, Pong, Submit, Submitted, Welcome

CLASSICAL = attrs.evolve(DEVICE, groups=(TLS_GROUP_CLASSICAL,))


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_an_ordinary_certificate_and_the_hybrid_key_exchange(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    async with with_tls(files).running() as edge, device(edge, device_client(roots=files.certificate)) as client:
        assert await client.hear() == Welcome(domain=A, edge=FINGERPRINT)
        assert client.negotiated is not None
        assert client.negotiated.group.lower() == TLS_GROUP.lower()
        frame = envelope(A)
        await client.say(Submit(envelopes=[frame]))
        assert isinstance(await client.hear(), Submitted)
        assert edge.taken == [frame]


async def test_a_classical_client_is_refused_unless_the_operator_says_so(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    classical = device_client(CLASSICAL)
    async with with_tls(files).running() as edge:
        with pytest.raises(ChannelError):
            async with device(edge, classical):
                pass
        await edge.log.wait("device_refused", code="CHANNEL")
    async with with_tls(files, allow_classical=True).running() as edge, device(edge, classical) as client:
        assert isinstance(await client.hear(), Welcome)
        assert client.negotiated is not None
        assert client.negotiated.group.lower() == TLS_GROUP_CLASSICAL.lower()
        async with device(edge, device_client()) as modern:
            assert modern.negotiated is not None
            assert modern.negotiated.group.lower() == TLS_GROUP.lower()


async def test_a_certificate_that_changed_is_shown_to_the_next_device(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    files, renewed = write_files(tmp_path), write_files(tmp_path / "new", "rsa")
    async with with_tls(files).running() as edge:
        async with device(edge, device_client()) as client:
            first = client.negotiated
        os.replace(renewed.certificate, files.certificate)
        async with device(edge, device_client()) as client:  # its key is still to come: the former pair stays
            assert isinstance(await client.hear(), Welcome)
            half_way = client.negotiated
        await edge.log.wait("reload_failed")
        os.replace(renewed.key, files.key)
        async with device(edge, device_client()) as client:
            second = client.negotiated
        files.certificate.unlink()
        async with device(edge, device_client()) as client:
            third = client.negotiated
    assert first is not None
    assert half_way is not None
    assert second is not None
    assert third is not None
    assert first.peer_spki == half_way.peer_spki != second.peer_spki == third.peer_spki


def test_files_that_cannot_be_used_at_the_start(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    with pytest.raises(LocalError):
        with_tls(TlsFiles(certificate=files.certificate, key=tmp_path / "missing"))


async def test_garbage_where_tls_was_expected(tmp_path: Path) -> None:
    async with with_tls(write_files(tmp_path)).running() as edge:
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(4000)):
            async with await trio.open_tcp_stream("127.0.0.1", edge.port) as stream:
                await stream.send_all(data)
        await edge.log.wait("device_refused", count=3)
        async with device(edge, device_client()) as client:
            assert isinstance(await client.hear(), Welcome)


# --- devices that misbehave ------------------------------------------------------------------------------------------


@pytest.mark.spec("wire-26")
@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        encode_message(Welcome(domain=A, edge=FINGERPRINT)),
        encode_message(Submit(envelopes=[b"not an envelope"])),
        encode_message(Pong(token=1)),
    ],
)
async def test_a_device_that_breaks_the_protocol_is_the_only_one_to_go(data: bytes) -> None:
    async with plain().running() as edge, device(edge) as honest, device(edge) as broken:
        await honest.hear()
        await broken.hear()
        await broken.socket.send(data)
        assert isinstance(await broken.hear(), Close)
        with pytest.raises(ChannelError, match="1008"):
            await broken.socket.receive()
        await edge.log.wait("device_down")
        await honest.say(Ping(token=4))
        assert await honest.hear() == Pong(token=4)
        assert len(edge.registry) == 1


async def test_a_connection_cannot_receive_and_submit() -> None:
    async with plain().running() as edge, device(edge) as client:
        edge.registry.link_up()
        await client.hear()
        await client.say(Claim(request=1, key=bytes(1216)), Submit(envelopes=[envelope(A)]))
        await edge.log.wait("device_down", code="UNEXPECTED")
        assert edge.taken == []


async def test_too_many_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_CONNECTIONS_PER_EDGE", 1)
    async with plain().running() as edge, device(edge) as first:
        await first.hear()
        async with device(edge) as second:
            close = await second.hear()
            assert isinstance(close, Close)
            assert (close.code, close.retry_after) == (ErrorCode.BUSY, limits.DEVICE_BUSY)
            with pytest.raises(ChannelError, match="1008"):
                await second.socket.receive()
        await edge.log.wait("device_refused", code="BUSY")


async def test_a_device_that_says_nothing_any_more_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_SILENCE", 0.05)
    async with plain().running() as edge, device(edge) as client:
        await client.hear()
        assert (await edge.log.wait("device_down"))["code"] == ErrorCode.TIMEOUT.name
        assert len(edge.registry) == 0


async def test_a_device_that_reads_nothing_is_cut_off_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer is stuck, so that it takes somebody else to end the connection."""
    monkeypatch.setattr(limits, "CLOSE", 0.05)
    async with plain().running() as edge, device(edge) as honest:
        await honest.hear()
        raw = await trio.open_tcp_stream("127.0.0.1", edge.port)
        async with raw, trio.open_nursery() as nursery:
            socket = await connect_websocket(nursery, Deaf(raw), DEVICE, "server.test")
            await edge.log.wait("device_up", count=2)
            big = Deliver(envelopes=[bytes(60_000)] * 4)
            for _ in range(2 * limits.DEVICE_QUEUE_BYTES // 240_000 + 40):
                edge.door.send(2, big)
                await trio.lowlevel.checkpoint()
            with trio.fail_after(5):
                await edge.log.wait("device_down")
            assert len(edge.registry) == 1
            await honest.say(Ping(token=4))
            assert await honest.hear() == Pong(token=4)
            del socket
            nursery.cancel_scope.cancel()


async def test_a_device_is_not_read_faster_than_the_homeserver_takes() -> None:
    async with plain().running() as edge, device(edge) as client:
        await client.hear()
        edge.room = trio.Event()
        await client.say(Submit(envelopes=[envelope(A)]))
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert edge.taken == []
        edge.room.set()
        assert isinstance(await client.hear(), Submitted)


async def test_stopping_takes_no_more_devices_and_keeps_those_that_are_there() -> None:
    async with plain().running() as edge, device(edge) as client:
        await client.hear()
        edge.door.stop()
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(OSError, match="127"):
            await trio.open_tcp_stream("127.0.0.1", edge.port)
        await client.say(Ping(token=4))
        assert await client.hear() == Pong(token=4)
