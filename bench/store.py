"""Cost of the session and of the store, per envelope of 1 KiB, in batches as a busy link makes them.

    python bench/store.py [FOLDER]      (FOLDER: on the disk to be measured; default: a temporary one here)

CPU is user plus system time of the whole process, both threads. Each figure is the best of ROUNDS.
"""

import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.store import OutboundRow, Position, Store, inbound_row
from volly_fed.names import MailboxId, parse_domain
from volly_fed.relay import Envelope, encode_envelope, parse_envelope
from volly_fed.relay.envelope import read_head
from volly_fed.session import Acknowledge, Next, Outbound, Received, Session, Settled, StreamOpened

T = TypeVar("T")
BATCH = 200
BATCHES = 50
ROUNDS = 5
PEER = parse_domain("peer.example")
MAILBOXES = [MailboxId(os.urandom(32)) for _ in range(100)]
RATE = 10_000
"""Envelopes per second pretended: expiries advance with it, as they do on a link."""
_made = itertools.count()
_START = int(time.time()) + 3600


def expiry() -> int:
    """Of the next envelope."""
    return _START + next(_made) // RATE


def frames(count: int) -> list[bytes]:
    """Envelopes as the first edge makes them."""
    body = os.urandom(limits.BODY_CLASSES[0])
    domain = parse_domain("own.example")
    return [
        encode_envelope(Envelope(box, domain, os.urandom(16), expiry(), EnvelopeClass.SIGNAL, bytes(16), body))
        for box in itertools.islice(itertools.cycle(MAILBOXES), count)
    ]


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(name: str, prepare: Callable[[], T], work: Callable[[T], Awaitable[int]]) -> None:
    """`work` returns how many envelopes it has handled of what `prepare` has made, which is not counted."""
    results = []
    for _ in range(ROUNDS):
        made = prepare()
        wall, cpu = time.perf_counter(), _cpu()
        count = await work(made)
        results.append(((_cpu() - cpu) / count * 1e6, count / (time.perf_counter() - wall)))
    print(f"{name:58} {min(results)[0]:7.2f} µs CPU {max(rate for _, rate in results):10.0f} envelopes/s")


def batched_frames() -> list[list[bytes]]:
    """Batches from a peer."""
    return [frames(BATCH) for _ in range(BATCHES)]


def outbound_rows(group: int, batches: int) -> list[list[OutboundRow]]:
    """Batches for a peer."""
    body = os.urandom(1120)
    return [[OutboundRow(os.urandom(16), expiry(), 1, body) for _ in range(group)] for _ in range(batches)]


async def session_pair(made: list[bytes]) -> int:
    """Both ends of a link: offer, batch, encode, parse, acknowledge, settle."""
    outbound: Outbound[int] = Outbound(os.urandom)
    sender, receiver = Session(outbound, now=0.0), Session(Outbound[int](os.urandom), now=0.0)
    settled, keys, now = 0, itertools.count(1), 0.0
    while settled < BATCH * BATCHES:
        now += limits.ACK_PACE
        if outbound.room(EnvelopeClass.RING) >= BATCH:
            outbound.offer(list(zip(keys, made, strict=False)))
        while data := sender.send(Next()):
            receiver.receive(data, now)
        for event in receiver.events():
            if isinstance(event, StreamOpened):
                receiver.send(Acknowledge(stream=event.stream, cursor=0))
            elif isinstance(event, Received):
                receiver.send(Acknowledge(stream=event.stream, cursor=event.last))
        while data := receiver.send(Next()):
            sender.receive(data, now)
        settled += sum(len(event.keys) for event in sender.events() if isinstance(event, Settled))
    return settled


async def parse(made: list[bytes]) -> int:
    """What relaying needs to know of an envelope."""
    for frame in made:
        parse_envelope(frame)
    return len(made)


class StoreBench:
    """The store's paths."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cursor = 0

    async def outbound(self, rows: list[list[OutboundRow]]) -> int:
        """Store and settle, batch after batch: what a peer that keeps up costs."""
        for batch in rows:
            enqueued = self._store.begin_outbound(PEER, batch)
            await enqueued.wait()
            await self._store.settle_outbound(enqueued.rows)
        return sum(map(len, rows))

    async def inbound(self, batches: list[list[bytes]]) -> int:
        """Parse, and store for mailboxes whose devices are away."""
        for batch in batches:
            rows = [inbound_row(read_head(frame), frame) for frame in batch]
            first, self._cursor = self._cursor + 1, self._cursor + len(batch)
            await self._store.store_inbound(rows, Position(PEER, b"stream-1", first, self._cursor))
        return sum(map(len, batches))

    async def delivered(self, batches: list[list[bytes]]) -> int:
        """The same, and the devices acknowledge, each its own."""
        for batch in batches:
            await self.inbound([batch])
            for mailbox in {envelope.mailbox for envelope in map(parse_envelope, batch)}:
                await self._store.delete_inbound([stored.row for stored in await self._store.read_mailbox(mailbox)])
        return sum(map(len, batches))

    async def producers(self, rows: list[list[OutboundRow]]) -> int:
        """As many tasks as there are lists, each waiting for the commit of one envelope at a time."""

        async def produce(mine: list[OutboundRow]) -> None:
            for row in mine:
                await self._store.enqueue_outbound(PEER, [row])

        async with trio.open_nursery() as nursery:
            for mine in rows:
                nursery.start_soon(produce, mine)
        return sum(map(len, rows))


async def main(folder: Path) -> None:
    """All figures."""
    await measure("parse_envelope", lambda: frames(20_000), parse)
    await measure("session, both ends of a link, encoding included", lambda: frames(BATCH), session_pair)
    async with Store.open(folder / "bench.db") as store:
        bench = StoreBench(store)
        for mailbox in MAILBOXES:
            await store.put_mailbox(mailbox, b"", time.time())
        for group, batches in ((1, 200), (16, 50), (64, 50), (BATCH, BATCHES)):
            make = partial(outbound_rows, group, batches)
            await measure(f"outbound, store and settle, {group} a batch", make, bench.outbound)
        for count in (16, 256):
            make = partial(outbound_rows, 20, count)
            await measure(f"outbound, {count} tasks with one envelope each", make, bench.producers)
        await measure("inbound, 100 devices acknowledge 2 envelopes each", batched_frames, bench.delivered)
        await measure("inbound, devices away", batched_frames, bench.inbound)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else ".") as name:
        trio.run(main, Path(name))
