"""Every case of the matrix, judged by the daemon's own resolver over real sockets on loopback."""

import re
import time
from collections import Counter

import attrs
import pytest
import trio
import trio.testing

from tests.discovery.matrix import CASES, Case, Change, Verdict, build, verdict
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.daemon.dns.transport import Server
from volly_fed.discovery.endpoint import Status
from volly_fed.testing.world import WorldServer

CLOSED_PORT = 9
"""Nobody serves "discard" any more; the kernel refuses at once, or nothing answers."""


@attrs.define
class Clock:
    """The validator's, seconds ahead of the real one."""

    ahead: float

    def __call__(self) -> float:
        return time.time() + self.ahead


def resolver_for(case: Case, server: Server, clock: Clock) -> Resolver:
    """The resolver that `case` wants, asking `server`."""
    return Resolver(
        [server],
        trust_anchors(case.anchors(build())),
        allow_private=case.allow_private,
        clock=clock,
        require_mldsa44=case.require_mldsa44,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(case: Case, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    # real sockets: an answer of this process's own server may be on its way while nothing is runnable
    autojump_clock.autojump_threshold = 0.02
    server = WorldServer(build())
    host, port = await nursery.start(server.serve, "::1" if case.ipv6 else "127.0.0.1")
    result = await judged(case, Server(host, port), server)
    assert (result.status, result.found) == (case.status, case.found), result.reason
    assert re.search(case.reason, result.reason), result.reason


async def judged(case: Case, address: Server, server: WorldServer) -> Verdict:
    """The verdict, with whatever has to happen before it."""
    match case.change:
        case Change.NONE:
            return await verdict(resolver_for(case, address, Clock(case.clock)), case)
        case Change.CLOCK:
            clock = Clock(0)
            resolver = resolver_for(case, address, clock)
            assert (await verdict(resolver, case)).status is Status.SECURE
            clock.ahead = case.clock
            return await verdict(resolver, case)
        case Change.REPLACED:
            resolver = resolver_for(case, Server("127.0.0.1", CLOSED_PORT), Clock(case.clock))
            assert (await verdict(resolver, case)).status is Status.INDETERMINATE
            assert server.queries == 0
            resolver.use([address])
            return await verdict(resolver, case)


def test_names_are_unique_and_there_are_enough() -> None:
    names = Counter(case.name for case in CASES)
    assert max(names.values()) == 1
    assert len(names) >= 80
