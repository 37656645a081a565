"""A link between two homeservers, cut at a byte: whatever was said in it, each envelope arrives, and arrives once.

`VOLLY_FED_CUTS` is how many bytes of each direction are tried, or `all`.
"""

import itertools
import os
import random
from pathlib import Path

import pytest
import trio

from tests.daemon.sites import BOX, A, B, Site, endpoint, envelope, sites
from volly_fed.testing.link_shim import Cut, LinkShim, Way

pytestmark = pytest.mark.slow

RANGE = 1 << 16
ENVELOPES = 60
"""Each way: what is said goes on well beyond RANGE."""
AT_ONCE = 5
SEED = 20


def positions() -> list[tuple[Way, int, Cut]]:
    """One byte out of each of as many equal parts of RANGE; which one, and how the link ends there, is the seed's."""
    wanted = os.environ.get("VOLLY_FED_CUTS", "20")
    count = RANGE if wanted == "all" else int(wanted)
    rng = random.Random(SEED)
    bounds = [RANGE * number // count for number in range(count + 1)]
    return [
        (way, rng.randrange(first, after), rng.choice([Cut.RESET, Cut.CLOSE]))
        for way in (Way.TO_LISTENER, Way.TO_DIALLER)
        for first, after in itertools.pairwise(bounds)
    ]


async def converse(a: Site, b: Site) -> None:
    """Both have much to say, over the one link that can come about, and all of it is settled in the end.

    The next envelopes follow when the last ones have arrived: acknowledgements are under way all the time.
    """
    ours, theirs = [envelope(B) for _ in range(ENVELOPES)], [envelope(A) for _ in range(ENVELOPES)]
    for first in range(0, ENVELOPES, AT_ONCE):
        assert await b.submit(*theirs[first : first + AT_ONCE]) == ()
        assert await a.submit(*ours[first : first + AT_ONCE]) == ()
        await b.until(lambda: len(b.arrived) > first)  # noqa: B023 - over before the next turn
        await a.until(lambda: len(a.arrived) > first)  # noqa: B023 - over before the next turn
    await a.until(lambda: len(a.settled) >= ENVELOPES)
    await b.until(lambda: len(b.settled) >= ENVELOPES)
    for site, frames in ((a, theirs), (b, ours)):
        assert set(site.arrived) == set(frames)  # what a link breaks off may be shown to devices twice, never kept
        assert sorted(row.frame for row in await site.store.read_mailbox(BOX)) == sorted(frames)
        assert len(site.settled) == len(set(site.settled)) == ENVELOPES


@pytest.mark.parametrize(("way", "at", "how"), positions())
async def test_a_link_cut_at_a_byte_loses_nothing_and_doubles_nothing(
    tmp_path: Path, way: Way, at: int, how: Cut
) -> None:
    a, b = sites(tmp_path, A, B)
    with trio.fail_after(30):
        async with a.running(listening=False), b.running(), trio.open_nursery() as nursery:
            shim = LinkShim(("127.0.0.1", b.port))
            _, port = await nursery.start(shim.serve)
            a.resolver.known = {A: endpoint(A, 1), B: endpoint(B, port)}  # nobody listens at A: B waits to be called
            b.server.peers.attempts.cap = 3600
            await a.register()
            await b.register()
            shim.cut(way, at, how)
            await converse(a, b)
            assert shim.cuts == 1, "the link was over before the byte: there is nothing to see here"
            assert shim.accepted == 2
            assert shim.passed(way) > at
            nursery.cancel_scope.cancel()
