"""While the disk takes no writes: what is known needs none, so that what is there can leave; what is new is refused."""

import time
from pathlib import Path

import attrs
import pytest

from tests.daemon.edge_nodes import E1, edge, home
from tests.daemon.read_only import ReadOnly
from tests.daemon.sites import A, B, C, Site, endpoint, envelope, material, sites, some_limits
from tests.daemon.test_judge import claim, outcome
from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.backoff import Attempts, Standing, pause
from volly_fed.daemon.store.store import Store
from volly_fed.errors import RemoteError, StorageError
from volly_fed.wire.messages import Claimed, Deliver, NotClaimed


def judging(folder: Path, disk: ReadOnly) -> Site:
    (a,) = sites(folder, A, vfs=disk.name)
    a.resolver.known = {B: endpoint(B, 1), C: endpoint(C, 1)}
    return a


# --- identities ------------------------------------------------------------------------------------------------------


async def test_a_known_identity_is_let_in(tmp_path: Path, disk: ReadOnly) -> None:
    a = judging(tmp_path, disk)
    async with a.running(listening=False):
        evidence = (await claim(a)).evidence
        await a.server.judge.establish(outcome(), evidence)
        pin = await a.store.pin(B)
        with disk.taking_nothing():
            proved_anew = attrs.evolve(evidence, spki_sha256=(bytes(32),))  # it would be kept, if it could be
            assert await a.server.judge.establish(outcome(), proved_anew) is TrustLevel.FULL
            assert await a.store.pin(B) == pin
            assert len(a.log.all("storage_failed")) == 1


@pytest.mark.spec("trust-16")
async def test_a_first_contact_is_not(tmp_path: Path, disk: ReadOnly) -> None:
    a = judging(tmp_path, disk)
    async with a.running(listening=False):
        evidence = (await claim(a)).evidence
        with disk.taking_nothing(), pytest.raises(StorageError):
            await a.server.judge.establish(outcome(), evidence)
        assert await a.store.pin(B) is None
        assert a.log.all("pinned") == []


async def test_another_identity_is_not_and_waits_for_nobody_before_it_is_written_down(
    tmp_path: Path, disk: ReadOnly
) -> None:
    a = judging(tmp_path, disk)
    async with a.running(listening=False):
        evidence = (await claim(a)).evidence
        await a.server.judge.establish(outcome(), evidence)
        changed = attrs.evolve(evidence, identity=material(C).fingerprint)
        with disk.taking_nothing():
            with pytest.raises(StorageError):
                await a.server.judge.establish(outcome(keys=C), changed)
            assert a.log.all("identity_changed") == []
        with pytest.raises(RemoteError):
            await a.server.judge.establish(outcome(keys=C), changed)
        with disk.taking_nothing():
            with pytest.raises(RemoteError) as caught:  # known by now, and refused as it should be
                await a.server.judge.establish(outcome(keys=C), changed)
            assert caught.value.code is ErrorCode.IDENTITY_MISMATCH
            with pytest.raises(StorageError):  # it would end the quarantine
                await a.server.judge.establish(outcome(), evidence)


async def test_what_is_on_the_disk_leaves_over_a_new_link(tmp_path: Path, disk: ReadOnly) -> None:
    a, b = sites(tmp_path, A, B)
    a.vfs = disk.name
    frames = [envelope(B) for _ in range(3)]
    async with a.running():
        async with b.running():
            await b.register()
            await a.submit(frames[0])
            await a.until(lambda: len(a.settled) == 1)
        await a.submit(*frames[1:])
        with disk.taking_nothing():
            async with b.running():
                await b.until(lambda: len(set(b.arrived)) == 3)
            assert set(b.arrived) == set(frames)


# --- back-off --------------------------------------------------------------------------------------------------------


async def test_a_back_off_that_cannot_be_written_holds(tmp_path: Path, disk: ReadOnly) -> None:
    async with Store.open(tmp_path / "s", vfs=disk.name) as store:
        attempts, standing = Attempts(store=store, cap=300.0), Standing(B)
        with disk.taking_nothing():
            for failures in range(1, 6):
                await attempts.begin(standing)
                wait = await attempts.wait(standing)
                assert standing.failures == failures
                assert wait > pause(failures, 300.0) * limits.BACKOFF_JITTER[0] - 0.1
                assert attempts.due_in(standing) == pytest.approx(wait, abs=0.1)
        await attempts.begin(standing)
        kept = await store.backoff(B)
        assert kept is not None
        assert kept.failures == 6
        await store.put_backoff(B, None)  # the operator's decision
        assert await attempts.wait(standing) == 0


async def test_a_back_off_is_forgotten_though_it_was_never_written(tmp_path: Path, disk: ReadOnly) -> None:
    async with Store.open(tmp_path / "s", vfs=disk.name) as store:
        attempts, standing = Attempts(store=store, cap=300.0), Standing(B)
        with disk.taking_nothing():
            await attempts.begin(standing)
        await attempts.forget(standing)
        assert await attempts.wait(standing) == 0


async def test_the_log_says_the_truth_about_the_next_attempt(tmp_path: Path, disk: ReadOnly) -> None:
    (a,) = sites(tmp_path, A, vfs=disk.name)
    a.limits = some_limits(backoff_cap=300.0)
    async with a.running(listening=False):
        await a.submit(envelope(B))  # nobody knows where that is
        with disk.taking_nothing():
            began, lines = time.monotonic(), [await a.log.wait("dial_failed", peer=B, count=n) for n in (2, 3)]
            assert lines[1]["retry_in_s"] > lines[0]["retry_in_s"]
            assert time.monotonic() - began > lines[0]["retry_in_s"] - 0.1


# --- mailboxes -------------------------------------------------------------------------------------------------------


async def test_a_mailbox_is_claimed_whose_registration_is_there(tmp_path: Path, disk: ReadOnly) -> None:
    (a,) = sites(tmp_path, A, vfs=disk.name)
    async with home(a, E1) as port:
        async with edge(port) as e:
            await e.ask()
            key, frame = e.key, envelope(A, mailbox=e.mailbox)
            await a.relay(B, frame)
            assert await e.hear() == Deliver(envelopes=[frame])
        await a.log.wait("edge_down")
        with disk.taking_nothing():
            async with edge(port) as e:
                e.key = key
                assert isinstance(await e.ask(), Claimed)
                assert await e.hear() == Deliver(envelopes=[frame])
            async with edge(port) as e:
                answer = await e.ask()  # a mailbox nobody has claimed before
                assert isinstance(answer, NotClaimed)
                assert answer.code is ErrorCode.OVERLOADED


async def test_it_is_claimed_even_if_it_is_time_to_note_that(tmp_path: Path, disk: ReadOnly) -> None:
    (a,) = sites(tmp_path, A, vfs=disk.name)
    async with home(a, E1) as port:
        async with edge(port) as e:
            await e.ask()
            key, record = e.key, await a.store.mailbox(e.mailbox)
            assert record is not None
            for each in (b"another", record.registration):
                await a.store.put_mailbox(e.mailbox, each, 0.0)
        await a.log.wait("edge_down")
        with disk.taking_nothing():
            async with edge(port) as e:
                e.key = key
                assert isinstance(await e.ask(), Claimed)
                assert len(a.log.all("storage_failed")) == 1
