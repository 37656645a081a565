"""Queues in the operator's hands: held over restarts, listed without a mailbox, dropped with an honest word."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import BOX, EDGE_LINK, A, B, C, Site, envelope, sites, some_limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode, TrustLevel
from volly_fed.config.model import Limits
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.link import Pending
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.queue_admin import QueueAdmin
from volly_fed.daemon.ration import Ration
from volly_fed.daemon.store.rows import StoredEnvelope
from volly_fed.errors import LocalError, StorageError
from volly_fed.names import DomainName
from volly_fed.observe.log import Log
from volly_fed.relay.envelope import parse_envelope
from volly_fed.relay.rate import RateLimit
from volly_fed.relay.receipt import DROPPED, DROPPED_LATE
from volly_fed.session import Received
from volly_fed.wire.messages import Message, Receipt


async def ask(site: Site, command: str, **arguments: object) -> dict[str, Any]:
    return await site.server._admin(site.server._overview(site.store)).handlers[command](arguments)


def identity(frame: bytes) -> str:
    return parse_envelope(frame).id.hex()


def known(site: Site, domain: DomainName) -> Peer:
    peer = site.server.peers.known_as(domain)
    assert peer is not None
    return peer


async def settle_down() -> None:
    """Until whatever could have left has left."""
    await trio.testing.wait_all_tasks_blocked(0.05)


@attrs.define
class FakeEdge:
    """Stands where an edge's link is, and hears the receipts."""

    name: DomainName
    heard: list[Message] = attrs.field(factory=list)

    @property
    def link(self) -> "FakeEdge":
        return self

    def send(self, message: Message) -> bool:
        self.heard.append(message)
        return True

    def told(self) -> list[tuple[str, ErrorCode, str]]:
        receipts = [message for message in self.heard if isinstance(message, Receipt)]
        return [(one.hex(), code, text) for receipt in receipts for one, code, text in receipt.refused]


def edge_of(site: Site) -> FakeEdge:
    """As if the edge that submits were connected."""
    edge = FakeEdge(DomainName("edge-1"))
    site.server.edges._links[EDGE_LINK] = edge  # type: ignore[assignment] # what is used of it
    return edge


@asynccontextmanager
async def away(tmp_path: Path, **limits: Any) -> AsyncIterator[Site]:
    """A homeserver whose peer b.test cannot be found."""
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=3600.0, **limits))
    async with a.running(listening=False):
        yield a


@attrs.define
class SlowIntake:
    """Takes what peers hand over as `intake` does, but not before `go`; `came` is set when there is something."""

    intake: Intake
    go: trio.Event = attrs.field(factory=trio.Event)
    came: trio.Event = attrs.field(factory=trio.Event)
    closed: bool = False

    @property
    def limits(self) -> Limits:
        return self.intake.limits

    async def from_peer(self, peer: DomainName, level: Callable[[], TrustLevel], batch: Received) -> Pending:
        self.came.set()
        await self.go.wait()
        return await self.intake.from_peer(peer, level, batch)


def slow(site: Site) -> SlowIntake:
    intake = SlowIntake(site.server.intake)
    site.server.peers.intake = intake  # type: ignore[assignment] # what is used of it
    return intake


# --- holding ----------------------------------------------------------------------------------------------------------


async def test_a_held_peer_gets_nothing_until_it_is_released(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    async with a.running(), b.running():
        await b.register()
        await a.submit(envelope(B))
        await b.until(lambda: len(b.arrived) == 1)
        assert await ask(a, "queue-hold", domain=B) == {"domain": B, "known": True}
        assert await a.submit(*[envelope(B) for _ in range(5)]) == ()
        await settle_down()
        assert (known(a, B).state, len(b.arrived)) == ("linked", 1)
        (shown,) = (await ask(a, "peers", domain=B))["peers"]
        assert shown["held_s"] in range(60)
        status = await ask(a, "status")
        assert status["held"] == [B]
        assert B not in str(status["problems"])

        await b.submit(envelope(A))  # what comes from it is not held
        await b.until(lambda: len(b.settled) == 1)

        assert await ask(a, "queue-release", domain=B) == {"domain": B, "envelopes": 5}
        await b.until(lambda: len(b.arrived) == 6)
        with pytest.raises(LocalError, match=r"b\.test is not held\nnote: `volly-fed queue list`"):
            await ask(a, "queue-release", domain=B)


async def test_a_hold_outlives_the_process_and_nobody_is_dialled_for_what_waits(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    frames = [envelope(B) for _ in range(5)]
    async with b.running():
        await b.register()
        async with a.running():
            assert await ask(a, "queue-hold", domain=B) == {"domain": B, "known": False}
            await a.submit(*frames[:3])
        async with a.running():
            await a.submit(*frames[3:])
            await settle_down()
            assert (known(a, B).link, known(a, B).dialling, b.arrived) == (None, False, [])
            with pytest.raises(LocalError, match=r"b\.test is held\nnote: `volly-fed queue release b\.test`"):
                await ask(a, "retry", domain=B)
            with pytest.raises(LocalError, match=r"b\.test is held"):
                await ask(a, "queue-retry", domain=B)
            assert await ask(a, "queue-retry") == {"peers": []}
            await ask(a, "queue-release", domain=B)
            await b.until(lambda: len(b.arrived) == 5)
        assert sorted(b.arrived) == sorted(frames)
        async with a.running():
            assert await a.store.held() == {}


async def test_a_peer_that_is_tried_is_held_in_the_middle_of_its_pause(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(backoff_cap=0.05))
    async with a.running(listening=False):
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        await ask(a, "queue-hold", domain=B)
        await settle_down()
        tried = len(a.log.all("dial_failed", peer=B))
        await trio.testing.wait_all_tasks_blocked(0.15)  # pauses of 0.07 s at most
        assert len(a.log.all("dial_failed", peer=B)) == tried


async def test_who_is_released_is_dialled_at_once_whatever_its_pause(tmp_path: Path) -> None:
    async with away(tmp_path) as a:
        await a.submit(envelope(B))
        await a.log.wait("dial_failed", peer=B)
        waits = a.server.peers.attempts.due_in(known(a, B).standing)
        await ask(a, "queue-hold", domain=B)
        with trio.fail_after(waits / 2):
            await ask(a, "queue-release", domain=B)
            await a.log.wait("dial_failed", peer=B, count=2)


async def test_what_waits_for_a_held_peer_has_its_bounds(tmp_path: Path) -> None:
    async with away(tmp_path, queue_envelopes_per_peer=2) as a:
        await ask(a, "queue-hold", domain=B)
        refused = await a.submit(envelope(B), envelope(B), envelope(B))
        assert [(number, code) for number, code, _ in refused] == [(3, ErrorCode.OVERLOADED)]


def test_a_held_peer_is_not_forgotten() -> None:
    peer = Peer(B, Ration(B, Log("error"), RateLimit(1000, 1 << 20, 0.0)))
    assert peer.idle
    peer.hold(1.0)
    assert not peer.idle


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_queues_are_listed_by_class_and_envelopes_without_their_mailboxes(tmp_path: Path) -> None:
    frames = [
        envelope(B, urgency=EnvelopeClass.BULK),
        envelope(B),
        envelope(B),
        envelope(B, urgency=EnvelopeClass.RING),
    ]
    size = len(frames[0])
    async with away(tmp_path) as a:
        assert await ask(a, "queue") == {"peers": []}
        await a.submit(*frames)
        await ask(a, "queue-hold", domain=C)
        one, other = (await ask(a, "queue"))["peers"]
        assert (one["domain"], one["envelopes"], one["bytes"], one["held_s"]) == (B, 4, 4 * size, None)
        assert one["classes"] == {
            "ring": {"envelopes": 1, "bytes": size},
            "signal": {"envelopes": 2, "bytes": 2 * size},
            "bulk": {"envelopes": 1, "bytes": size},
        }
        assert (other["domain"], other["envelopes"]) == (C, 0)
        assert other["held_s"] in range(60)

        shown = await ask(a, "queue", domain=B, limit=3)
        order = [frames[3], frames[1], frames[2]]
        assert [(e["id"], e["class"]) for e in shown["waiting"]] == [
            (identity(frame), name) for frame, name in zip(order, ("ring", "signal", "signal"), strict=True)
        ]
        assert {(e["bytes"], e["sent"]) for e in shown["waiting"]} == {(size, False)}
        assert all(3590 < e["expires_in_s"] <= 3600 and e["age_s"] <= 10 for e in shown["waiting"])
        assert BOX.hex() not in str(shown)


@pytest.mark.parametrize("command", ["queue", "queue-release", "queue-drop", "queue-retry"])
async def test_a_peer_that_nobody_knows_is_an_error_with_a_next_step(tmp_path: Path, command: str) -> None:
    async with away(tmp_path) as a:
        with pytest.raises(LocalError, match=r"nothing waits for c\.test, .*\nnote: `volly-fed peers`"):
            await ask(a, command, domain=C, all=True)


async def test_everybody_who_waits_is_tried_at_once(tmp_path: Path) -> None:
    async with away(tmp_path) as a:
        await a.submit(envelope(B))
        await a.submit(envelope(C))
        await a.log.wait("dial_failed", peer=B)
        await a.log.wait("dial_failed", peer=C)
        tried = await ask(a, "queue-retry")
        assert [one["domain"] for one in tried["peers"]] == [B, C]
        await a.log.wait("dial_failed", peer=B, count=2)
        await a.log.wait("dial_failed", peer=C, count=2)


# --- dropping ---------------------------------------------------------------------------------------------------------


async def test_what_is_dropped_is_off_the_disk_and_out_of_memory_and_its_edge_is_told(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    frames = [envelope(B) for _ in range(4)]
    async with a.running():
        edge = edge_of(a)
        await ask(a, "queue-hold", domain=B)
        await a.submit(*frames)
        one = {"domain": B, "ids": [identity(frames[1]), "00" * 16]}
        plan = await ask(a, "queue-drop", only_ask=True, **one)
        assert (plan["envelopes"], plan["told"], plan["untold"]) == (1, 1, 0)
        assert plan["unknown"] == ["00" * 16]
        assert edge.told() == []
        assert a.store.outbound_depth(B)[0] == 4

        assert await ask(a, "queue-drop", **one) == plan
        assert edge.told() == [(identity(frames[1]), *DROPPED)]
        assert a.store.outbound_depth(B) == (3, 3 * len(frames[0]))
        left = await ask(a, "queue", domain=B)
        assert [one["id"] for one in left["waiting"]] == [identity(frame) for frame in (frames[0], *frames[2:])]
        assert left["classes"]["signal"] == {"envelopes": 3, "bytes": 3 * len(frames[0])}
        assert a.log.all("queue_dropped", peer=B, count=1)

        async with b.running():
            await b.register()
            await ask(a, "queue-release", domain=B)
            await b.until(lambda: len(b.arrived) == 3)
        assert sorted(b.arrived) == sorted([frames[0], *frames[2:]])


async def test_nobody_is_said_to_be_told_who_is_not(tmp_path: Path) -> None:
    async with away(tmp_path) as a:
        await a.submit(envelope(B), envelope(B))
        plan = await ask(a, "queue-drop", domain=B, all=True, only_ask=True)
        assert (plan["told"], plan["untold"]) == (0, 2)  # its edge has gone
    (a,) = sites(tmp_path, A)
    async with a.running(listening=False):
        edge_of(a)
        await a.submit(envelope(B))
        done = await ask(a, "queue-drop", domain=B, all=True)
        assert (done["envelopes"], done["told"], done["untold"]) == (3, 1, 2)  # two are of a former process
        assert a.store.outbound_depth(B) == (0, 0)
        with pytest.raises(
            LocalError, match=r"nothing of that waits for b\.test\nnote: `volly-fed queue list b\.test`"
        ):
            await ask(a, "queue-drop", domain=B, all=True)


@pytest.mark.parametrize(
    "wanted", [{}, {"ids": []}, {"ids": ["00"]}, {"ids": ["x" * 32]}, {"ids": [3]}, {"all": True, "ids": ["00" * 16]}]
)
async def test_it_has_to_be_said_what_is_to_be_dropped(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async with away(tmp_path) as a:
        await a.submit(envelope(B))
        with pytest.raises(LocalError, match="note: "):
            await ask(a, "queue-drop", domain=B, **wanted)
        assert a.store.outbound_depth(B)[0] == 1


async def test_what_was_sent_without_an_answer_can_be_dropped_and_its_sender_hears_that_it_may_arrive(
    tmp_path: Path,
) -> None:
    a, b = sites(tmp_path, A, B)
    sent, later = envelope(B), envelope(B)
    async with a.running():
        edge = edge_of(a)
        async with b.running():
            intake = slow(b)
            await a.submit(sent)
            await intake.came.wait()
        await ask(a, "queue-hold", domain=B)
        while known(a, B).link is not None:
            await settle_down()
        assert known(a, B).outbound.in_flight == 1
        await a.submit(later)
        done = await ask(a, "queue-drop", domain=B, ids=[identity(sent)])
        assert (done["envelopes"], done["sent"], done["told"], done["under_way"]) == (1, 1, 1, 0)
        assert edge.told() == [(identity(sent), *DROPPED_LATE)]
        async with b.running():
            await b.register()
            await ask(a, "queue-release", domain=B)
            await b.until(lambda: len(b.arrived) == 1)
            await a.until(lambda: len(a.settled) == 1)
        assert b.arrived == [later]
        while a.store.outbound_depth(B) != (0, 0):  # settled first, deleted then
            await settle_down()


async def test_what_is_under_way_on_a_link_is_left_alone(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    under_way, waits = envelope(B), envelope(B)
    async with a.running(), b.running():
        await b.register()
        edge, intake = edge_of(a), slow(b)
        await a.submit(under_way)
        await intake.came.wait()
        await ask(a, "queue-hold", domain=B)
        await a.submit(waits)
        for only_ask in (True, False):
            answer = await ask(a, "queue-drop", domain=B, all=True, only_ask=only_ask)
            assert (answer["envelopes"], answer["under_way"], answer["sent"]) == (1, 1, 0)
        assert edge.told() == [(identity(waits), *DROPPED)]
        await ask(a, "queue-release", domain=B)
        intake.go.set()
        await a.until(lambda: len(a.settled) == 1)
        assert b.arrived == [under_way]


def test_a_read_that_was_under_way_brings_nothing_back() -> None:
    peer = Peer(B, Ration(B, Log("error"), RateLimit(1000, 1 << 20, 0.0)))
    frame = envelope(B)
    rows = [StoredEnvelope(row, bytes(16), 0, EnvelopeClass.SIGNAL, frame) for row in (1, 2)]
    while (read := peer.next_read()) is not None and read[0] is not EnvelopeClass.SIGNAL:
        peer.read(read[0], [])
    peer.begin_cut()  # not linked: what is in memory is forgotten
    reads = [peer.next_read() for _ in EnvelopeClass]
    assert reads[1] is not None
    peer.end_cut({1})
    peer.read(EnvelopeClass.SIGNAL, rows)
    assert peer.outbound.waiting == 1


class Broken:
    """A store whose disk takes no deletion."""

    async def cut_outbound(self, _peer: DomainName, _ids: object, _but: Collection[int]) -> None:
        raise StorageError("the disk is gone")


async def test_where_the_disk_fails_nothing_is_dropped_and_nobody_told(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    frame = envelope(B)
    async with a.running(), b.running():
        await b.register()
        edge = edge_of(a)
        await ask(a, "queue-hold", domain=B)
        await a.submit(frame)
        parts: dict[str, Any] = {"store": Broken(), "peers": a.server.peers, "edges": a.server.edges}
        broken = QueueAdmin(submitters=a.server.submitters, log=a.server.log, **parts)
        with pytest.raises(StorageError):
            await broken.drop({"domain": B, "all": True})
        assert edge.told() == []
        await ask(a, "queue-release", domain=B)
        await b.until(lambda: b.arrived == [frame])
