"""What becomes of envelopes that come in: judged, stored, passed on; refused alike; never acknowledged too early."""

import threading
import time
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.sites import BOX, A, B, C, Site, envelope, sites, some_limits
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode, TrustLevel
from volly_fed.errors import StorageError
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import encode_envelope, parse_envelope
from volly_fed.session import Received
from volly_fed.trust.policy import Policy
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Ack, Refusal

LONG = DomainName(".".join(["a" * 63] * 3 + ["b" * 61]))


def site(tmp_path: Path, **changes: object) -> Site:
    (a,) = sites(tmp_path, A, **changes)
    return a


async def stored(a: Site) -> list[bytes]:
    return [row.frame for row in await a.store.read_mailbox(BOX)]


def codes(refusals: tuple[Refusal, ...]) -> list[ErrorCode]:
    return [code for _, code, _ in refusals]


@pytest.mark.spec("relay-2")
async def test_local_envelopes_are_stored_and_handed_on(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        frames = [envelope(A) for _ in range(3)]
        assert await a.submit(*frames) == ()
        assert await stored(a) == a.arrived == frames


@pytest.mark.spec("relay-20")
async def test_an_envelope_that_comes_twice_is_stored_once(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        frame = envelope(A)
        await a.submit(frame)
        await a.submit(frame)
        assert await a.relay(B, frame) == ()
        assert await stored(a) == [frame]


@pytest.mark.spec("relay-20")
async def test_what_is_remembered_is_refused_like_any_other_to_who_may_not_deliver_it(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register(("b.test",))
        known = envelope(A)
        assert await a.relay(B, known, level=TrustLevel.SELECTIVE) == ()
        same = parse_envelope(known)
        others = [attrs.evolve(same, capability=bytes(16)), attrs.evolve(same, mailbox=MailboxId(bytes(32)))]
        answers = [
            *await a.relay(B, *map(encode_envelope, others), level=TrustLevel.SELECTIVE),
            *await a.relay(C, known, level=TrustLevel.SELECTIVE),
        ]
        assert codes(tuple(answers)) == [ErrorCode.UNDELIVERABLE] * 3
        assert await stored(a) == [known]


@pytest.mark.spec("trust-7")
async def test_every_refusal_that_depends_on_a_mailbox_is_the_same(tmp_path: Path) -> None:
    a = site(tmp_path, limits=some_limits(mailbox_envelopes=1))
    async with a.running(listening=False):
        unclaimed = await a.submit(envelope(A))
        await a.register(("b.test",))
        wrong = await a.submit(envelope(A, capability=bytes(16)))
        nobody = await a.submit(envelope(A, mailbox=MailboxId(bytes(32))))
        assert await a.submit(envelope(A)) == ()
        full = await a.submit(envelope(A))
        out_of_scope = await a.relay(C, envelope(A), level=TrustLevel.SELECTIVE)
    answers = {refusals[0][1:] for refusals in (unclaimed, wrong, nobody, full, out_of_scope)}
    assert len(answers) == 1
    assert answers.pop()[0] is ErrorCode.UNDELIVERABLE


async def test_quotas_hold_within_one_batch_too(tmp_path: Path) -> None:
    a = site(tmp_path, limits=some_limits(mailbox_bytes=2500))
    async with a.running(listening=False):
        await a.register()
        refusals = await a.submit(*[envelope(A) for _ in range(4)])
        assert [sequence for sequence, _, _ in refusals] == [3, 4]
        assert len(await stored(a)) == 2


@pytest.mark.spec("relay-3", "relay-5", "relay-9", "relay-10")
async def test_expired_overlong_and_malformed_envelopes(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        now = time.time()
        bad = [
            envelope(A, expiry=now - limits.CLOCK_SKEW - 5),
            envelope(A, expiry=now + limits.MAX_LIFETIME + limits.CLOCK_SKEW + 5),
            envelope(A)[:-1],
            b"",
        ]
        wanted = [ErrorCode.EXPIRED, ErrorCode.MALFORMED, ErrorCode.MALFORMED, ErrorCode.MALFORMED]
        good = envelope(A)
        assert codes(await a.submit(*bad, good)) == wanted
        assert codes(await a.relay(B, *bad)) == wanted
        assert await stored(a) == [good]


@pytest.mark.parametrize("late", [-limits.CLOCK_SKEW - 5, limits.MAX_LIFETIME + limits.CLOCK_SKEW + 5])
async def test_one_expiry_out_of_range_in_a_batch_that_is_alike_otherwise(tmp_path: Path, late: float) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        good = [envelope(A) for _ in range(3)]
        refusals = await a.relay(B, good[0], envelope(A, expiry=time.time() + late), *good[1:])
        assert [sequence for sequence, _, _ in refusals] == [2]
        assert await stored(a) == good


async def test_a_peer_cannot_relay_to_third_parties(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        assert codes(await a.relay(B, envelope(C), envelope(B))) == [ErrorCode.UNKNOWN_DOMAIN] * 2
        assert await a.store.outbound_peers() == []
        assert a.server.peers._peers == {}


@pytest.mark.parametrize("level", [TrustLevel.METADATA, TrustLevel.NONE])
async def test_a_peer_whose_level_lets_no_envelopes_in(tmp_path: Path, level: TrustLevel) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        assert codes(await a.relay(B, envelope(A), level=level)) == [ErrorCode.POLICY]
        assert await stored(a) == []


@pytest.mark.spec("trust-7")
async def test_selective_reaches_only_mailboxes_that_named_the_peer(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register(("b.test",))
        assert await a.relay(B, envelope(A), level=TrustLevel.SELECTIVE) == ()
        assert codes(await a.relay(C, envelope(A), level=TrustLevel.SELECTIVE)) == [ErrorCode.UNDELIVERABLE]


async def test_a_refusal_by_policy_fits_its_message_however_long_the_names(tmp_path: Path) -> None:
    """Else the edge would drop the link, come back with the same envelope, and be of no use to anybody any more."""
    a = site(tmp_path)
    a.policy = Policy(allow=frozenset({"friend.test"}))
    async with a.running(listening=False):
        refusals = await a.submit(envelope(LONG))
        refusals += await a.relay(LONG, envelope(DomainName("c" + LONG[1:])))
    assert codes(refusals) == [ErrorCode.POLICY, ErrorCode.UNKNOWN_DOMAIN]
    ack = Ack(stream=bytes(8), cursor=1, refusals=refusals)
    assert parse_message(encode_message(ack)) == ack


@pytest.mark.spec("relay-26")
async def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        await a.refuse_writes(full=True)
        frames = [envelope(A, body=65536) for _ in range(4)]
        refusals = await a.submit(*frames)
        assert codes(refusals) == [ErrorCode.OVERLOADED] * 4
        assert "disk" not in refusals[0][2]
        for first, frame in enumerate(frames, 1):
            with pytest.raises(StorageError, match="disk is full" if first == 1 else "not stored"):
                await a.relay(B, frame, first=first)
        with pytest.raises(StorageError, match="before this one"):
            await a.relay(B, b"malformed, no room needed", first=5)
        assert codes(await a.submit(*[envelope(C, body=65536) for _ in range(4)])) == [ErrorCode.OVERLOADED] * 4
        assert await stored(a) == []
        assert len(a.log.all("storage_failed")) == 1
        await a.refuse_writes(full=False)
        assert await a.relay(B, *frames) == ()
        assert await stored(a) == frames


@pytest.mark.spec("session-17", "relay-15", "relay-25")
async def test_nothing_is_acknowledged_before_its_commit(tmp_path: Path) -> None:
    a = site(tmp_path)
    disk, answers = threading.Event(), list[tuple[Refusal, ...]]()
    async with a.running(listening=False), trio.open_nursery() as nursery:
        await a.register()

        async def hand_over(*frames: bytes) -> None:
            answers.append(await a.submit(*frames))

        a.store._begin(lambda _: disk.wait(10))
        nursery.start_soon(hand_over, envelope(A))
        nursery.start_soon(hand_over, envelope(C))
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert answers == []
        disk.set()
    assert answers == [(), ()]


@pytest.mark.spec("session-18")
async def test_the_cursor_is_stored_with_the_envelopes(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        await a.relay(B, envelope(A), envelope(A), b"malformed")
        cursor, refusals = await a.store.cursor(B, b"peer-one")
        assert (cursor, [(n, code) for n, code, _ in refusals]) == (3, [(3, ErrorCode.MALFORMED)])
        await a.relay(B, b"malformed", first=4)
        cursor, refusals = await a.store.cursor(B, b"peer-one")
        assert (cursor, [n for n, _, _ in refusals]) == (4, [3, 4])


async def test_a_link_that_ends_meanwhile_does_not_keep_stored_rows_from_delivery(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.register()
        frame = envelope(A)
        with trio.CancelScope() as link:
            link.cancel()
            await a.server.intake.from_peer(
                B, lambda: TrustLevel.FULL, Received(stream=b"peer-one", first=1, envelopes=[frame])
            )
        await a.store.cursor(B, b"peer-one")  # in the order of the jobs
        assert a.arrived == await stored(a)


@pytest.mark.spec("relay-16")
async def test_the_queue_of_a_peer_is_bounded_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    a = site(tmp_path, limits=some_limits(queue_envelopes_per_peer=3, queue_bytes_per_peer=10_000))
    async with a.running(listening=False):
        refusals = await a.submit(*[envelope(C) for _ in range(5)])
        assert [(sequence, code) for sequence, code, _ in refusals] == [
            (4, ErrorCode.OVERLOADED),
            (5, ErrorCode.OVERLOADED),
        ]
        assert codes(await a.submit(envelope(C))) == [ErrorCode.OVERLOADED]
        assert await a.submit(envelope(B, body=16384)) == ()
        assert codes(await a.submit(envelope(B))) == [ErrorCode.OVERLOADED]
        queued = await a.store.read_outbound(C, EnvelopeClass.SIGNAL)
        assert len(queued) == 3
        assert all(parse_envelope(row.frame).domain == C for row in queued)


@pytest.mark.spec("relay-16")
async def test_the_queues_of_all_peers_together_are_bounded(tmp_path: Path) -> None:
    a = site(tmp_path, limits=some_limits(queue_envelopes=3, queue_bytes=20_000))
    async with a.running(listening=False):
        refusals = await a.submit(envelope(B), envelope(C), envelope(B), envelope(C))
        assert [(sequence, code) for sequence, code, _ in refusals] == [(4, ErrorCode.OVERLOADED)]


async def test_a_bound_counts_what_is_on_its_way_to_the_disk(tmp_path: Path) -> None:
    a = site(tmp_path, limits=some_limits(queue_envelopes_per_peer=3))
    async with a.running(listening=False):
        batch = Received(stream=b"edge-one", first=1, envelopes=[envelope(C), envelope(C)])
        begun = [await a.server.intake.from_edge(1, batch) for _ in range(3)]
        assert [len(await pending()) for pending in begun] == [0, 1, 2]


async def test_a_registration_nobody_can_read_lets_nothing_in(tmp_path: Path) -> None:
    a = site(tmp_path)
    async with a.running(listening=False):
        await a.store.put_mailbox(BOX, b"from another version", time.time())
        assert codes(await a.relay(B, envelope(A))) == [ErrorCode.UNDELIVERABLE]
