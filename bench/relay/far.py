"""A link with a round trip: A reaches B through a shim that delays every byte.

With a window of 1024 envelopes and a round trip of r seconds, 1024 / r envelopes a second are the most that any
implementation of this protocol can carry on one link.
"""

import trio

from bench.relay.figure import Result
from bench.relay.load import BUSY_TICK, p, paced, saturated
from bench.relay.options import Options
from bench.relay.setting import Behind, folder, setting
from volly_fed import limits
from volly_fed.testing.link_shim import LinkShim

ROUND_TRIPS = (0, 50, 150)
"""Milliseconds."""
RATE = 500


async def far(options: Options) -> Result:
    """Throughput and latency with a round trip of 0, 50 and 150 ms between A and B."""
    result = Result("far")
    async with trio.open_nursery() as nursery:
        shim = LinkShim(("127.0.0.1", 0))
        _, port = await nursery.start(shim.serve)
        with folder(options.folder) as where:
            async with setting(where, behind=Behind(shim, port)) as world:
                for milliseconds in ROUND_TRIPS[1:2] if options.quick else ROUND_TRIPS:
                    shim.shape(latency=milliseconds / 2000)
                    load = await saturated(world, options.seconds)
                    result.add(f"sustained, {milliseconds} ms", load.per_second, "envelopes/s")
                    if milliseconds:
                        most = limits.WINDOW_ENVELOPES / milliseconds * 1000
                        result.add(f"of what the window allows, {milliseconds} ms", load.per_second / most * 100, "%")
                    load = await paced(world, RATE, options.seconds, tick=BUSY_TICK)
                    result.add(f"p50 at {RATE}/s, {milliseconds} ms", p(load.took_ms, 50), "ms")
                    result.add(f"p99 at {RATE}/s, {milliseconds} ms", p(load.took_ms, 99), "ms")
                    result.curves[f"round trip of {milliseconds} ms"] = load.took_ms
        nursery.cancel_scope.cancel()
    return result
