"""One link between A and B: how much it carries, at which cost, how fast.

Measured is the way from A's edge socket to B's edge socket: from the moment at which an envelope is due at the
submitting edge (at saturation: at which that edge sends it) to the moment at which the receiving edge has the DELIVER
that holds it. At saturation the submitting edge has 1024 envelopes under way to the receiving one at most, as one who
waits for his answers has: otherwise A, which acknowledges what is on its disk, fills that at its pace and B's does not
matter; then "sustained, queue open" is what comes out at the other end.
"""

from bench.relay.awake import awake
from bench.relay.figure import Result, least, most
from bench.relay.load import BUSY_TICK, REST_TICK, Load, p, paced, saturated
from bench.relay.options import Options
from bench.relay.setting import folder, setting
from volly_fed import limits

SIZES = (1024, 8192)
"""Of bodies: the least, and what a sealed content of 1 KiB takes."""
VARIANTS = (("8 KiB", SIZES[1], 1), ("64 mailboxes", SIZES[0], 64))
"""Title, bytes of a body, mailboxes."""


async def busy(options: Options) -> Result:
    """A link at saturation, at 10 000 a second and at rest; bodies of 1 KiB to one mailbox."""
    result = Result("busy")
    with folder(options.folder) as where:
        async with setting(where, body_bytes=SIZES[0]) as world:
            load = await saturated(world, options.seconds, under_way=limits.WINDOW_ENVELOPES)
            _add_saturated(result, load, "", goals=True)
            load = await paced(world, 10_000, options.seconds, tick=BUSY_TICK)
            _add_paced(result, load, "10 k/s", (2.0, 10.0))
            load = await paced(world, 100, options.seconds, tick=REST_TICK)
            _add_paced(result, load, "at rest (100/s)", (1.0, 5.0))
            with awake():
                load = await paced(world, 100, options.seconds, tick=REST_TICK)
            _add_paced(result, load, "at rest, processors kept awake", None, others=False)
    return result


async def sizes(options: Options) -> Result:
    """The same for the body of a sealed content of 1 KiB, and for many mailboxes."""
    result = Result("sizes")
    for title, body, mailboxes in VARIANTS[:1] if options.quick else VARIANTS:
        with folder(options.folder) as where:
            async with setting(where, body_bytes=body, mailboxes=mailboxes) as world:
                load = await saturated(world, options.seconds, under_way=limits.WINDOW_ENVELOPES)
                _add_saturated(result, load, f", {title}", goals=False)
                load = await paced(world, 1000, options.seconds, tick=BUSY_TICK)
                _add_paced(result, load, f"1 k/s, {title}", None)
    return result


def _add_saturated(result: Result, load: Load, title: str, *, goals: bool) -> None:
    result.add(f"sustained{title}", load.per_second, "envelopes/s", least(40_000) if goals else None)
    for side in ("A", "B"):
        result.add(f"CPU of {side}, saturated{title}", load.cpu_us(side), "µs/envelope", most(15) if goals else None)
    for generator in ("submitter", "receiver"):
        result.add(f"CPU of the {generator} (not ours){title}", load.cpu_us(generator), "µs/envelope")
    result.add(f"p50 at saturation{title}", p(load.took_ms, 50), "ms")
    result.add(f"p99 at saturation{title}", p(load.took_ms, 99), "ms", most(50) if goals else None)
    _add_honesty(result, load, f"saturated{title}")
    result.curves[f"saturated{title}"] = load.took_ms


def _add_paced(
    result: Result, load: Load, title: str, goals: tuple[float, float] | None, *, others: bool = True
) -> None:
    p50, p99 = (most(goals[0]), most(goals[1])) if goals else (None, None)
    result.add(f"p50 {title}", p(load.took_ms, 50), "ms", p50)
    result.add(f"p99 {title}", p(load.took_ms, 99), "ms", p99)
    for side in ("A", "B"):
        result.add(f"CPU of {side}, {title}", load.cpu_us(side), "µs/envelope")
    _add_honesty(result, load, title, others=others)
    result.curves[title] = load.took_ms


def _add_honesty(result: Result, load: Load, title: str, *, others: bool = True) -> None:
    result.add(f"lost, {title}", load.lost, "envelopes", most(0))
    result.add(f"refused, {title}", load.handed.refused, "envelopes", most(0))
    if others:
        result.add(f"other load meanwhile, {title}", load.others, "processors")
