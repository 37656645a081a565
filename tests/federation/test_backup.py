"""Backups of homeservers that run, with real processes: under load, restored on another path, and killed in between."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.federation.harness import (
    A,
    B,
    Federation,
    Heard,
    Outcomes,
    eventually,
    federation,
    introduce,
    listening,
    submitting,
)
from volly_fed.daemon.backup.restore import restore, verify
from volly_fed.daemon.store.store import Store
from volly_fed.names import DomainName, MailboxId
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many
from volly_fed.testnet.processes import command

pytestmark = pytest.mark.real
BATCH = 40


async def volly_fed(*arguments: str) -> Any:
    """What `volly-fed ARGUMENTS --json` prints."""
    done = await trio.run_process(command(*arguments, "--json"), capture_stdout=True)
    return json.loads(done.stdout)


async def backed_up(net: Federation, domain: DomainName, target: Path) -> None:
    made = await volly_fed("backup", str(target), "--config", str(net.site(domain).config))
    assert made["running"]


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


async def test_a_backup_under_load_is_restored_and_nothing_of_it_is_lost_or_given_twice(tmp_path: Path) -> None:
    """The receiver goes back to a moment in the middle of traffic, on another path."""
    async with federation(tmp_path) as net:
        traffic = Traffic(net.device(A, "alice"), net.device(B, "bob"))
        heard, outcomes = Heard(), Outcomes()
        await introduce(traffic.bob)
        async with trio.open_nursery() as load:
            await load.start(traffic.run, outcomes)  # nobody listens: it all waits at b.test
            await outcomes.wait(3 * BATCH)
            await backed_up(net, B, tmp_path / "b.tar")
            accepted_by_then = len(outcomes.accepted)
            await outcomes.wait(accepted_by_then + BATCH)
            load.cancel_scope.cancel()
        verify(tmp_path / "b.tar")
        look = restore(tmp_path / "b.tar", tmp_path / "look").config.parent / "data" / "store.db"
        before = await stored(look, traffic.bob.keys.address.mailbox)
        assert len(before) >= BATCH
        async with listening(traffic.bob, heard):
            await heard.wait(BATCH)  # some of what is in the backup is delivered, acknowledged, and comes again
        await net.homeserver(B).kill()
        move(net, B, tmp_path / "b.tar", tmp_path / "moved" / "b")
        await net.start_homeservers(B)
        async with listening(traffic.bob, heard):
            await eventually(lambda: True if before <= set(heard.counts) else None, "all of the backup is delivered")
            assert (await traffic.alice.send(traffic.bob.card, "since")).accepted
            await eventually(lambda: True if "since" in heard.texts else None, "the link works")
        assert heard.twice == 0


async def stored(path: Path, mailbox: MailboxId) -> set[bytes]:
    """What waits for a device in a store that no homeserver uses."""
    found: set[bytes] = set()
    row = 0
    async with Store.open(path) as store:
        while some := await store.read_mailbox(mailbox, row):
            found.update(envelope.id for envelope in some)
            row = some[-1].row
    return found


async def test_what_waited_at_the_moment_of_the_backup_leaves_once(tmp_path: Path) -> None:
    """It was delivered since, and the restored sender sends it again: the peer knows it, the device hears it once."""
    async with federation(tmp_path) as net:
        alice, bob, heard = net.device(A, "alice"), net.device(B, "bob"), Heard()
        await introduce(bob)
        await net.homeserver(B).kill()
        for number in range(5):
            assert (await alice.send(bob.card, f"{number}")).accepted
        await backed_up(net, A, tmp_path / "a.tar")
        await net.start_homeservers(B)
        async with listening(bob, heard):
            await heard.wait(5)
            await warned_of_the_other(net, tmp_path)
            await net.homeserver(A).stop()
            move(net, A, tmp_path / "a.tar", tmp_path / "moved")
            await net.start_homeservers(A)
            assert (await alice.send(bob.card, "last")).accepted
            await heard.wait(6)
        assert (sorted(text or "" for text in heard.texts), heard.twice) == (["0", "1", "2", "3", "4", "last"], 0)


async def warned_of_the_other(net: Federation, folder: Path) -> None:
    """Restored beside the one that runs: it works, and the operator is told. (`move` restores it once more.)"""
    backup, target = str(folder / "a.tar"), str(folder / "beside")
    arguments = command("restore", backup, "--dir", target, "--json")
    done = await trio.run_process(arguments, capture_stdout=True, check=False)
    document = json.loads(done.stdout)
    assert (done.returncode, document["published"], document["answers"]) == (1, True, True)
    assert net.homeserver(A).process.poll() is None
