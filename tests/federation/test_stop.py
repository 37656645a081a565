"""Told to stop in the middle of traffic: everything is drained or on disk in time, and goes on after a restart."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.federation.harness import PATIENCE, eventually
from volly_fed import limits
from volly_fed.testing.chaos_ledger import Ledger
from volly_fed.testing.log_watch import TROUBLE, unexpected
from volly_fed.testnet.chaos_load import Load
from volly_fed.testnet.chaos_net import ChaosNet, chaos_net

pytestmark = pytest.mark.real
RATE = 200.0
SOME = 50
SPARE = 3.0
"""Beyond the time to drain: closing the store, and an interpreter that ends on a busy machine."""


@asynccontextmanager
async def traffic(
    folder: Path, ledger: Ledger, events: frozenset[str] = TROUBLE
) -> AsyncIterator[tuple[ChaosNet, Load]]:
    """Two domains whose devices write to each other and to themselves; at the end all of it must have arrived.

    `events` are those that may stand in the logs.
    """
    began = time.monotonic()

    def now() -> float:
        return time.monotonic() - began

    async with chaos_net(folder, servers=2, edges=1, wrongs=False) as net:
        load = Load.create(net, ledger, now, rate=RATE, seed=1, folder=folder)
        async with trio.open_nursery() as nursery:
            await load.receive(nursery)
            load.submit(nursery)
            yield net, load
            load.be_quiet(True)
            await eventually(lambda: not (load.unanswered or ledger.waiting(now())) or None, "the end of it all")
            nursery.cancel_scope.cancel()
        for name in net.parts.processes:
            assert list(unexpected(net.log_of(name).read_text(), events)) == []
    assert "\n".join(map(str, ledger.violations(now()))) == ""


async def under_way(ledger: Ledger) -> None:
    """Until some more messages were given to applications: others are on every part of the way then."""
    before = ledger.counts()["delivered"]
    await eventually(lambda: ledger.counts()["delivered"] >= before + SOME or None, "deliveries")


async def told_to_stop(net: ChaosNet, name: str) -> tuple[int, float]:
    """SIGTERM: the exit code, and how long it took."""
    child, began = net.alive.pop(name), trio.current_time()
    child.process.terminate()
    with trio.move_on_after(PATIENCE):
        await child.process.wait()
    await child.stop()
    return child.process.returncode or 0, trio.current_time() - began


@pytest.mark.parametrize("name", ["a.test", "edge-1.a.test"])
async def test_told_to_stop_under_load(tmp_path: Path, name: str) -> None:
    ledger = Ledger()
    async with traffic(tmp_path, ledger) as (net, _):
        for _ in range(2):
            await under_way(ledger)
            code, took = await told_to_stop(net, name)
            assert code == 0
            assert took < limits.DRAIN + SPARE
            await net.start(name)
        await under_way(ledger)


@pytest.mark.parametrize(("frozen", "name"), [("b.test", "a.test"), ("a.test", "edge-1.a.test")])
async def test_told_to_stop_while_the_other_end_says_nothing(tmp_path: Path, frozen: str, name: str) -> None:
    ledger = Ledger()
    async with traffic(tmp_path, ledger) as (net, load):
        await under_way(ledger)
        net.alive[frozen].freeze()
        before = len(ledger.letters)
        await eventually(lambda: len(ledger.letters) >= before + SOME or None, "submissions")
        code, took = await told_to_stop(net, name)
        assert code == 0
        assert took < limits.DRAIN + SPARE
        net.alive[frozen].thaw()
        await net.start(name)
        assert load.submitters
        await under_way(ledger)
