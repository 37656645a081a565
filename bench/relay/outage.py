"""The receiving homeserver is killed, and comes back.

Killed: while 500 envelopes a second are submitted, B gets a SIGKILL, and is started again 5 s later. Counted are
envelopes that A had acknowledged and that never came, and the time from B's ready line to the next delivery.
Backlog: B is away until A holds 100 000 envelopes for it; then B comes back. Measured are the rate from the first
delivery to the last of the backlog, and how long calls take that are made meanwhile (100 envelopes of class ring a
second). Envelopes of the backlog's own class wait behind it, for their order is kept. Calls that were made before the
first delivery waited for the link, as during the outage: they are told apart.
"""

import math
import time

import trio

from bench.relay.arrivals import Run
from bench.relay.figure import Result, least, most
from bench.relay.load import BUSY_TICK, REST_TICK, SETTLE, made_between, p
from bench.relay.options import Options
from bench.relay.setting import B, Setting, folder, setting
from bench.relay.submitter import Handed
from volly_fed.codepoints import EnvelopeClass

AWAY = 5.0
BEFORE = 2.0
AFTER = 10.0
"""Seconds of load: until B is killed, and after it has been started again."""
RATE = 500
LIVE_RATE = 100
BACKLOG = 100_000


async def killed(options: Options) -> Result:
    """B is killed under load and started again after 5 s."""
    result = Result("killed")
    away, before, after = (0.5, 0.3, 2.0) if options.quick else (AWAY, BEFORE, AFTER)
    with folder(options.folder) as where:
        async with setting(where) as world:
            run = world.next_run()
            await world.submitter.call("begin", run)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.submitter.call, "pace", RATE, before + away + after, BUSY_TICK)
                await trio.sleep(before)
                ready = await _kill_and_start(world, away)
            handed, arrived = await _all(world, run)
            first = min((at for at in arrived.arrived if at >= ready), default=None)
            gap = math.nan if first is None else (first - ready) / 1e9
            result.add("first delivery after B says ready", gap, "s", most(1.0))
            result.add("lost", handed.settled - handed.refused - len(arrived.seen), "envelopes", most(0))
            result.add("refused", handed.refused, "envelopes", most(0))
            result.add("delivered twice to the edge", arrived.twice, "envelopes")
            result.add("acknowledged by A", handed.settled, "envelopes")
    return result


async def backlog(options: Options) -> Result:
    """100 000 envelopes that A holds for B when B comes back."""
    result = Result("backlog")
    count = options.scaled(BACKLOG, 2000)
    with folder(options.folder) as where:
        async with setting(where) as world:
            run, live = world.next_run(), world.next_run()
            await world.network.homeservers[B].kill()
            await world.submitter.call("begin", run)
            began = time.monotonic()
            await world.submitter.call("saturate", SETTLE, count)
            await world.submitter.call("settle", SETTLE)
            result.add("A takes in, B away", count / (time.monotonic() - began), "envelopes/s")
            look = world.look()
            await world.network.start_homeserver(B)
            ready = time.monotonic_ns()
            await world.submitter.call("begin", live, EnvelopeClass.RING)
            patience = trio.current_time() + 2 * SETTLE
            while await world.receiver.call("count", run) < count and trio.current_time() < patience:
                await world.submitter.call("pace", LIVE_RATE, 0.5, REST_TICK)
            spent = world.look().since(look)
            arrived = await world.receiver.call("take", run)
            _, meanwhile = await _all(world, live)
            _add_drained(result, arrived, meanwhile, ready)
            for side in ("A", "B"):
                result.add(f"CPU of {side}, draining", spent.by[side] / count * 1e6, "µs/envelope")
            result.add("lost", count - len(arrived.seen), "envelopes", most(0))
    return result


def _add_drained(result: Result, arrived: Run, meanwhile: Run, ready: int) -> None:
    first, last = min(arrived.arrived, default=ready), max(arrived.arrived, default=ready)
    rate = len(arrived.seen) / (last - first) * 1e9 if last > first else math.nan
    result.add("backlog drained", rate, "envelopes/s", least(25_000))
    result.add("first delivery after B says ready", (first - ready) / 1e9, "s")
    took = made_between(meanwhile, ready, first)
    result.add("p99 of calls made before that", p(took, 99), "ms")
    took = made_between(meanwhile, first, last)
    result.add("p50 of calls meanwhile", p(took, 50), "ms")
    result.add("p99 of calls meanwhile", p(took, 99), "ms", most(100))
    result.curves["submitted while a backlog drains"] = list(took)


async def _kill_and_start(world: Setting, away: float) -> int:
    """When B, killed now and started again `away` seconds later, was ready (time.monotonic_ns)."""
    await world.network.homeservers[B].kill()
    await trio.sleep(away)
    await world.network.start_homeserver(B)
    return time.monotonic_ns()


async def _all(world: Setting, run: int) -> tuple[Handed, Run]:
    """Wait until everything of `run` is settled and has arrived, and take it."""
    handed: Handed = await world.submitter.call("settle", SETTLE)
    await world.receiver.call("wait", run, handed.settled - handed.refused, SETTLE)
    return handed, await world.receiver.call("take", run)
