"""Callers that get through TLS and claim: others' names in floods, their own in a loop, edges that nobody enrolled."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.daemon.edge_nodes import context as edge_context
from tests.daemon.sites import A, B, C, Site, endpoint, material, sites, some_limits
from tests.daemon.test_connection import context, party
from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.codepoints import ErrorCode, Extension
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.tls import TlsContext
from volly_fed.errors import Refused
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName, Fingerprint

NOBODY, OTHER = DomainName("edge-1"), DomainName("edge-2")


@attrs.define
class Knock:
    """One who calls A, proves what he can, and leaves; what he is told is kept."""

    site: Site
    claims: Party
    shows: TlsContext
    told: list[Refused | None] = attrs.field(factory=list)
    port: int = 0

    async def once(self, source: str = "127.0.3.1") -> Refused | None:
        """None: it was a link."""
        plan = Dialled(
            context=self.shows,
            party=self.claims,
            host="fed.a.test",
            wanted=A,
            expected=frozenset({material(A).fingerprint}),
            check_key=_any_key,
            confirm=_confirmed,
            use=_leave,
        )
        port = self.port or self.site.port
        try:
            await dial(await trio.open_tcp_stream("127.0.0.1", port, local_address=source), plan)
        except Refused as error:
            self.told.append(error)
            return error
        self.told.append(None)
        return None


def _any_key(_: Negotiated) -> None:
    pass


async def _confirmed(_: Outcome) -> None:
    pass


async def _leave(_: Connection) -> None:
    pass


def caller(site: Site, name: DomainName, keys: DomainName) -> Knock:
    """Claims to be `name`, with the keys of `keys`; as a probe, so that its links leave nothing behind."""
    claims = attrs.evolve(party(keys), name=name, extensions={Extension.PROBE: b""})
    return Knock(site, claims, context(keys, server=False))


async def test_a_flood_of_claims_in_others_names_costs_little_and_the_true_one_gets_in(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running():
        a.resolver.known = {B: endpoint(B, 1)}
        false, true = caller(a, B, keys=C), caller(a, B, keys=B)
        assert await true.once("127.0.3.100") is None
        a.resolver.asked.clear()
        for n in range(40):
            await false.once(f"127.0.3.{n % 2 + 1}")
        codes = [error.code for error in false.told if error is not None]
        assert codes.count(ErrorCode.KEY_MISMATCH) == 2 * limits.CLAIMS_PER_DOMAIN_PER_MINUTE == len(a.resolver.asked)
        assert codes.count(ErrorCode.BUSY) == 40 - 2 * limits.CLAIMS_PER_DOMAIN_PER_MINUTE
        assert false.told[-1] is not None
        assert 0 < false.told[-1].retry_after <= limits.CLAIM_WINDOW
        # known by its key also where the flood comes from, and elsewhere too
        assert await true.once("127.0.3.1") is None
        assert await true.once("127.0.3.101") is None
        assert len(a.log.all("claim_refused")) == 2  # the first of each kind


async def test_a_flood_of_made_up_names_from_one_address(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running():
        a.resolver.known = {B: endpoint(B, 1)}
        for n in range(limits.CLAIMS_PER_ADDRESS_PER_MINUTE + 5):
            false = caller(a, DomainName(f"d{n}.test"), keys=C)
            await false.once()
        assert len(a.resolver.asked) == limits.CLAIMS_PER_ADDRESS_PER_MINUTE
        assert await caller(a, B, keys=B).once("127.0.3.100") is None


async def test_who_connects_and_disconnects_in_a_loop_is_told_to_wait(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with a.running():
        a.resolver.known = {B: endpoint(B, 1), C: endpoint(C, 1)}
        restless, began, n = caller(a, B, keys=B), trio.current_time(), 0
        while n < limits.LINKS_PER_DOMAIN_PER_MINUTE + 20 or restless.told[-1] is None:
            await restless.once(f"127.0.3.{n % 5 + 1}")
            n += 1
        links, since = restless.told.count(None), trio.current_time() - began
        most = limits.LINKS_PER_DOMAIN_PER_MINUTE
        assert most <= links <= most * (1 + since / 60) + 1
        assert len(a.resolver.asked) == links
        last = restless.told[-1]
        assert last is not None
        assert last.code is ErrorCode.BUSY
        assert 0 < last.retry_after <= 3
        assert await caller(a, C, keys=C).once("127.0.3.1") is None


class Enrolments:
    """A file with one edge, `other`; reading it takes until it may."""

    def __init__(self) -> None:
        self.reading = self.reads = 0
        self.may = threading.Event()
        self.may.set()

    def __call__(self) -> list[tuple[DomainName, Fingerprint]]:
        self.reading, self.reads = self.reading + 1, self.reads + 1
        self.may.wait(10)
        self.reading -= 1
        return [(OTHER, material(OTHER).fingerprint)]


@asynccontextmanager
async def edge_door(a: Site) -> AsyncIterator[tuple[int, Enrolments]]:
    """A's port for edges."""
    async with a.running(listening=False), trio.open_nursery() as nursery:
        a.server.edges.enrolled = enrolled = Enrolments()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(a.server._listeners()[1].serve, listeners)
        yield listeners[0].socket.getsockname()[1], enrolled
        nursery.cancel_scope.cancel()


def edge(a: Site, port: int, name: DomainName, keys: DomainName = NOBODY) -> Knock:
    return Knock(a, attrs.evolve(party(keys), name=name), edge_context(keys), port=port)


async def test_edges_that_are_not_enrolled_are_soon_not_looked_up(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with edge_door(a) as (port, enrolled):
        false = edge(a, port, NOBODY)
        for _ in range(10):
            await false.once()
        codes = [error.code for error in false.told if error is not None]
        assert codes == [ErrorCode.POLICY] * limits.CLAIMS_PER_DOMAIN_PER_MINUTE + [ErrorCode.BUSY] * 4
        assert enrolled.reads == limits.CLAIMS_PER_DOMAIN_PER_MINUTE
        assert await edge(a, port, OTHER, OTHER).once() is None


async def test_few_enrolments_are_read_at_once(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    async with edge_door(a) as (port, enrolled):
        enrolled.may.clear()
        async with trio.open_nursery() as crowd:
            for n in range(6):
                crowd.start_soon(edge(a, port, DomainName(f"edge-{n + 10}")).once)
            with trio.fail_after(5):
                while a.server.edge_door.readers.statistics().tasks_waiting < 6 - limits.EDGE_LOOK_UPS:
                    await trio.lowlevel.checkpoint()
            assert enrolled.reading <= limits.EDGE_LOOK_UPS
            enrolled.may.set()
        assert enrolled.reads == 6


async def test_the_configured_limits_are_those_of_both_doors(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A, limits=some_limits(connections_per_minute=7, strangers_per_address=3))
    async with a.running(listening=False):
        for listener in a.server._listeners():
            assert (listener.rate.per_minute, listener.admission.per_address) == (7, 3)
            assert listener.refusals is a.server.refusals is a.server.judge.refusals
