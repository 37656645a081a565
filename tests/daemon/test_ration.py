"""A peer that hands over too much too fast is slowed down; it loses nothing, and the log says so."""

from pathlib import Path

import trio

from tests.daemon.sites import A, B, envelope, sites, some_limits
from volly_fed import limits


async def test_a_fast_peer_is_slowed_down_and_loses_nothing(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.limits = some_limits(backoff_cap=0.05, peer_envelopes_per_second=200)
    frames = [envelope(B) for _ in range(600)]
    async with a.running(), b.running():
        await b.register()
        began = trio.current_time()
        for at in range(0, len(frames), limits.BATCH_ENVELOPES):
            await a.submit(*frames[at : at + limits.BATCH_ENVELOPES])
        await a.until(lambda: len(a.settled) == len(frames))
        assert trio.current_time() - began > 0.5
        assert b.arrived == frames
        await b.log.wait("peer_slowed", peer=A)
        assert len(b.log.all("peer_slowed")) == 1


async def test_another_link_does_not_pay_the_debt(tmp_path: Path) -> None:
    a, b = sites(tmp_path, A, B)
    b.limits = some_limits(backoff_cap=0.05, peer_envelopes_per_second=1)
    async with a.running(), b.running(), trio.open_nursery() as nursery:
        await b.register()
        await a.submit(*[envelope(B) for _ in range(4)])
        await b.log.wait("peer_slowed")
        for count in (2, 3):
            nursery.start_soon(a.server.peers.dialer.dial, B, a.server.peers.converse)
            await a.log.wait("link_up", count=count)
            await a.log.wait("link_down", count=count - 1)
        assert len(b.arrived) <= 3
        nursery.cancel_scope.cancel()
