"""An operator holds a peer, restarts, releases, drains and stops under traffic: nothing is lost or doubled."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.federation.harness import PATIENCE
from tests.federation.test_stop import told_to_stop, traffic, under_way
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.testing.chaos_ledger import Ledger
from volly_fed.testing.log_watch import TROUBLE
from volly_fed.testnet.chaos_net import ChaosNet

pytestmark = pytest.mark.real
A, B = "a.test", "b.test"
EVENTS = frozenset({"queue_held", "queue_released", "draining", "drained"})
ENOUGH = 30
"""Envelopes that wait, so that it can be said that something did."""


async def ask(net: ChaosNet, command: str, **arguments: object) -> dict[str, Any]:
    config = read_homeserver_config(net.sites[A].config)
    return await trio.to_thread.run_sync(partial(admin_client.call, config, command, **arguments))


async def waiting(net: ChaosNet) -> int:
    """For b.test at a.test."""
    found = [peer["envelopes"] for peer in (await ask(net, "queue"))["peers"] if peer["domain"] == B]
    return int(sum(found))


async def until_waiting(net: ChaosNet, least: int) -> None:
    with trio.fail_after(PATIENCE):
        while await waiting(net) < least:  # noqa: ASYNC110 - another process's queue has no event to wait for
            await trio.sleep(0.02)


async def command(net: ChaosNet, *arguments: str) -> tuple[int, Any]:
    """The exit code of `volly-fed ARGUMENTS --json` at a.test, and what it printed."""
    line = [sys.executable, "-m", "volly_fed", *arguments, "--json", "--config", str(net.sites[A].config)]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(line, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    return done.returncode, json.loads(done.stdout)


async def test_held_restarted_released_drained_and_stopped_under_load(tmp_path: Path) -> None:
    ledger = Ledger()
    async with traffic(tmp_path, ledger, TROUBLE | EVENTS) as (net, _):
        await under_way(ledger)
        await ask(net, "queue-hold", domain=B)
        await until_waiting(net, ENOUGH)
        assert (await told_to_stop(net, A))[0] == 0
        await net.start(A)
        before = await waiting(net)
        assert before >= ENOUGH, "what was held has left over the restart"
        await until_waiting(net, before + ENOUGH)
        assert (await ask(net, "status"))["held"] == [B]
        await ask(net, "queue-release", domain=B)
        await under_way(ledger)

        code, report = await command(net, "drain")
        assert (code, report["empty"], report["stopped"]) == (0, True, False)
        assert await waiting(net) == 0
        assert (await ask(net, "status"))["draining"]
        await ask(net, "drain-cancel")
        await under_way(ledger)
        code, report = await command(net, "drain", "--stop")
        assert (code, report["empty"], report["stopped"]) == (0, True, True)
        child = net.alive.pop(A)
        assert child.process.poll() == 0, "the command has ended before the homeserver"
        await child.stop()
        await net.start(A)
        await under_way(ledger)
    log = net.log_of(A).read_text()
    assert all(f'"{event}"' in log for event in EVENTS)
