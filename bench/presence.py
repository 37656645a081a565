"""What presence costs: filters, single changes, deltas, memory: pure machines in one process; and a filter over a link.

    python bench/presence.py [--quick] [--json]

Assumed: a user stays online for half an hour, so that each second 1/1800 of those online leave, and as many come, on
average: how many in one step is random (Poisson).
Sizes are of whole messages as they go to the link. Times are CPU time, the least of several rounds; memory is what the
process grows by (RSS). The last line is wall time, over a link as homeservers have it (TLS, WebSocket, loopback) with
both ends in this process: from the request to a view that follows. Exits 1 if a goal is missed.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import attrs
import numpy as np
import trio

from volly_fed import limits, limits_presence
from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.codepoints import TrustLevel
from volly_fed.crypto.block import BLOCK
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.connection import Accepted, Connection, Dialled, accept, dial
from volly_fed.daemon.link import Link
from volly_fed.daemon.presence_hub import FROM_PEERS, PresenceHub
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.daemon.tls import TlsIdentity, make_context
from volly_fed.handshake import Claimed, Outcome, Party
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence import Pace, Show, View, bounds, epoch_of
from volly_fed.presence.counters import Counters
from volly_fed.presence.delta import encode_delta
from volly_fed.presence.placement import filter_bits
from volly_fed.presence.shown import Shown, choose_class
from volly_fed.session import Outbound, Session
from volly_fed.trust.gates import EVERYBODY
from volly_fed.trust.policy import Policy
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Announce, PresenceDelta, PresenceRequest, Watch

STAY = 1800.0
"""Seconds that somebody is online."""
EPOCH = 1
WALL = 1.5 * bounds.EPOCH
MEGA = 1e6
CHANCE = np.random.default_rng()


@attrs.frozen
class Figure:
    """One line; `goal`: at most, or None."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def met(self) -> bool:
        """Whether the goal is reached, if there is one."""
        return self.goal is None or self.value <= self.goal


def make_tags(count: int) -> list[bytes]:
    """So many tags."""
    data = os.urandom(16 * count)
    return [data[at : at + 16] for at in range(0, len(data), 16)]


def least(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of CPU time that `work` takes."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def memory(peers: int) -> list[Figure]:
    """Many peers, each with a filter of its own for the same 10 k tags, a minute of ticks after the beginning."""
    tags = make_tags(10_000)
    before = rss()
    shows = []
    for _ in range(peers):
        show = Show(pace=Pace.TICK, random=os.urandom, now=0.0)
        show.connected()
        show.receive(PresenceRequest(), 0.0)
        show.begin(EPOCH, tags, 0.0)
        while show.next_message(0.0):
            pass
        for tick in range(1, bounds.HISTORY + 1):
            show.next_message(tick * bounds.TICK)
        shows.append(show)
    grown = (rss() - before) / MEGA
    return [Figure(f"memory of {peers} peers, each with a filter of 10 k tags", grown, "MB", 200 * peers / 1000)]


def rss() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def building(rounds: int, online: int) -> list[Figure]:
    """An epoch's filter for one peer, as bytes."""
    tags = make_tags(online)
    taken = least(rounds, lambda: Shown.draw(EPOCH, tags, None, os.urandom).bits)
    return [Figure(f"filter of an epoch, {online:,} tags", taken * 1e3, "ms", 300 if online == 1_000_000 else None)]


def changing(rounds: int) -> list[Figure]:
    """One user, one peer."""
    number = 2000
    blocks = [os.urandom(BLOCK) for _ in range(number)]
    size = choose_class(10_000)
    counters = Counters(size, os.urandom(BLOCK * bounds.CAPACITY[size]))
    place = Shown.draw(EPOCH, [], None, os.urandom).placement

    def come() -> None:
        for block in blocks:
            counters.count(place.encrypt((block,)))

    def go() -> None:
        for block in blocks:
            counters.discount(place.encrypt((block,)))

    pairs = [(least(1, come), least(1, go)) for _ in range(rounds)]
    return [
        Figure("one user comes: placed and counted", min(p[0] for p in pairs) / number * MEGA, "us", 10),
        Figure("one user goes: placed and counted", min(p[1] for p in pairs) / number * MEGA, "us", 10),
        Figure("one user comes: the whole message, dummies too", prompt(rounds, number) / number * MEGA, "us"),
    ]


def prompt(rounds: int, number: int) -> float:
    """As it leaves at once: step, coding, message."""
    show = Show(pace=Pace.PROMPT, random=os.urandom, now=0.0)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    show.begin(EPOCH, make_tags(7000), 0.0)
    while show.next_message(0.0):
        pass
    now = 1.0

    def work() -> None:
        nonlocal now
        for tag in make_tags(number):
            for change in (show.join, show.leave):
                change(tag, now)
                now += bounds.TICK / 10
                message = show.next_message(now)
                assert message is not None
                encode_message(message)

    return least(rounds, work) / 2


def delta_of(shown: Shown, joined: list[bytes], left: list[bytes]) -> bytes:
    """The message of one step."""
    changes = encode_delta(shown.step(joined, left, least=bounds.TICK_CHANGES), filter_bits(shown.size))
    assert changes is not None
    return encode_message(PresenceDelta(filter=shown.filter_id, sequence=shown.sequence, changes=changes))


def deltas(rounds: int, online: int, goal: float) -> list[Figure]:
    """Ticks of 5 s (the page's) and of 2 s (ours), and one in which nothing happens."""
    tags = make_tags(online)
    shown = Shown.draw(EPOCH, tags, None, os.urandom)
    figures = []
    for seconds, limit in ((5.0, goal), (bounds.TICK, None), (0.0, None)):
        mean = online * seconds / STAY
        sizes, times = [], []
        for _ in range(rounds):
            come, go = CHANCE.poisson(mean, 2).tolist()
            joined, left, tags = make_tags(come), tags[:go], tags[go:]
            tags += joined
            began = time.process_time()
            sizes.append(len(delta_of(shown, joined, left)))
            times.append(time.process_time() - began)
        what = f"{online:,} online, {seconds:g} s" if mean else f"{online:,} online, nothing happens"
        figures.append(Figure(f"delta: {what}", median(sizes), "bytes", limit))
        figures.append(Figure(f"  its making (+{mean:.0f} -{mean:.0f})", min(times) * 1e3, "ms"))
    return figures


def viewing(rounds: int, online: int) -> list[Figure]:
    """The other side: taking a filter, a tick's delta, and a device's look-up."""
    tags = make_tags(online)
    show = Show(pace=Pace.TICK, random=os.urandom, now=0.0)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    show.begin(EPOCH, tags, 0.0)
    pieces = []
    while message := show.next_message(0.0):
        pieces.append(encode_message(message))
    view, number = View(), round(online * bounds.TICK / STAY)
    view.connected()

    def take() -> None:
        for piece in pieces:
            view.receive(parse_message(piece), WALL)

    taken = least(min(rounds, bounds.SNAPSHOTS_PER_EPOCH), take)
    times = []
    for tick in range(1, rounds + 1):
        for tag in tags[(tick - 1) * number : tick * number]:
            show.leave(tag, tick * bounds.TICK)
        for tag in make_tags(number):
            show.join(tag, tick * bounds.TICK)
        delta = show.next_message(tick * bounds.TICK)
        assert delta is not None
        data = encode_message(delta)
        times.append(least(1, lambda data=data: view.receive(parse_message(data), WALL)))  # type: ignore[misc] # a default binds `data` now
    seen = view.filter
    assert seen is not None
    asked = tags[-1000:]
    found = least(rounds, lambda: [tag in seen for tag in asked])
    return [
        Figure(f"a peer's filter is taken, {online:,} tags", taken * 1e3, "ms"),
        Figure("  a 2 s delta", min(times) * 1e3, "ms"),
        Figure("  a look-up", found * 1e6 / len(asked), "us"),
    ]


@attrs.define(eq=False)
class _Side:
    """One homeserver's presence, with its keys, and a store that keeps nothing."""

    name: DomainName
    hub: PresenceHub = attrs.field(init=False)
    identity: IdentityKey = attrs.field(factory=lambda: IdentityKey.generate(os.urandom))
    tls: TlsIdentity = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        key = TlsKey.generate()
        certificate = key.self_signed(self.name, datetime.now(UTC) - timedelta(days=1), timedelta(days=30))
        self.tls = TlsIdentity(certificate=certificate, key=Secret(key.pkcs8_der()))
        policy = Policy(default=TrustLevel.FULL)
        self.hub = PresenceHub(own=self.name, store=self, policy=lambda: policy)

    async def presence(self, peer: DomainName) -> PresenceRecords:  # noqa: ARG002 - as Records has it
        return PresenceRecords()

    def begin_keep_presence(self, peer: DomainName, records: PresenceRecords) -> None:
        """Nothing is."""

    def begin_forget_presence(self) -> None:
        """There is nothing."""

    async def link(self, connection: Connection, *, task_status: trio.TaskStatus[None]) -> None:
        peer = connection.outcome.peer
        session: Session[int] = Session(Outbound(os.urandom), now=trio.current_time(), extra=FROM_PEERS)
        link = Link(connection.socket, session, handler := _Handler(self.hub, peer))
        handler.link = link
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            self.hub.connected(peer, TrustLevel.FULL, link)
            nursery.start_soon(self.hub.serve, peer, link)
            task_status.started()


@attrs.define(eq=False)
class _Handler:
    """A link's owner who takes presence only."""

    hub: PresenceHub
    peer: DomainName
    link: Link[int] = attrs.field(init=False)

    async def opened(self, stream: bytes) -> tuple[int, tuple[()]]:  # noqa: ARG002 - as daemon.link.Handler has it
        return 0, ()

    async def received(self, batch: object) -> Callable[[], Awaitable[tuple[()]]]:  # noqa: ARG002 - the same
        raise AssertionError

    async def settled(self, event: object) -> None:
        """Not called."""

    async def other(self, message: Message) -> None:
        await self.hub.from_peer(self.peer, self.link, message)


@attrs.define(eq=False)
class _EdgeEnd:
    """The link of an edge that watches. `at`: when the first piece of a filter came, wall time and processor time."""

    shown: trio.Event = attrs.field(factory=trio.Event)
    at: tuple[float, float] = (0.0, 0.0)
    extra_room: int = limits.EXTRA_MESSAGES

    def send(self, message: Message) -> bool:  # noqa: ARG002 - as EdgeWay has it
        if not self.shown.is_set():
            self.at = time.perf_counter(), time.process_time()
            self.shown.set()
        return True

    async def wait_extra_room(self, spare: int = 0) -> None:  # noqa: ARG002 - as EdgeWay has it
        await trio.lowlevel.checkpoint()


async def follow(online: int) -> tuple[float, float]:
    """Seconds, wall time and processor time, from a request until the peer follows a filter of so many."""
    shows, views = _Side(DomainName("shows.test")), _Side(DomainName("views.test"))
    found: dict[DomainName, Connection] = {}
    both, over = trio.Event(), trio.Event()

    async def confirm(_: Outcome) -> None:
        """Everybody may."""

    async def admit(_: Claimed, __: Negotiated) -> frozenset[Fingerprint]:
        return frozenset({fingerprint(views.identity.public)})

    async def use(connection: Connection) -> None:
        found[connection.outcome.peer] = connection
        if len(found) == len((shows, views)):
            both.set()
        await over.wait()

    epoch, way = epoch_of(time.time()), _EdgeEnd()
    per_edge = limits_presence.ANNOUNCED_TAGS_PER_EDGE // 2  # their tags for the next epoch might come, too
    for number, tag in enumerate(make_tags(online)):
        await shows.hub.from_edge(number // per_edge, Announce(number=number, epoch=epoch, tags=((EVERYBODY, tag),)))
    to_views = make_context(FEDERATION, server=True, identity=shows.tls)
    accepted = Accepted(
        context=to_views, party=Party(name=shows.name, key=shows.identity), admit=admit, confirm=confirm, use=use
    )
    dialled = Dialled(
        context=make_context(FEDERATION, server=False, identity=views.tls),
        party=Party(name=views.name, key=views.identity),
        host=shows.name,
        wanted=shows.name,
        expected=frozenset({fingerprint(shows.identity.public)}),
        check_key=lambda _: None,
        confirm=confirm,
        use=use,
    )
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(views.hub.edge_up(1, way).run)
        await views.hub.from_edge(1, Watch(domain=shows.name))
        nursery.start_soon(dial, await trio.open_tcp_stream(*listener.socket.getsockname()), dialled)
        nursery.start_soon(partial(accept, await listener.accept(), accepted, proved=lambda: None))
        await both.wait()
        await nursery.start(shows.link, found[views.name])
        began = time.perf_counter(), time.process_time()
        await nursery.start(views.link, found[shows.name])
        await way.shown.wait()
        assert [each.viewing for each in views.hub.standing() if each.domain == shows.name] == ["following"]
        nursery.cancel_scope.cancel()
    return way.at[0] - began[0], way.at[1] - began[1]


def following(rounds: int, online: int, goal: float | None) -> list[Figure]:
    """Wall time, unlike the others: a peer waits for it."""
    taken = [trio.run(follow, online) for _ in range(rounds)]
    wall, cpu = (min(times) * 1e3 for times in zip(*taken, strict=True))
    return [Figure(f"filter over a link, {online:,} tags", wall, "ms", goal), Figure("  its processor time", cpu, "ms")]


def main() -> int:
    """All figures; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures mean nothing")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rounds = 2 if args.quick else 7
    sizes = [(10_000, 1024.0), (100_000, 8 * 1024.0), (1_000_000, 64 * 1024.0)][: 1 if args.quick else 3]
    figures = memory(20 if args.quick else 1000)
    for online, _ in sizes:
        figures += building(rounds, online)
    figures += changing(rounds)
    for online, goal in sizes:
        figures += deltas(rounds, online, goal)
    for online, _ in sizes:
        figures += viewing(rounds, online)
    online = 3000 if args.quick else limits_presence.ANNOUNCERS  # with dummies: 1 048 576 tags
    figures += following(rounds=1 if args.quick else 3, online=online, goal=None if args.quick else 1000)
    if args.json:
        print(json.dumps([attrs.asdict(figure) | {"met": figure.met} for figure in figures], indent=1))
    else:
        for figure in figures:
            verdict = "" if figure.goal is None else f"goal {figure.goal:g} {'met' if figure.met else 'MISSED'}"
            print(f"{figure.name:58} {figure.value:10.1f} {figure.unit:6} {verdict}")
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
