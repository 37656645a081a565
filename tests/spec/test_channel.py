"""What spec/channel.md says of certificates and masks, and no other test shows."""

from datetime import UTC, datetime

import pytest
import trio
import trio.testing

from tests.daemon.channel_helpers import memory_pair
from tests.daemon.websocket_pairs import frame, raw_client
from volly_fed import limits
from volly_fed.channel import FEDERATION, check_negotiated, check_tlsa
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.errors import ChannelError

BINARY = 2


@pytest.mark.spec("channel-8", "discovery-13")
async def test_a_certificate_that_ran_out_years_ago_and_names_somebody_else() -> None:
    key = TlsKey.generate()
    identity = TlsIdentity.from_key(key, "somebody.else", datetime(1999, 1, 1, tzinfo=UTC))
    near, far = trio.testing.memory_stream_pair()
    client = PqStream(near, make_context(FEDERATION, server=False, identity=identity), "fed.b.example")
    server = PqStream(far, make_context(FEDERATION, server=True, identity=identity))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    published = TlsaRecord(usage=3, selector=1, matching=1, data=key.spki_sha256)
    for end in (client, server):
        check_negotiated(FEDERATION, end.negotiated)
        check_tlsa([published], end.negotiated)
        await trio.aclose_forcefully(end)


@pytest.mark.spec("channel-21")
async def test_a_client_that_does_not_mask_is_closed_with_1002() -> None:
    async with raw_client(memory_pair) as (stream, server):
        await stream.send_all(frame(BINARY, b"hello", masked=False))
        with pytest.raises(ChannelError, match="1002"):
            await server.receive()
        assert (await stream.receive_some())[2:4] == (1002).to_bytes(2, "big")


@pytest.mark.spec("channel-19", "channel-20")
@pytest.mark.parametrize(("opcode", "size", "code"), [(1, 5, 1003), (BINARY, limits.MAX_MESSAGE + 1, 1009)])
async def test_texts_and_messages_too_long_have_their_codes(
    opcode: int, size: int, code: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_client(memory_pair) as (stream, server):
        await stream.send_all(frame(opcode, b"x" * size))
        with pytest.raises(ChannelError):
            await server.receive()
        assert (await stream.receive_some())[2:4] == code.to_bytes(2, "big")
