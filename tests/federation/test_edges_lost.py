"""Edges that die or stand still under traffic, with devices that find another one by themselves."""

import signal
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
    listening,
    log_lines,
    submitting,
)
from volly_fed.daemon.device.link import OneOf, PlainEdge
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many
from volly_fed.testnet.sites import LOOPBACK

pytestmark = pytest.mark.real
MANY = 300


def on_any(net: Federation, device: Device) -> Device:
    """`device`, with all edges of its domain to choose from."""
    edges = net.site(device.keys.domain).edges
    return attrs.evolve(device, way=OneOf(tuple(PlainEdge(LOOPBACK, edge.port) for edge in edges)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_device_leaves_an_edge_that_is_lost_by_itself(
    tmp_path: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL closes the connections, SIGSTOP leaves them open and silent: only the device's keepalive finds out."""
    monkeypatch.setattr("volly_fed.limits.PING_AFTER", 1.0)  # of the device, which is in this process
    monkeypatch.setattr("volly_fed.limits.PONG_WITHIN", 1.0)
    async with federation(tmp_path, edges=2) as net:
        alice, bob = net.device(A, "alice"), on_any(net, net.device(B, "bob"))
        sealed = await seal_many(alice, bob, MANY)
        heard, outcomes = Heard(), Outcomes()
        async with submitting(alice, outcomes) as connection, listening(bob, heard), trio.open_nursery() as nursery:
            nursery.start_soon(connection.submit, sealed[: MANY // 2])
            await heard.wait(50)
            net.edge(B).process.send_signal(how)
            await connection.submit(sealed[MANY // 2 :])
            await outcomes.wait(MANY)
            await heard.wait(MANY)
        if how is signal.SIGSTOP:
            net.edge(B).process.send_signal(signal.SIGCONT)
        await net.homeserver(B).kill()
        assert count_rows(net.store(B), "inbound") < MANY  # acknowledged by whoever was there
        assert outcomes.refused == []
        assert outcomes.accepted == heard.counts.keys() == {envelope_id for envelope_id, _ in sealed}
        assert heard.twice == 0


async def test_an_edge_reloads_on_sighup(tmp_path: Path) -> None:
    async with federation(tmp_path, servers=1) as net:
        bob = net.device(A, "bob")
        edge = net.edge(A)
        config = trio.Path(edge.arguments[edge.arguments.index("--config") + 1])
        text = await config.read_text()

        async def reload(event: str, count: int) -> None:
            edge.process.send_signal(signal.SIGHUP)

            def found() -> bool | None:
                return sum(line["event"] == event for line in log_lines(edge.log)) >= count or None

            await eventually(found, f"{event} in {edge.log}")

        await reload("reloaded", 1)
        await config.write_text(text + "\nnonsense = [\n")
        await reload("reload_failed", 1)
        await config.write_text(text)
        await reload("reloaded", 2)
        heard = Heard()
        async with listening(bob, heard):
            assert (await bob.send(bob.card, "to myself")).accepted
            await heard.wait(1)
