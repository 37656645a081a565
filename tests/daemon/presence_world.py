"""Presence without sockets and disks: hubs that are linked in memory, edges that watch, and devices that announce.

Unix time is trio's, so that epochs pass as fast as a test wants them to.
"""

import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.presence_hub import FROM_PEERS, PresenceHub
from volly_fed.daemon.presence_peer import PresencePeer
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.errors import RemoteError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName
from volly_fed.presence import View, bounds, epoch_of, presence_tag
from volly_fed.trust.policy import Policy
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Announce, Retract, Shown, Unwatch, Watch

A, B, C = DomainName("a.test"), DomainName("b.test"), DomainName("c.test")
START = 1_000_000 * bounds.EPOCH + 600.0
"""Unix time when trio's clock is at 0: well inside an epoch."""


def clock() -> float:
    return START + trio.current_time()


async def quiet() -> None:
    """Until nothing happens any more at this moment."""
    await trio.testing.wait_all_tasks_blocked()


@attrs.define
class Shelf:
    """A store's part about presence."""

    kept: dict[DomainName, PresenceRecords] = attrs.field(factory=dict)

    async def presence(self, peer: DomainName) -> PresenceRecords:
        await trio.lowlevel.checkpoint()
        return self.kept.get(peer, PresenceRecords())

    def begin_keep_presence(self, peer: DomainName, records: PresenceRecords) -> None:
        self.kept[peer] = records

    def begin_forget_presence(self) -> None:
        pass


@attrs.define(eq=False)
class Side:
    """One homeserver's presence, for one run of it after the other."""

    name: DomainName
    policy: Policy = attrs.field(factory=lambda: Policy(default=TrustLevel.FULL))
    shelf: Shelf = attrs.field(factory=Shelf)
    wanted: list[DomainName] = attrs.field(factory=list)
    hub: PresenceHub = attrs.field(init=False)
    edges: int = 0
    random: RandomSource = attrs.field(factory=lambda: random.Random(1).randbytes)
    """Known, so that no stranger looks like somebody who is online in one run and not in the next."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Side"]:
        self.hub = PresenceHub(
            own=self.name, store=self.shelf, policy=lambda: self.policy, clock=clock, random=self.random
        )
        self.hub.want_link = self.wanted.append
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hub.run)
            await quiet()
            yield self
            nursery.cancel_scope.cancel()

    def use(self, level: TrustLevel) -> None:
        """As a reload does that finds this level for everybody."""
        self.policy = Policy(default=level)
        self.hub.judge_again()

    def peer(self, domain: DomainName) -> PresencePeer:
        return self.hub._peers[domain]

    @asynccontextmanager
    async def edge(self) -> AsyncIterator["Edge"]:
        self.edges += 1
        edge = Edge(self, self.hub, self.edges)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(edge.hub.edge_up(edge.number, edge.way).run)
            yield edge
            edge.way.over = True
            edge.hub.edge_down(edge.number)
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class EdgeEnd:
    """An edge's link, as the hub sees it. `room`: what it takes before its writer has to catch up."""

    heard: list[Message] = attrs.field(factory=list)
    room: int = 2048
    over: bool = False
    changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def extra_room(self) -> int:
        return 0 if self.over else self.room

    def send(self, message: Message) -> bool:
        if self.extra_room:
            self.heard.append(message)
        self.changed.set()
        self.changed = trio.Event()
        return bool(self.extra_room)

    async def wait_extra_room(self, spare: int = 0) -> None:
        await trio.lowlevel.checkpoint()
        while not self.over and self.room <= spare:
            await self.changed.wait()


@attrs.define(eq=False)
class Edge:
    """An edge's link, and what its devices can see."""

    side: Side
    hub: PresenceHub
    number: int
    way: EdgeEnd = attrs.field(factory=EdgeEnd)
    seen: int = 0
    views: dict[DomainName, View] = attrs.field(factory=dict)
    refused: list[Unwatch] = attrs.field(factory=list)

    async def say(self, message: Message) -> None:
        await self.hub.from_edge(self.number, parse_message(encode_message(message)))

    async def watch(self, domain: DomainName) -> None:
        self.views[domain] = View()
        self.views[domain].connected()
        await self.say(Watch(domain=domain))

    async def unwatch(self, domain: DomainName) -> None:
        await self.say(Unwatch(domain=domain))

    def view(self, domain: DomainName) -> View:
        """What a device that watches `domain` has of it by now."""
        for message in self.way.heard[self.seen :]:
            if isinstance(message, Unwatch):
                self.refused.append(message)
                self.views[message.domain] = View()
                continue
            assert isinstance(message, Shown)
            view = self.views[message.domain]
            view.receive(parse_message(message.message), clock())
            view._taken = (0, 0)  # its own homeserver may send as many filters as it likes
        self.seen = len(self.way.heard)
        return self.views[domain]

    async def until_refused(self, domain: DomainName) -> Unwatch:
        """What was said when `domain` was refused last."""
        with trio.fail_after(bounds.EPOCH):
            while True:
                self.view(domain)
                if found := [refusal for refusal in self.refused if refusal.domain == domain]:
                    return found[-1]
                await self.way.changed.wait()
        raise AssertionError("unreachable")

    def sees(self, domain: DomainName, user: "User") -> bool:
        """Whether a contact of `user` who watches `domain` here finds the user online."""
        view = self.view(domain)
        if view.filter is None:
            return False
        return any(user.tag(view.epoch, scope) in view.filter for scope in (self.side.name, "*"))

    def shown(self, domain: DomainName) -> Counter[str]:
        """How many messages of each kind have come about `domain`."""
        messages = [m for m in self.way.heard if isinstance(m, Shown) and m.domain == domain]
        return Counter(type(parse_message(m.message)).__name__ for m in messages)

    async def until_sees(self, domain: DomainName, user: "User", wanted: bool = True) -> float:
        """How long it takes until that is so."""
        began = trio.current_time()
        while self.sees(domain, user) is not wanted:
            await self.way.changed.wait()
        return trio.current_time() - began


@attrs.define(eq=False)
class User:
    """A user with one device."""

    name: int
    scopes: tuple[str, ...] = ("*",)

    def tag(self, epoch: int, scope: str) -> bytes:
        return presence_tag(Secret(self.name.to_bytes(32, "big")), epoch, scope)

    async def announce(self, edge: Edge, *, epochs: tuple[int, ...] = (0, 1)) -> None:
        """Online, in this epoch and the next."""
        now = epoch_of(clock())
        for epoch in epochs:
            tags = tuple((scope, self.tag(now + epoch, scope)) for scope in self.scopes)
            await edge.say(Announce(number=self.name, epoch=now + epoch, tags=tags))

    async def retract(self, edge: Edge) -> None:
        await edge.say(Retract(number=self.name))


@attrs.define(eq=False)
class End:
    """One end of a link between two homeservers, as a link's writer looks to the hub."""

    out: deque[Message] = attrs.field(factory=deque)
    over: bool = False
    held: bool = False
    """The other end reads nothing."""
    sent: list[Message] = attrs.field(factory=list)
    most: int = 0
    """That ever waited for the writer."""
    changed: trio.Event = attrs.field(factory=trio.Event)

    def send(self, message: Message) -> bool:
        if self.over:
            return False
        self.out.append(message)
        self.sent.append(message)
        self.most = max(self.most, len(self.out))
        self.tell()
        return True

    async def wait_extra_room(self, spare: int = 0) -> None:
        await trio.lowlevel.checkpoint()
        while not self.over and 2048 - len(self.out) <= spare:
            await self.changed.wait()

    def tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def kinds(self) -> Counter[str]:
        return Counter(type(message).__name__ for message in self.sent)


@attrs.define(eq=False)
class Wire:
    """A link that is up. `ended`: with which codes either side has ended it."""

    ends: dict[DomainName, End]
    ended: list[ErrorCode] = attrs.field(factory=list)
    cut: trio.Event = attrs.field(factory=trio.Event)


@asynccontextmanager
async def linked(a: Side, b: Side) -> AsyncIterator[Wire]:
    """A link between two running sides; at the end, or when a side does wrong, it is cut."""
    wire = Wire({a.name: End(), b.name: End()})
    ways = ((a.name, a.hub, b.name, b.hub), (b.name, b.hub, a.name, a.hub))
    async with trio.open_nursery() as nursery:
        for name, hub, other, _ in ways:
            hub.connected(other, hub.policy().level_of(other).level, wire.ends[name])
        for name, hub, other, other_hub in ways:
            nursery.start_soon(hub.serve, other, wire.ends[name])
            nursery.start_soon(_carry, wire, name, other, other_hub)
        yield wire
        for name, hub, other, _ in ways:
            wire.ends[name].over = True
            hub.lost(other, wire.ends[name])
        nursery.cancel_scope.cancel()


async def _carry(wire: Wire, name: DomainName, other: DomainName, hub: PresenceHub) -> None:
    end = wire.ends[name]
    while True:
        while not end.out or end.held:
            await end.changed.wait()
        message = end.out[0]
        assert type(message) in FROM_PEERS
        await trio.lowlevel.checkpoint()
        try:
            await hub.from_peer(name, wire.ends[other], parse_message(encode_message(message)))
        except RemoteError as error:
            wire.ended.append(error.code)
            wire.cut.set()
            return
        end.out.popleft()
        end.tell()
