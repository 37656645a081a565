"""Devices that send and receive while everything else fails, and a ledger of all that they see.

in: a running federation, a rate, a seed; out: letters in a Ledger. Recipients keep their messages in folders, as real
ones do; every other one comes and goes, from one edge to the next. Submitters do what the protocol asks of them: what
was not answered when a connection broke is handed over again, under its id, on another one.
Never: reads what a server has; judges nothing (testing.chaos_ledger does).
"""

import hashlib
import os
import time
from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import Final, TypedDict

import attrs
import trio

from volly_fed.client.inbox import InboxMessage
from volly_fed.client.receiver import Item
from volly_fed.client.seal import Content, seal
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.device.link import PlainEdge, with_socket
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError, RemoteError
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.testing.chaos_ledger import Ledger, Letter
from volly_fed.testnet.chaos_net import ChaosNet
from volly_fed.testnet.devices import Device
from volly_fed.testnet.sites import LOOPBACK

TICK: Final = 0.2
"""Between two batches of one submitter."""
LIFETIME: Final = 86400
SHORT_LIFETIMES: Final = (20, 90)
SHORT_SHARE: Final = 0.1
ONLINE: Final = (3.0, 20.0)
OFFLINE: Final = (0.5, 12.0)
AGAIN: Final = (0.2, 1.0)
"""Before another attempt to reach an edge."""
SIZES: Final = (0, 100, 3000, 9000)
"""Of contents, beside the signature."""
DEVICES: Final = 2
"""Of each domain."""
MOST_UNANSWERED: Final = 2000
"""Of one submitter: it makes no more until some were answered."""

Clock = Callable[[], float]
_Made = tuple[Letter, tuple[bytes, bytes]]


def digest(envelope: Envelope) -> bytes:
    """What a body is known by in the ledger."""
    return hashlib.sha256(envelope.body).digest()[:8]


class Watched(Receiving):
    """Tells the ledger what an edge brings, before anything is made of it."""

    arrive: Callable[[Item], None]

    async def _take_in(self, items: list[Item]) -> None:
        for item in items:
            self.arrive(item)
        await super()._take_in(items)


@attrs.define(kw_only=True)
class Recipient:
    """One device that receives, with a folder of its own."""

    name: str
    device: Device
    ways: tuple[PlainEdge, ...]
    ledger: Ledger
    clock: Clock
    random: Random
    mood: "Mood"
    comes_and_goes: bool
    last_heard: float = 0.0
    edge: int = 0
    """Which of its ways it uses now."""
    claimed: trio.Event = attrs.field(factory=trio.Event)
    """Set once its mailbox is known to its homeserver."""

    async def run(self) -> None:
        """Receive until cancelled."""
        store = self.device.home.messages()
        try:
            for edge in cycle(range(len(self.ways))):
                self.edge = edge
                await self._receive(Watched(self.device.keys, store, self.ways[edge], self._give))
        finally:
            store.close()

    async def _receive(self, receiving: Watched) -> None:
        """Until it is time to go, or the edge cannot be had at all; and be away for a while."""
        receiving.arrive = self._arrive
        away = AGAIN
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(receiving.run)
                self.claimed.set()
                await self._stay()
                away = OFFLINE
                nursery.cancel_scope.cancel()
        except* (ChannelError, trio.TooSlowError):
            pass
        except* RemoteError as group:
            self.ledger.note("protocol", f"an edge and a device that receives: {group.exceptions}")
        with trio.move_on_after(self.random.uniform(*away)):
            await self.mood.calm.wait()
            await trio.sleep(AGAIN[0])

    async def _stay(self) -> None:
        if self.comes_and_goes:
            await self.mood.restless.wait()
            with trio.move_on_after(self.random.uniform(*ONLINE)):
                await self.mood.calm.wait()
        if not self.comes_and_goes or self.mood.calm.is_set():
            await trio.sleep_forever()

    def _arrive(self, item: Item) -> None:
        envelope = item.envelope
        self.ledger.arrive(self.clock(), self.name, envelope.id, int(envelope.urgency), digest(envelope))

    async def _give(self, message: InboxMessage) -> None:
        self.last_heard = self.clock()
        self.ledger.give(self.last_heard, self.name, message.id)


@attrs.define
class Mood:
    """Of all devices: at first they stay, then some come and go, and in the end they stay again."""

    restless: trio.Event = attrs.field(factory=trio.Event)
    calm: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(kw_only=True)
class Submitter:
    """One device that sends, through the edges of its domain in turn."""

    device: Device
    ways: tuple[PlainEdge, ...]
    to: list[Recipient]
    ledger: Ledger
    clock: Clock
    random: Random
    rate: float
    """Envelopes a second."""
    numbers: Callable[[], int]
    """Of connections."""
    quiet: bool = False
    """Whether it makes nothing new."""
    left: list[_Made] = attrs.field(factory=list, init=False, repr=False)
    """Not answered when the last connection broke."""
    _open: dict[bytes, _Made] = attrs.field(factory=dict, init=False, repr=False)
    _owed: float = attrs.field(default=0.0, init=False)

    @property
    def unanswered(self) -> int:
        """Envelopes that were made and not answered."""
        return len(self._open) + len(self.left)

    async def run(self) -> None:
        """Submit until cancelled."""
        for way in cycle(self.ways):
            try:
                await with_socket(way, self._talk)
            except (ChannelError, trio.TooSlowError):
                pass
            except RemoteError as error:
                self.ledger.note("protocol", f"an edge and a device that submits: {error}")
            self.left, self._open = [*self._open.values(), *self.left], {}
            await trio.sleep(self.random.uniform(*AGAIN))

    async def _talk(self, socket: Socket, nursery: trio.Nursery) -> None:
        connection = self.numbers()
        submitting = Submitting(socket, self.device.keys.domain, self._hear)
        await nursery.start(submitting.run)
        while True:
            while self.left:
                some, self.left = self.left[:100], self.left[100:]
                await self._hand_over(submitting, some, connection)
            await trio.sleep(TICK)
            if not self.quiet and self.unanswered < MOST_UNANSWERED:
                self._owed += self.rate * TICK
                due, self._owed = int(self._owed), self._owed % 1
                self.left += await trio.to_thread.run_sync(self.make, due)

    async def _hand_over(self, submitting: Submitting, some: list[_Made], connection: int) -> None:
        for made in some:
            letter, _ = made
            self._open[letter.id] = made
            self.ledger.hand_over(self.clock(), letter, connection)
        await submitting.submit([item for _, item in some])

    def make(self, how_many: int, lifetime: int | None = None) -> list[_Made]:
        """New envelopes, for anybody, of any class, of several sizes; seals, so it takes a while."""
        return [self._make_one(self.random.choice(self.to), lifetime) for _ in range(how_many)]

    def _make_one(self, to: Recipient, lifetime: int | None) -> _Made:
        if lifetime is None:
            lifetime = self.random.randint(*SHORT_LIFETIMES) if self.random.random() < SHORT_SHARE else LIFETIME
        urgency = self.random.choice(tuple(EnvelopeClass))
        content = Content(sent_at=int(time.time()), data=os.urandom(self.random.choice(SIZES)))
        envelope = seal(
            content,
            identity=self.device.keys.identity,
            to=to.device.card,
            envelope_id=os.urandom(16),
            expiry=int(time.time()) + lifetime,
            urgency=urgency,
        )
        letter = Letter(
            id=envelope.id,
            recipient=to.name,
            urgency=int(urgency),
            expiry=self.clock() + lifetime,
            digest=digest(envelope),
        )
        return letter, (envelope.id, encode_envelope(envelope))

    def _hear(self, event: Settled | RefusedLate) -> None:
        now, late = self.clock(), isinstance(event, RefusedLate)
        for envelope_id, code, _ in event.refused:
            self._open.pop(envelope_id, None)
            self.ledger.refuse(now, envelope_id, code.name, late=late)
        if isinstance(event, Settled):
            for envelope_id in event.accepted:
                self._open.pop(envelope_id, None)
                self.ledger.accept(now, envelope_id)


@attrs.define(kw_only=True)
class Load:
    """All devices of a run."""

    recipients: list[Recipient]
    submitters: list[Submitter]
    mood: Mood

    @classmethod
    def create(cls, net: ChaosNet, ledger: Ledger, clock: Clock, *, rate: float, seed: int, folder: Path) -> "Load":
        """For each domain two devices that receive and submit, one of which comes and goes; keys on disk."""
        load = cls(recipients=[], submitters=[], mood=Mood())
        connections = count(1)
        for domain, site in net.sites.items():
            ports = [edge.port for edge in site.edges]
            for number in range(DEVICES):
                name = f"{domain}-{number}"
                first = number % len(ports)
                ways = tuple(PlainEdge(LOOPBACK, port) for port in ports[first:] + ports[:first])
                device = Device.create(folder / name, site.domain, site.edges[first], name)
                random = Random(f"{seed} {name}")  # noqa: S311 - repeatable on purpose
                common: _Common = {"device": device, "ways": ways, "ledger": ledger, "clock": clock, "random": random}
                comes_and_goes = bool(number % 2)
                load.recipients.append(Recipient(**common, name=name, mood=load.mood, comes_and_goes=comes_and_goes))
                share = rate / len(net.sites) / DEVICES
                load.submitters.append(
                    Submitter(**common, to=load.recipients, rate=share, numbers=connections.__next__)
                )
        return load

    async def receive(self, nursery: trio.Nursery) -> None:
        """All recipients, in `nursery`; returns when all have claimed their mailboxes, which take letters now."""
        for recipient in self.recipients:
            nursery.start_soon(recipient.run)
        for recipient in self.recipients:
            await recipient.claimed.wait()

    def submit(self, nursery: trio.Nursery) -> None:
        """All submitters, in `nursery`."""
        for submitter in self.submitters:
            nursery.start_soon(submitter.run)

    def be_quiet(self, quiet: bool) -> None:
        """Whether nobody makes anything new."""
        for submitter in self.submitters:
            submitter.quiet = quiet

    @property
    def unanswered(self) -> int:
        """Envelopes that submitters still have to hear of."""
        return sum(submitter.unanswered for submitter in self.submitters)


class _Common(TypedDict):
    device: Device
    ways: tuple[PlainEdge, ...]
    ledger: Ledger
    clock: Clock
    random: Random
