"""What devices may take of an edge node: connections, bytes, patience; and what they are told at the bound."""

from contextlib import suppress

import pytest
import trio

from tests.daemon.door import Client, device, plain
from tests.daemon.sites import A, envelope
from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.kem import mailbox_id
from volly_fed.daemon import device_door
from volly_fed.errors import ChannelError
from volly_fed.wire.messages import Claim, Close, NotClaimed, Ping, Pong, Submit, Submitted, Welcome


@pytest.fixture
def from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if devices came from one public address: loopback is not counted."""
    monkeypatch.setattr(device_door, "address_of", lambda _stream: "192.0.2.7")


async def sent_away(client: Client, code: ErrorCode) -> Close:
    """The CLOSE that ends the connection, and the end."""
    message = await client.hear()
    while not isinstance(message, Close):
        message = await client.hear()
    assert message.code is code
    with pytest.raises(ChannelError, match="1008"):
        await client.hear()
    return message


@pytest.mark.usefixtures("from_outside")
async def test_an_address_has_so_many_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICES_PER_ADDRESS", 1)
    async with plain().running() as edge:
        async with device(edge) as first:
            assert isinstance(await first.hear(), Welcome)
            async with device(edge) as second:
                close = await sent_away(second, ErrorCode.BUSY)
                assert close.retry_after == limits.DEVICE_BUSY
                assert "try again" in close.text
            await first.say(Ping(token=1))
            assert await first.hear() == Pong(token=1)
        await edge.log.wait("device_down")
        async with device(edge) as third:
            assert isinstance(await third.hear(), Welcome)


@pytest.mark.usefixtures("from_outside")
async def test_an_address_opens_so_many_connections_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_CONNECTIONS_PER_ADDRESS_PER_MINUTE", 2)
    async with plain().running() as edge:
        for _ in range(2):
            async with device(edge) as client:
                assert isinstance(await client.hear(), Welcome)
        with pytest.RaisesGroup(ChannelError, flatten_subgroups=True):
            async with device(edge):
                pass


async def test_a_stranger_sends_one_message_worth_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_FIRST_BYTES", 5000)
    async with plain().running() as edge, device(edge) as honest, device(edge) as flood:
        assert isinstance(await honest.hear(), Welcome)
        await honest.say(Submit(envelopes=[envelope(A)]))
        assert isinstance(await honest.hear(), Submitted)
        for _ in range(5):
            await honest.say(Submit(envelopes=[envelope(A) for _ in range(10)]))
            assert isinstance(await honest.hear(), Submitted)
        await flood.hear()
        with suppress(ChannelError):  # it may be cut off before it has said all
            await flood.say(Submit(envelopes=[envelope(A) for _ in range(10)]))
        with trio.fail_after(10):
            await edge.log.wait("device_down")
        assert len(edge.registry) == 1


async def test_a_connection_that_asks_for_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_SWEEP", 0.01)
    monkeypatch.setattr(limits, "DEVICE_IDLE", 0.05)
    async with plain().running() as edge, device(edge) as busy:
        await busy.hear()
        await busy.say(Submit(envelopes=[envelope(A)]))
        assert isinstance(await busy.hear(), Submitted)
        async with device(edge) as idle:
            await idle.hear()
            await idle.say(Ping(token=1))
            await sent_away(idle, ErrorCode.TIMEOUT)
        await busy.say(Ping(token=2))
        assert await busy.hear() == Pong(token=2)


async def test_a_claim_without_a_proof_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICE_SWEEP", 0.01)
    monkeypatch.setattr(limits, "CLAIM_PROOF", 0.05)
    async with plain().running() as edge, device(edge) as client:
        edge.registry.link_up()
        await client.hear()
        await client.say(Claim(request=3, key=bytes(1216)))
        refusal = await client.hear()
        assert isinstance(refusal, NotClaimed)
        assert (refusal.request, refusal.code) == (3, ErrorCode.TIMEOUT)
        assert edge.registry._open == 0
        assert mailbox_id(bytes(1216)) not in edge.registry._holders


async def test_what_was_answered_is_sent_before_the_farewell() -> None:
    async with plain().running() as edge, device(edge) as client:
        await client.hear()
        await client.say(Submit(envelopes=[envelope(A)]), Submit(envelopes=[b"junk"]))
        assert isinstance(await client.hear(), Submitted)
        await sent_away(client, ErrorCode.MALFORMED)


async def test_answers_that_wait_together_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one message is on its way to the device, what comes for it piles up, and leaves as one."""
    async with plain().running() as edge, device(edge) as client:
        await client.hear()
        for number in range(100):
            edge.door.send(1, Submitted(accepted=[number.to_bytes(16, "big")]))
        answers = [await client.hear()]
        assert isinstance(answers[0], Submitted)
        assert len(answers[0].accepted) == 100
