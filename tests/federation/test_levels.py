"""A peer's level is lowered and raised by reloads while envelopes flow both ways: each has one fate, and none crosses.

b.test changes its mind about a.test. What it may not send it refuses to its own devices; what it may not take it
refuses to a.test, or, where there is no link, a.test keeps it.
"""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.federation.harness import (
    PATIENCE,
    A,
    B,
    Federation,
    Heard,
    LogLine,
    Outcomes,
    eventually,
    federation,
    listening,
    log_lines,
    submitting,
)
from volly_fed.client.inbox import InboxMessage
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.material import read_homeserver_config
from volly_fed.testnet.devices import Device
from volly_fed.testnet.figures import seal_many

pytestmark = pytest.mark.real

FULL, SELECTIVE, METADATA, NONE = TrustLevel.FULL, TrustLevel.SELECTIVE, TrustLevel.METADATA, TrustLevel.NONE
TURNS = (METADATA, FULL, NONE, FULL, METADATA, NONE, SELECTIVE, NONE, METADATA, FULL, NONE, SELECTIVE, METADATA, FULL)
OPEN = {FULL, SELECTIVE}
CHUNK = 32
IN_A_TURN = 24
"""Envelopes each way that a level stays for, at least."""


@attrs.define
class Timed(Heard):
    """Also when."""

    at: dict[bytes, float] = attrs.field(factory=dict)

    def __call__(self, message: InboxMessage, at: float) -> None:
        self.at.setdefault(message.id, at)
        super().__call__(message, at)


@attrs.define
class Flow:
    """One device of either side that submits to one of the other without a pause, two envelopes at a time."""

    sender: Device
    recipient: Device
    outcomes: Outcomes = attrs.field(factory=Outcomes)
    heard: Timed = attrs.field(factory=Timed)
    submitted: list[bytes] = attrs.field(factory=list)
    going: bool = True

    async def run(self, connection: Submitting) -> None:
        while self.going:
            sealed = await seal_many(self.sender, self.recipient, CHUNK)
            while sealed and self.going:
                some, sealed = sealed[:2], sealed[2:]
                self.submitted += [envelope_id for envelope_id, _ in some]
                await connection.submit(some)
                await connection.wait_settled()

    @property
    def refused(self) -> set[bytes]:
        return {envelope_id for envelope_id, _, _ in self.outcomes.refused}

    @property
    def open_ends(self) -> set[bytes]:
        """What has no fate yet."""
        return set(self.submitted) - self.refused - set(self.heard.counts)


@attrs.frozen
class Turn:
    """A level, from the moment when its reload was acknowledged to the one when the next was asked for."""

    level: TrustLevel
    until: float
    there: frozenset[bytes]
    """What a.test's device submitted meanwhile."""
    back: frozenset[bytes]
    """What b.test's did."""


async def until(found: Callable[[], bool], what: str) -> None:
    """Until `found`, which other tasks of this process bring about."""
    with trio.fail_after(PATIENCE):
        await eventually(lambda: found() or None, what)


async def reload(net: Federation, level: TrustLevel, count: int) -> None:
    """Give a.test this level at b.test, by command and by signal in turns; returns when it is acknowledged."""
    config = read_homeserver_config(net.site(B).config)
    config.server.trust_file.write_text(f'default = "none"\n[levels]\n"{A}" = "{level}"\n')
    if count % 2:
        answer = await trio.to_thread.run_sync(partial(admin_client.call, config, "reload"))
        assert [(change["domain"], change["new"]) for change in answer["levels"]] == [(A, level)]
    else:
        net.homeserver(B).process.send_signal(signal.SIGHUP)
        await eventually(lambda: len(events(net, "reloaded")) >= count or None, f"reload {count}")


def events(net: Federation, event: str) -> list[LogLine]:
    return [line for line in log_lines(net.site(B).folder / "homeserver.log") if line["event"] == event]


def linked(net: Federation) -> bool:
    """Whether b.test has a link."""
    return len(events(net, "link_up")) > len(events(net, "link_down"))


async def one_turn(net: Federation, level: TrustLevel, count: int, there: Flow, back: Flow) -> Turn:
    """`level` for as long as it takes to see it at work in both directions."""
    await reload(net, level, count)
    starts = len(there.submitted), len(back.submitted)

    def during(flow: Flow) -> set[bytes]:
        return set(flow.submitted[starts[flow is back] :])

    def at_work() -> bool:
        if min(len(during(there)), len(during(back))) < IN_A_TURN:
            return False
        if level in OPEN:
            return all(during(flow) & set(flow.heard.counts) for flow in (there, back))
        if not during(back) & back.refused:
            return False
        return not linked(net) if level is NONE else bool(during(there) & there.refused)

    await until(at_work, f"traffic on {level}, turn {count}")
    return Turn(level, trio.current_time(), frozenset(during(there)), frozenset(during(back)))


def check_closed(turn: Turn, there: Flow, back: Flow) -> None:
    """Nothing of what was submitted while a gate said no crossed it before the next reload."""
    early = {identity for identity in turn.there if there.heard.at.get(identity, turn.until) < turn.until}
    assert early == set(), f"taken in on {turn.level}"
    assert not turn.back & set(back.heard.counts), f"sent on {turn.level}"
    assert turn.back <= back.refused


async def test_a_level_goes_down_and_up_under_load_and_every_envelope_has_one_fate(tmp_path: Path) -> None:
    async with federation(tmp_path, start=False) as net:
        for domain in (A, B):
            config = net.site(domain).config
            config.write_text(config.read_text().replace("[limits]\n", "[limits]\nbackoff_cap = 0.2\n"))
        await net.network.start_all()
        devices = [net.device(domain, f"{domain}-{n}") for domain in (A, B) for n in (1, 2)]
        there, back = Flow(devices[0], devices[3]), Flow(devices[2], devices[1])
        turns: list[Turn] = []
        async with (
            listening(there.recipient, there.heard),
            listening(back.recipient, back.heard),
            submitting(there.sender, there.outcomes) as one,
            submitting(back.sender, back.outcomes) as other,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(there.run, one)
            nursery.start_soon(back.run, other)
            await until(lambda: len(there.heard.counts) > 2 and len(back.heard.counts) > 2, "traffic before it begins")
            for count, level in enumerate(TURNS, 1):
                turns.append(await one_turn(net, level, count, there, back))
            there.going = back.going = False
            await until(lambda: not there.open_ends and not back.open_ends, "a fate for each envelope")
        for turn in turns:
            if turn.level not in OPEN:
                check_closed(turn, there, back)
        for flow in (there, back):
            assert flow.heard.twice == 0
            assert {code for _, code, _ in flow.outcomes.refused} == {ErrorCode.POLICY}
            assert len(flow.refused) == len(flow.outcomes.refused), "refused once"
            assert not flow.refused & set(flow.heard.counts), "delivered or refused, not both"
            assert flow.refused | set(flow.heard.counts) == set(flow.submitted)
        check_links(net)


def check_links(net: Federation) -> None:
    """A link ends where the level allows none, and only there; and every change is told."""
    assert [line["trust"] for line in events(net, "level_changed")] == list(TURNS)
    up, level = 0, str(FULL)
    for line in log_lines(net.site(B).folder / "homeserver.log"):
        if line["event"] == "level_changed":
            level = line["trust"]
        up += (line["event"] == "link_up") - (line["event"] == "link_down")
        assert up or level == NONE or line["event"] != "link_down", line
