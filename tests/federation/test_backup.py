"""Backups of homeservers that run, with real processes: under load, restored on another path, and killed in between."""

import json
from pathlib import Path

import attrs
import pytest
import trio

from tests.federation.harness import (
    A,
    B,
    Federation,
    Heard,
    Outcomes,
    count_rows,
    eventually,
    federation,
    introduce,
    listening,
    now,
    submitting,
)
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.admin.client import call
from volly_fed.daemon.backup.create import create
from volly_fed.daemon.backup.restore import restore, verify
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.daemon.store.store import Store
from volly_fed.names import DomainName
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many
from volly_fed.testnet.processes import command

pytestmark = pytest.mark.real
BATCH = 40


async def backed_up(net: Federation, domain: DomainName, target: Path) -> None:
    config = net.site(domain).config
    made = await trio.to_thread.run_sync(lambda: create(config, target, now()))
    assert made.running


def move(net: Federation, domain: DomainName, backup: Path, folder: Path) -> None:
    """Let the homeserver of `domain` be what comes out of `backup`, in `folder`; the old files are out of reach."""
    done = restore(backup, folder)
    old = net.site(domain)
    (old.folder / "data").rename(old.folder / "gone")
    net.network.sites[domain] = attrs.evolve(old, config=done.config)


@attrs.define
class Traffic:
    """Alice of a.test writes to Bob of b.test, and on, until told to stop."""

    alice: Device
    bob: Device
    sent: list[bytes] = attrs.Factory(list)

    async def run(self, outcomes: Outcomes, *, task_status: trio.TaskStatus[None]) -> None:
        async with submitting(self.alice, outcomes) as connection:
            task_status.started()
            while True:
                sealed = await seal_many(self.alice, self.bob, BATCH)
                self.sent += [identity for identity, _ in sealed]
                await connection.submit(sealed)
                await outcomes.wait(len(self.sent))


async def test_backups_under_load_are_restored_and_nothing_of_them_is_lost_or_given_twice(tmp_path: Path) -> None:
    """First the receiver goes back, to the middle of traffic; then the sender, to when all that waits was not sent."""
    async with federation(tmp_path) as net:
        traffic, heard = Traffic(net.device(A, "alice"), net.device(B, "bob")), Heard()
        await introduce(traffic.bob)
        before = await under_load(net, traffic, tmp_path / "b.tar")
        assert len(before) >= BATCH
        async with listening(traffic.bob, heard):
            await heard.wait(BATCH)  # some of what is in the backup is delivered, acknowledged, and comes again
        await net.homeserver(B).kill()
        for number in range(3):
            assert (await traffic.alice.send(traffic.bob.card, f"queued {number}")).accepted
        await backed_up(net, A, tmp_path / "a.tar")

        move(net, B, tmp_path / "b.tar", tmp_path / "moved" / "b")
        await net.start_homeservers(B)
        async with listening(traffic.bob, heard):
            await trio.to_thread.run_sync(lambda: call(config_of(net, A), "retry", domain=B))
            await eventually(lambda: True if before <= set(heard.counts) else None, "all of the backup is delivered")
            await eventually(lambda: True if "queued 2" in heard.texts else None, "what waited for it is delivered")

            await warned_of_the_other(net, tmp_path)
            await net.homeserver(A).kill()
            move(net, A, tmp_path / "a.tar", tmp_path / "moved" / "a")
            await net.start_homeservers(A)  # sends again what the other one has sent
            assert (await traffic.alice.send(traffic.bob.card, "last")).accepted
            await eventually(lambda: True if "last" in heard.texts else None, "the link works")
            await net.homeserver(A).stop()  # not before all has left
        assert heard.twice == 0
        assert [heard.texts.count(f"queued {number}") for number in range(3)] == [1, 1, 1]
        assert count_rows(tmp_path / "moved" / "a" / "data" / "store.db", "outbound") == 0


async def under_load(net: Federation, traffic: Traffic, target: Path) -> set[bytes]:
    """A backup of b.test while Alice writes and nobody listens: what waits for Bob in it."""
    outcomes = Outcomes()
    async with trio.open_nursery() as load:
        await load.start(traffic.run, outcomes)
        await outcomes.wait(3 * BATCH)
        await backed_up(net, B, target)
        await outcomes.wait(len(outcomes.accepted) + BATCH)
        load.cancel_scope.cancel()
    verify(target)
    look = restore(target, target.with_name("look")).config.parent / "data" / "store.db"
    found: set[bytes] = set()
    row = 0
    async with Store.open(look) as store:
        while some := await store.read_mailbox(traffic.bob.keys.address.mailbox, row):
            found.update(envelope.id for envelope in some)
            row = some[-1].row
    return found


async def warned_of_the_other(net: Federation, folder: Path) -> None:
    """Restored beside the one that runs: it works, and the operator is told. (`move` restores it once more.)"""
    backup, target = str(folder / "a.tar"), str(folder / "beside")
    arguments = command("restore", backup, "--dir", target, "--json")
    done = await trio.run_process(arguments, capture_stdout=True, check=False)
    document = json.loads(done.stdout)
    assert (done.returncode, document["published"], document["answers"]) == (1, True, True)
    assert net.homeserver(A).process.poll() is None


def config_of(net: Federation, domain: DomainName) -> HomeserverConfig:
    return read_homeserver_config(net.site(domain).config)
