"""Links over WebSockets in memory: a handler that remembers, both ends of a pair, and an end driven by hand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from volly_fed.channel import FEDERATION
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.link import End, Link, Pending, Resumption
from volly_fed.daemon.websocket import Socket, accept_websocket, connect_websocket
from volly_fed.errors import ChannelError
from volly_fed.session import Outbound, Received, Session, Settled
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Refusal, Release

EXTRA: frozenset[type[Message]] = frozenset({Release})


def stream_ids() -> Callable[[int], bytes]:
    """A random source that never repeats."""
    count = iter(range(1, 1 << 32))
    return lambda size: next(count).to_bytes(size, "big")


_RANDOM = stream_ids()


async def _nothing() -> None:
    pass


@attrs.define
class Keeper:
    """A link's owner with a list for a disk. Tests replace what should go wrong."""

    disk: list[bytes] = attrs.field(factory=list)
    cursors: dict[bytes, int] = attrs.field(factory=dict)
    refusals: dict[bytes, tuple[Refusal, ...]] = attrs.field(factory=dict)
    done: list[int] = attrs.field(factory=list)
    refused: list[int] = attrs.field(factory=list)
    later: list[tuple[int, bytes]] = attrs.field(factory=list)
    others: list[Message] = attrs.field(factory=list)
    before_commit: Callable[[], Awaitable[None]] = _nothing
    on_opened: Callable[[], None] = lambda: None
    on_other: Callable[[], None] = lambda: None
    judge: Callable[[Received], tuple[Refusal, ...]] = lambda _: ()
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def opened(self, stream: bytes) -> Resumption:
        self.on_opened()
        return self.cursors.get(stream, 0), self.refusals.get(stream, ())

    async def received(self, batch: Received) -> Pending:
        async def commit() -> tuple[Refusal, ...]:
            await self.before_commit()
            self.disk += batch.envelopes
            refusals = self.judge(batch)
            self.cursors[batch.stream] = batch.last
            self.refusals[batch.stream] = self.refusals.get(batch.stream, ()) + refusals
            self._tell()
            return refusals

        return commit

    async def settled(self, event: Settled[int]) -> None:
        self.done += event.keys
        self.refused += [key for key, _, _ in event.refused]
        self.later += event.later
        self._tell()

    async def other(self, message: Message) -> None:
        self.on_other()
        self.others.append(message)
        self._tell()

    async def until(self, check: Callable[[], bool]) -> None:
        while not check():
            await self.changed.wait()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@attrs.define
class Side:
    """One end: what outlives links, and the link it has now."""

    keeper: Keeper = attrs.field(factory=Keeper)
    outbound: Outbound[int] = attrs.field(factory=lambda: Outbound[int](_RANDOM))
    link: Link[int] | None = None
    end: End | None = None
    over: trio.Event = attrs.field(factory=trio.Event)
    _keys: int = 0

    def begin(self, socket: Socket) -> Link[int]:
        self.end, self.over = None, trio.Event()
        session = Session(self.outbound, now=trio.current_time(), extra=EXTRA)
        self.link = Link(socket, session, self.keeper)
        return self.link

    async def run(self) -> None:
        assert self.link is not None
        self.end = await self.link.run()
        self.over.set()

    def offer(self, *envelopes: bytes) -> None:
        for envelope in envelopes:
            self._keys += 1
            self.outbound.offer([(self._keys, envelope)], EnvelopeClass.SIGNAL)
        if self.link is not None:
            self.link.wake()


Pair = tuple[trio.abc.Stream, trio.abc.Stream]


@asynccontextmanager
async def sockets(pair: Pair | None = None) -> AsyncIterator[tuple[Socket, Socket]]:
    """Both ends of a WebSocket. At the end everything is cut, without a word."""
    near, far = pair or trio.testing.memory_stream_pair()
    opened: list[Socket] = []
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            opened.append(await accept_websocket(nursery, far, FEDERATION))

        nursery.start_soon(accept)
        client = await connect_websocket(nursery, near, FEDERATION, "far.test")
        while not opened:
            await trio.testing.wait_all_tasks_blocked()
        yield client, opened[0]
        nursery.cancel_scope.cancel()
    for stream in (near, far):
        await trio.aclose_forcefully(stream)


@attrs.define
class Hand:
    """An end of a WebSocket whose every message a test writes and reads itself."""

    socket: Socket

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self.socket.send(encode_message(message))

    async def hear(self) -> Message:
        return parse_message(await self.socket.receive())

    async def hear_all(self) -> list[Message]:
        """Everything until the other end closes."""
        heard: list[Message] = []
        try:
            while True:
                heard.append(await self.hear())
        except (trio.EndOfChannel, ChannelError):
            return heard


@asynccontextmanager
async def linked(near: Side, far: Side, pair: Pair | None = None) -> AsyncIterator[None]:
    """A running link between two sides; cut at the end."""
    async with sockets(pair) as (client, server), trio.open_nursery() as nursery:
        near.begin(client)
        far.begin(server)
        nursery.start_soon(near.run)
        nursery.start_soon(far.run)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def against_hand(side: Side, pair: Pair | None = None) -> AsyncIterator[Hand]:
    """A running link whose other end is the test's."""
    async with sockets(pair) as (client, server), trio.open_nursery() as nursery:
        side.begin(server)
        nursery.start_soon(side.run)
        yield Hand(client)
        nursery.cancel_scope.cancel()


async def ended(side: Side) -> End:
    """Wait until the link of `side` has ended by itself."""
    await side.over.wait()
    assert side.end is not None
    return side.end
