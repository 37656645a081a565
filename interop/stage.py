"""What a scenario sees: homeservers that run, edges, strangers, and the links between them.

in: a Cast (servers that run already) and a Scenario; out: a Stage for it, and the verdict.
Never: leaves an edge, a stranger or a changed policy to the next scenario.
"""

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import attrs
import trio

from interop.cast import Cast, free_port, new_source
from interop.edge_call import EdgeCall, RawEdge
from interop.fake_edge import FakeEdge
from interop.scenario import Failed, Scenario, check
from interop.server import Server
from interop.site import Address, Keys, PeerEntry, host_of, pace_of, records_of
from volly_fed.names import DomainName
from volly_fed.testing.link_shim import LinkShim
from volly_fed.testing.world import Flaw

EDGE_1: Final = "edge-1"
EDGE_2: Final = "edge-2"


@attrs.define(eq=False, kw_only=True)
class Stranger:
    """A domain without a homeserver: keys, records, and an entry in the servers' maps. A fake peer plays it."""

    domain: DomainName
    keys: Keys
    address: Address
    """Where a fake peer listens if it is to be dialled: nobody else does."""
    source: str
    """The address from which it dials, which nobody else uses: what a server counts for addresses is its alone."""
    shim: LinkShim
    """In front of `address`: what the servers are told to dial."""

    @property
    def host(self) -> DomainName:
        """The target of its SRV record."""
        return host_of(self.domain)


class Stage:
    """One scenario's. All that is begun here ends with the scenario."""

    def __init__(self, cast: Cast, nursery: trio.Nursery) -> None:
        """`nursery` is cancelled when the scenario is over."""
        self._cast = cast
        self._nursery = nursery
        self._strangers: list[Stranger] = []
        self._edges: dict[str, str] = {}

    @property
    def servers(self) -> list[Server]:
        """The homeservers under test; of two, the first dials and sends where it matters. Both trust each other fully.

        Each is a Server: `domain`, `site` (its keys, its addresses), `start`, `stop` (SIGTERM), `kill` (SIGKILL),
        `restart`, `reload` (SIGHUP, after changes in `site`).
        """
        return self._cast.servers

    @property
    def nursery(self) -> trio.Nursery:
        """For whatever runs beside the scenario; cancelled at its end."""
        return self._nursery

    # --- edges -----------------------------------------------------------------------------------------------------

    async def edge(
        self, server: Server, name: str = EDGE_1, *, keys: Keys | None = None, domain: DomainName | None = None
    ) -> FakeEdge:
        """An edge link to `server`. Who is called edge-N is enrolled; the others are not.

        Within a scenario one `name` is one edge; its real name, in `call.name`, is another. `keys`, `domain`: others
        than are right. Raises Refused, with the code, or what else `daemon.connection.dial` raises.
        """
        edge = FakeEdge(self._call(server, name, keys, domain))
        await self._nursery.start(edge.run)
        return edge

    async def raw_edge(self, server: Server, name: str = EDGE_1) -> RawEdge:
        """An edge link on which the scenario says every message itself, also those of the session."""
        edge = RawEdge(self._call(server, name, None, None))
        await self._nursery.start(edge.run)
        return edge

    def _call(self, server: Server, name: str, keys: Keys | None, domain: DomainName | None) -> EdgeCall:
        if name.startswith("edge-"):
            real = self._edges[name] = self._edges.get(name) or self._cast.next_edge()
        else:
            real = name
        return EdgeCall(
            name=DomainName(real),
            keys=keys or self._cast.edges[real],
            domain=domain or server.site.domain,
            expected=server.site.keys.fingerprint,
            address=server.site.edges,
            source=new_source(),
        )

    async def edges(self) -> list[FakeEdge]:
        """edge-1 of each server, in their order."""
        return [await self.edge(server) for server in self.servers]

    # --- links between homeservers ---------------------------------------------------------------------------------

    def link(self, dialler: "Server | Stranger", listener: "Server | Stranger") -> LinkShim:  # noqa: ARG002 - see below
        """The way from `dialler` to `listener`: see docs/test-links.md.

        It is in front of the listener, so another dialler of the same listener would be on it too.
        """
        return listener.shim if isinstance(listener, Stranger) else self._cast.shims[listener.site.domain]

    def links(self) -> Iterator[LinkShim]:
        """All ways between the servers and the strangers."""
        yield from self._cast.shims.values()
        yield from (stranger.shim for stranger in self._strangers)

    async def unlink(self) -> None:
        """Cut whatever links there are between homeservers: what comes next dials anew."""
        for shim in self.links():
            shim.reset()
            await shim.until(lambda shim=shim: not shim.connections)  # type: ignore[misc]

    async def one_link(self) -> None:
        """Wait until there is one connection between the servers, whoever has dialled it."""
        await self._connections(1)

    async def no_link(self) -> None:
        """Wait until there is none."""
        await self._connections(0)

    async def _connections(self, count: int) -> None:
        shims = list(self._cast.shims.values())

        async def wait(shim: LinkShim, scope: trio.CancelScope) -> None:
            await shim.until(lambda: sum(len(each.connections) for each in shims) == count)
            scope.cancel()

        async with trio.open_nursery() as nursery:
            for shim in shims:
                nursery.start_soon(wait, shim, nursery.cancel_scope)

    def way_to(self, server: Server) -> Address:
        """What `server` has published for other homeservers: where a fake peer dials, past no shim of others."""
        return server.site.federation

    # --- who is known ----------------------------------------------------------------------------------------------

    async def trust(self, server: Server, domain: str, level: str, presence: str | None = None) -> None:
        """Let `server` have `domain` at `level` from now on (SIGHUP)."""
        entry = server.site.peers[DomainName(domain)]
        entry.level, entry.presence = level, presence or pace_of(level)
        await server.reload()

    async def stranger(
        self,
        label: str = "stranger",
        *,
        level: str = "full",
        presence: str | None = None,
        known: bool = True,
        published: bool = True,
        signed: bool = True,
        flaws: Flaw = Flaw.NONE,
        keys: Keys | None = None,
        records: Callable[[list[str]], list[str]] = list,
    ) -> Stranger:
        """A new domain LABEL-N.test, in the DNS and in the map of every server, at `level`.

        Not `known`: the servers' maps lack it. Not `published`: there are no records, and no targets in the map.
        `signed`, `flaws` and `records`, which may change the lines of its zone, are about the DNS alone.
        """
        domain = DomainName(f"{label.removesuffix('.test')}-{self._cast.next_number()}.test")
        made = keys or Keys.new(host_of(domain))
        host = new_source()
        stranger = Stranger(
            domain=domain, keys=made, address=(host, free_port(host)), source=host, shim=LinkShim(("", 0))
        )
        stranger.shim.target = stranger.address
        published_at: Address = await self._nursery.start(partial(stranger.shim.serve, host))
        self._strangers.append(stranger)
        if published:
            lines = records(records_of(made, published_at))
            self._cast.zones.publish(domain, lines, signed=signed, flaws=flaws)
        if known:
            await self._introduce(stranger, published_at, level, presence or pace_of(level), published)
        return stranger

    def publish(self, stranger: Stranger, lines: list[str]) -> None:
        """Let the zone of `stranger` have these lines from now on. Resolvers may hold the older ones for an hour."""
        self._cast.zones.publish(stranger.domain, lines)

    async def _introduce(self, stranger: Stranger, at: Address, level: str, presence: str, published: bool) -> None:
        async with trio.open_nursery() as nursery:
            for server in self.servers:
                entry = PeerEntry.of(stranger.domain, stranger.keys, at, level, presence)
                entry.published = published
                server.site.peers[stranger.domain] = entry
                nursery.start_soon(server.reload if server.running else _later)

    def demand_all_well(self) -> None:
        """Raise Failed if one of the servers has ended by itself."""
        for server in self.servers:
            check(not server.crashed, f"{server.contract.name} goes on running")

    def leave(self) -> None:
        """Withdraw the strangers' records; the cast takes back the rest."""
        self._cast.zones.withdraw(*(stranger.domain for stranger in self._strangers))


async def _later() -> None:
    """A server that does not run reads its site when it starts."""


async def play(cast: Cast, scenario: Scenario) -> str:
    """Play it: "" if all was as it should be, else what was not."""
    try:
        with trio.fail_after(scenario.seconds):
            async with trio.open_nursery() as nursery:
                stage = Stage(cast, nursery)
                try:
                    await scenario.play(stage)
                    stage.demand_all_well()
                finally:
                    stage.leave()
                nursery.cancel_scope.cancel()
    except Exception as error:
        return "\n".join(_in_words(leaf, scenario) for leaf in leaves(error))
    return ""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep; of any other, itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _in_words(error: BaseException, scenario: Scenario) -> str:
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, trio.TooSlowError):
        return f"not over within {scenario.seconds:.0f} s"
    return "".join(traceback.format_exception(error)).rstrip()
