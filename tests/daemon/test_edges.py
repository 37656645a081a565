"""The homeserver's edge links: claims, deliveries, receipts; and what a hostile edge can reach."""

import os
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.daemon.edge_nodes import E1, E2, edge, home, one, stored
from tests.daemon.sites import CAPABILITY, A, B, envelope, material, sites
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode, Role
from volly_fed.crypto.kem import MailboxKey
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.errors import Refused, RemoteError, StorageError
from volly_fed.handshake import Outcome
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import parse_envelope
from volly_fed.wire import Message
from volly_fed.wire.messages import (
    Ack,
    Acknowledge,
    Batch,
    Claim,
    Claimed,
    Close,
    Deliver,
    NotClaimed,
    Open,
    Ping,
    Pong,
    Proof,
    Receipt,
    Release,
)

STREAM = b"edge-str"


# --- in good order ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("relay-27")
async def test_a_mailbox_is_claimed_its_envelopes_are_delivered_and_deleted_when_acknowledged(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        assert await e.ask() == Claimed(request=1, mailbox=e.mailbox)
        frame = envelope(A, mailbox=e.mailbox)
        await e.say(Open(stream=STREAM))
        assert await e.hear() == Ack(stream=STREAM, cursor=0)
        await e.say(Batch(stream=STREAM, first=1, envelopes=[frame]))
        heard = [await e.hear() for _ in range(2)]
        assert Deliver(envelopes=[frame]) in heard
        assert Ack(stream=STREAM, cursor=1) in heard
        assert await stored(a, e.mailbox) == [frame]
        await e.say(e.acknowledge(frame))
        while await stored(a, e.mailbox):
            await trio.lowlevel.checkpoint()


async def test_what_is_to_be_deleted_is_not_read_again_nor_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_PATIENCE", 3600)
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        await e.ask()
        first, second, third = frames = [envelope(A, mailbox=e.mailbox) for _ in range(3)]
        await a.relay(B, first, second)
        await e.hear()
        await e.say(e.acknowledge(first), Release(mailbox=e.mailbox))
        await e.ask()
        assert await e.hear() == Deliver(envelopes=[second])
        assert await stored(a, e.mailbox) == [second]
        await a.relay(B, third, first=3)
        assert await e.hear() == Deliver(envelopes=[third])
        deleting = a.store.begin_delete_inbound
        acknowledged = trio.Event()

        def begin(*args: Any) -> Any:
            acknowledged.set()
            return deleting(*args)

        monkeypatch.setattr(a.store, "begin_delete_inbound", begin)
        await e.say(e.acknowledge(second))
        await acknowledged.wait()
    async with home(a, E1):
        assert await stored(a, e.mailbox) == frames[2:]


async def test_what_was_not_acknowledged_comes_again_with_the_next_claim(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port:
        async with edge(port) as e:
            await e.ask()
            key, frame = e.key, envelope(A, mailbox=e.mailbox)
            await a.relay(B, frame)
            assert await e.hear() == Deliver(envelopes=[frame])
        await a.log.wait("edge_down")
        async with edge(port) as e:
            e.key = key
            assert isinstance(await e.ask(), Claimed)
            assert await e.hear() == Deliver(envelopes=[frame])


@pytest.mark.spec("relay-22", "relay-23")
async def test_a_late_refusal_reaches_the_edge_it_came_through_and_no_other(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with b.running(), home(a, E1, E2) as port, edge(port, E1) as first, edge(port, E2) as second:
        frame = envelope(B)  # nobody there has claimed the mailbox
        await second.say(Open(stream=STREAM))
        assert await second.hear() == Ack(stream=STREAM, cursor=0)
        await second.say(Batch(stream=STREAM, first=1, envelopes=[frame]))
        receipt = await second.hear()
        while not isinstance(receipt, Receipt):
            receipt = await second.hear()
        assert [(outcome[0], outcome[1]) for outcome in receipt.refused] == [
            (parse_envelope(frame).id, ErrorCode.UNDELIVERABLE)
        ]
        await first.say(Ping(token=1))
        assert await first.hear() == Pong(token=1)


@pytest.mark.spec("edge-1")
async def test_an_edge_that_is_not_enrolled_or_is_somebody_else(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port:
        with pytest.RaisesGroup(
            pytest.RaisesExc(Refused, check=lambda e: e.code is ErrorCode.POLICY), flatten_subgroups=True
        ):
            async with edge(port, E2):
                pass
        a.server.edges.enrolled = lambda: [(E1, material(E2).fingerprint)]
        with pytest.RaisesGroup(Refused, flatten_subgroups=True):
            async with edge(port, E1):
                pass


@pytest.mark.spec("edge-5")
async def test_a_revoked_edge_is_sent_away(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1, E2) as port, edge(port, E1) as gone, edge(port, E2) as kept:
        await kept.say(Ping(token=1))
        await kept.hear()
        assert a.server.edges.revoke([(E2, material(E2).fingerprint)]) == 1
        close = await gone.hear()
        assert isinstance(close, Close)
        assert close.code is ErrorCode.POLICY


async def test_an_edge_whose_name_goes_to_another_identity_is_sent_away(tmp_path: Path) -> None:
    """A stolen edge is revoked and its successor enrolled under the same name, with one reload for both."""
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port, E1) as stolen:
        await stolen.say(Ping(token=1))
        await stolen.hear()
        assert a.server.edges.revoke([(E1, material(E2).fingerprint)]) == 1
        close = await stolen.hear()
        assert isinstance(close, Close)
        assert close.code is ErrorCode.POLICY


@pytest.mark.parametrize("names", [(), (E2,)])
@pytest.mark.spec("edge-2")
async def test_an_edge_that_is_revoked_in_the_middle_of_its_handshake_gets_no_link(
    tmp_path: Path, names: tuple[DomainName, ...]
) -> None:
    a = one(tmp_path)
    async with home(a, E1):
        identity = material(E1)
        outcome = Outcome(
            peer=E1,
            identity=identity.identity.public,
            fingerprint=identity.fingerprint,
            version=1,
            extensions={},
            role=Role.ACCEPTOR,
        )
        await a.server.edges.confirm(outcome)
        a.server.edges.enrolled = lambda: [(E1, material(name).fingerprint) for name in names]
        with pytest.raises(RemoteError, match="not enrolled") as caught:
            await a.server.edges.confirm(outcome)
        assert caught.value.code is ErrorCode.POLICY


@pytest.mark.spec("edge-20")
async def test_a_registration_that_cannot_be_stored_is_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StorageError("the disk is full")

    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        with monkeypatch.context() as patch:
            patch.setattr(a.store, "put_mailbox", full)
            answer = await e.ask()
            assert isinstance(answer, NotClaimed)
            assert answer.code is ErrorCode.OVERLOADED
        assert isinstance(await e.ask(2), Claimed)


async def test_what_is_more_urgent_overtakes_the_rest_of_its_batch(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        await e.ask()
        await a.relay(B, envelope(A, mailbox=e.mailbox, urgency=EnvelopeClass.BULK))
        await e.hear()  # what was stored before the claim has been looked for, in the more urgent classes too
        frames = [envelope(A, mailbox=e.mailbox, urgency=urgency) for urgency in reversed(EnvelopeClass)]
        await a.relay(B, *frames)
        heard: list[bytes] = []
        while len(heard) < len(frames):
            message = await e.hear()
            assert isinstance(message, Deliver)
            heard += message.envelopes
        assert heard == frames[::-1]


async def test_a_store_that_cannot_be_read_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OVERLOAD_RETRY", 0.01)
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        frame = envelope(A, mailbox=e.mailbox)
        await a.store.put_mailbox(e.mailbox, encode_registration(make_registration({CAPABILITY: ("*",)})), time.time())
        await a.relay(B, frame)
        read, failures = a.store.read_mailbox, 3

        async def broken(mailbox: MailboxId, after: int, limit: int, urgency: int) -> object:
            nonlocal failures
            if failures:
                failures -= 1
                raise StorageError("the disk does not answer")
            return await read(mailbox, after, limit, EnvelopeClass(urgency))

        monkeypatch.setattr(a.store, "read_mailbox", broken)
        assert isinstance(await e.ask(), Claimed)
        assert await e.hear() == Deliver(envelopes=[frame])
        assert failures == 0


async def test_acknowledged_rows_are_deleted_once_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OVERLOAD_RETRY", 0.01)
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        await e.ask()
        frame = envelope(A, mailbox=e.mailbox)
        await a.relay(B, frame)
        assert await e.hear() == Deliver(envelopes=[frame])
        delete, failures = a.store.delete_inbound, iter(range(3))

        async def full(rows: list[int]) -> int:
            if next(failures, None) is not None:
                raise StorageError("the disk is full")
            return await delete(rows)

        monkeypatch.setattr(a.store, "delete_inbound", full)
        await e.say(e.acknowledge(frame))
        with trio.fail_after(5):
            while await stored(a, e.mailbox):
                await trio.lowlevel.checkpoint()


@pytest.mark.spec("edge-4")
async def test_the_newer_link_of_an_edge_takes_over(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as former, edge(port) as newer:
        await newer.say(Ping(token=1))
        assert await newer.hear() == Pong(token=1)
        close = await former.hear()
        assert isinstance(close, Close)
        assert close.code is ErrorCode.REPLACED
        await former.say(Close(code=ErrorCode.NONE, text=""))
        await a.log.wait("edge_down")
        assert len(a.server.edges) == 1


# --- a hostile edge --------------------------------------------------------------------------------------------------

HOSTILE: dict[str, list[Message]] = {
    "an answer that only we give": [Claimed(request=1, mailbox=bytes(32))],
    "a request number twice": [Claim(request=1, key=bytes(1216)), Claim(request=1, key=bytes(1216))],
    "a batch without a stream": [Batch(stream=STREAM, first=1, envelopes=[b"x"])],
    "a settled stream of ours": [Ack(stream=bytes(8), cursor=9)],
}
HARMLESS: dict[str, list[Message]] = {
    "a proof of nothing": [Proof(request=9, mac=bytes(32), registration=b"")],
    "somebody's acknowledgement": [Acknowledge(mailbox=bytes(32), ids=[bytes(16)], mac=bytes(32))],
    "a release of what it does not hold": [Release(mailbox=bytes(32))],
}


@pytest.mark.parametrize("messages", HOSTILE.values(), ids=HOSTILE.keys())
async def test_an_edge_that_breaks_the_protocol_is_the_only_one_to_go(tmp_path: Path, messages: list[Message]) -> None:
    a = one(tmp_path)
    async with home(a, E1, E2) as port, edge(port, E1) as broken, edge(port, E2) as honest:
        key = MailboxKey.generate(os.urandom).public
        await broken.say(*[attrs.evolve(m, key=key) if isinstance(m, Claim) else m for m in messages])
        assert any(isinstance(m, Close) and m.code is not ErrorCode.NONE for m in await broken.over())
        await a.log.wait("edge_down")
        await honest.say(Ping(token=1))
        assert await honest.hear() == Pong(token=1)
        assert len(a.server.edges) == 1


@pytest.mark.parametrize("messages", HARMLESS.values(), ids=HARMLESS.keys())
async def test_what_an_edge_cannot_prove_changes_nothing(tmp_path: Path, messages: list[Message]) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        await e.ask()
        frame = envelope(A, mailbox=e.mailbox)
        await a.relay(B, frame)
        assert await e.hear() == Deliver(envelopes=[frame])
        await e.say(*messages, Ping(token=1))
        while await e.hear() != Pong(token=1):
            pass
        assert await stored(a, e.mailbox) == [frame]


async def test_an_edge_that_opens_its_streams_in_turn_does_not_end_the_process(tmp_path: Path) -> None:
    a = one(tmp_path)
    async with home(a, E1) as port, edge(port) as e:
        other = b"edge-two"
        for stream in (STREAM, other) * 20:
            await e.say(Open(stream=stream))
            while not (isinstance(heard := await e.hear(), Ack) and heard.stream == stream):
                pass
            await e.say(Batch(stream=stream, first=1, envelopes=[envelope(A)]))
        await e.say(Ping(token=1))
        while await e.hear() != Pong(token=1):
            pass
        assert len(a.server.edges) == 1
