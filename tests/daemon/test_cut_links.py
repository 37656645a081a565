"""A link between two homeservers, cut at a byte: whatever was said in it, each envelope arrives, and arrives once.

The two talk all the while, and each link that is cut is followed by one that is cut elsewhere. `VOLLY_FED_CUTS` is how
many bytes of each direction are tried, or `all`; `VOLLY_FED_CUTS_FROM` where to go on after an interruption.
"""

import itertools
import os
import random
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.sites import BOX, A, B, Site, endpoint, envelope, sites, some_limits
from volly_fed import limits
from volly_fed.names import DomainName
from volly_fed.testing.link_shim import Cut, LinkShim, Way

pytestmark = pytest.mark.slow

RANGE = 1 << 16
AT_ONCE = 5
CHAIN = 256
"""Cuts at most of one pair of homeservers."""
SEED = 20
Position = tuple[int, Cut]


def chains() -> list[tuple[Way, list[Position]]]:
    """One byte out of each of as many equal parts of RANGE; which one, and how the link ends there, is the seed's."""
    wanted = os.environ.get("VOLLY_FED_CUTS", "20")
    count = RANGE if wanted == "all" else int(wanted)
    found: list[tuple[Way, list[Position]]] = []
    for way in (Way.TO_LISTENER, Way.TO_DIALLER):
        rng = random.Random(f"{SEED} {way.name} {count}")
        bounds = [RANGE * number // count for number in range(count + 1)]
        cuts = [
            (rng.randrange(first, after), rng.choice([Cut.RESET, Cut.CLOSE]))
            for first, after in itertools.pairwise(bounds)
        ]
        cuts = [cut for cut in cuts if cut[0] >= int(os.environ.get("VOLLY_FED_CUTS_FROM", "0"))]
        found += [(way, cuts[at : at + CHAIN]) for at in range(0, len(cuts), CHAIN)]
    return found


def name(value: object) -> str:
    return f"from-{value[0][0]}" if isinstance(value, list) else str(getattr(value, "name", value)).lower()


@attrs.define
class Talk:
    """What one site submits for the other, a few at a time, and what has become of it."""

    site: Site
    other: Site
    to: DomainName
    said: list[bytes] = attrs.field(factory=list)
    stored: list[bytes] = attrs.field(factory=list)
    over: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """The next envelopes follow when the last are at the other end: acknowledgements are under way all the time."""
        while not self.over:
            frames = [envelope(self.to) for _ in range(AT_ONCE)]
            self.said += frames
            assert await self.site.submit(*frames) == ()
            await self.other.until(lambda: frames[-1] in self.other.arrived)  # noqa: B023 - over before the next turn
            await self.collect()
        await self.site.until(lambda: len(self.site.settled) >= len(self.said))
        await self.collect()
        self.ended.set()

    async def collect(self) -> None:
        """As a device does: fetch what is in the mailbox, and have it deleted."""
        rows = await self.other.store.read_mailbox(BOX)
        self.stored += [row.frame for row in rows]
        self.other.store.begin_delete_inbound([row.row for row in rows])
        self.other.arrived[:] = self.other.arrived[-100:]

    def check(self) -> None:
        """Each was stored at the other end, once, and settled here, once."""
        assert sorted(self.stored) == sorted(self.said)
        assert len(self.site.settled) == len(set(self.site.settled)) == len(self.said)


@pytest.mark.parametrize(("way", "cuts"), chains(), ids=name)
async def test_links_cut_at_bytes_lose_nothing_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way, cuts: list[Position]
) -> None:
    for limit in ("LINKS_PER_DOMAIN_PER_MINUTE", "CLAIMS_PER_DOMAIN_PER_MINUTE", "CLAIMS_PER_ADDRESS_PER_MINUTE"):
        monkeypatch.setattr(limits, limit, 1 << 30)  # a link each moment, and half of them broken off unproved
    a, b = sites(tmp_path, A, B, limits=some_limits(backoff_cap=0.001, connections_per_minute=1 << 30))
    async with a.running(listening=False), b.running(), trio.open_nursery() as nursery:
        shim = LinkShim(("127.0.0.1", b.port))
        _, port = await nursery.start(shim.serve)
        a.resolver.known = {A: endpoint(A, 1), B: endpoint(B, port)}  # nobody listens at A: B waits to be called
        b.server.peers.attempts.cap = 3600
        await a.register()
        await b.register()
        talks = Talk(a, b, B), Talk(b, a, A)
        shim.cut(way, *cuts[0])
        for talk in talks:
            nursery.start_soon(talk.run)
        for number in range(1, len(cuts) + 1):
            with trio.fail_after(30):
                await shim.until(lambda: shim.cuts >= number)  # noqa: B023 - over before the next turn
            if number < len(cuts):
                shim.cut(way, *cuts[number])
        with trio.fail_after(30):
            for talk in talks:
                talk.over = True
                await talk.ended.wait()
        assert shim.cuts == len(cuts)
        assert shim.accepted == len(cuts) + 1, "a link has ended otherwise"
        for talk in talks:
            talk.check()
        nursery.cancel_scope.cancel()
