"""Envelopes for peers, on disk until the peer acknowledges them or they expire.

in: rows for a peer; out: row keys at once (sending need not wait for the disk), durability when it is there.
Never: acknowledges; who was promised delivery is told by the caller, after `wait`.
Source: lessons of others: bounded, ordered, with an age that can be seen.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, product
from typing import Final

import apsw
import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import Clock, StoreBase, fetch
from volly_fed.daemon.store.chunks import (
    OUTBOUND,
    Run,
    Sums,
    delete_envelopes,
    gone_between,
    insert_runs,
    next_key,
    read,
    sums,
)
from volly_fed.daemon.store.rows import OutboundRow, PeerQueue, StoredEnvelope
from volly_fed.daemon.store.writer import Job, Writer
from volly_fed.names import DomainName

_CLASSES = tuple(EnvelopeClass)


@attrs.define
class _Peer:
    number: int
    envelopes: int = 0
    bytes: int = 0
    named: bool = False
    """Its name is in the file."""


@attrs.frozen
class Enqueued:
    """Outbound rows on their way to the disk. `rows`: their keys, in order, usable for sending at once."""

    rows: range
    _job: Job[None]

    async def wait(self) -> None:
        """Wait for the commit.

        Raises StorageError: nothing was stored, and nobody may be told otherwise.
        """
        await self._job.wait()


class OutboundStore(StoreBase):
    """The part of the store that holds what we owe to peers."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        super().__init__(writer, clock)
        self._peers: dict[DomainName, _Peer] = {}
        self._by_number: dict[int, _Peer] = {}
        self._next_number = 1
        self._total = _Peer(0)
        self._next_outbound = 1  # grows throughout a process, so that no row comes to lie before a reader's position

    async def _load_outbound(self) -> None:
        """Fill the table of peers. Peers with nothing queued are forgotten: their number may go to another."""

        def run(database: apsw.Connection) -> tuple[list[tuple[int, str]], Sums, int]:
            database.execute("DELETE FROM peer WHERE number NOT IN (SELECT owner FROM outbound)")
            names = fetch(database, "SELECT number, name FROM peer")
            return names, sums(database, OUTBOUND, "GROUP BY owner"), next_key(database, OUTBOUND)

        names, owed, self._next_outbound = await self._do(run)
        for number, name in names:
            self._add_peer(DomainName(name), _Peer(number))
        for number, count, size in owed:
            self._add_up(number, count, size)

    def _add_peer(self, name: DomainName, peer: _Peer) -> _Peer:
        self._peers[name] = self._by_number[peer.number] = peer
        self._next_number = max(self._next_number, peer.number + 1)
        return peer

    def _add_up(self, number: int, envelopes: int, size: int) -> None:
        for entry in (self._by_number[number], self._total):
            entry.envelopes += envelopes
            entry.bytes += size

    def _peer(self, name: DomainName) -> _Peer:
        peer = self._peers.get(name)
        if peer is None:
            peer = self._add_peer(name, _Peer(self._next_number))
        return peer

    def begin_outbound(self, peer: DomainName, rows: Sequence[OutboundRow]) -> Enqueued:
        """Hand `rows` to the disk and return at once, so that they can be sent while the disk works.

        Tell nobody that they are accepted before `Enqueued.wait` has returned.
        Raises StorageError if the store is closed.
        """
        entry, queued = self._peer(peer), int(self._clock())
        number, named = entry.number, entry.named
        keys = range(self._next_outbound, self._next_outbound + len(rows))
        self._next_outbound = keys.stop

        def run(database: apsw.Connection) -> None:
            if not named:
                database.execute(_NAME, (number, peer))
            insert_runs(database, OUTBOUND, _runs(keys.start, number, queued, rows))

        size = sum([len(row.frame) for row in rows])

        def after(_: None) -> None:
            entry.named = True

        job = self._begin(run, after, lambda: self._add_up(number, -len(rows), -size), grows=True)
        self._add_up(number, len(rows), size)
        return Enqueued(keys, job)

    async def enqueue_outbound(self, peer: DomainName, rows: Sequence[OutboundRow]) -> list[int]:
        """Store `rows`; their keys after the commit. Raises StorageError: nothing was stored."""
        enqueued = self.begin_outbound(peer, rows)
        await enqueued.wait()
        return list(enqueued.rows)

    async def read_outbound(
        self,
        peer: DomainName,
        urgency: EnvelopeClass,
        after_row: int = 0,
        limit: int = limits.WINDOW_ENVELOPES,
        max_bytes: int = limits.WINDOW_BYTES,
    ) -> list[StoredEnvelope]:
        """Up to `limit` envelopes of one class and `max_bytes` (but at least one) that follow `after_row`, in order."""
        entry = self._peers.get(peer)
        if entry is None:
            return []
        bounds = (entry.number, urgency, after_row)
        return await self._do(lambda database: read(database, OUTBOUND, _READ, bounds, limit, max_bytes))

    async def settle_outbound(self, rows: Iterable[int]) -> None:
        """Delete the rows the peer has acknowledged, when it fits; unknown keys are not an error (expired meanwhile).

        Raises StorageError: then they will be sent again one day, which the peer notices by their ids.
        """
        keys = list(rows)
        if keys:
            await self.begin_settling(keys).wait()

    def begin_settling(
        self, rows: list[int], *, done: Callable[[], None] | None = None, failed: Callable[[], None] | None = None
    ) -> Job[Sums]:
        """`settle_outbound` that is not waited for: `done` or `failed` is called on the loop.

        Raises StorageError if the store is closed.
        """

        def after(deleted: Sums) -> None:
            self._count_deleted(deleted)
            if done is not None:
                done()

        return self._begin(lambda database: delete_envelopes(database, OUTBOUND, rows), after, failed, patient=True)

    def _count_deleted(self, deleted: Sums) -> None:
        for number, count, size in deleted:
            self._add_up(number, -count, -size)

    async def outbound_peers(self) -> list[PeerQueue]:
        """Every peer we owe something, by name."""

        def run(database: apsw.Connection) -> dict[int, int]:
            query = "SELECT queued FROM outbound WHERE owner = ? AND class = ? ORDER BY row LIMIT 1"
            oldest: dict[int, int] = {}
            for number, urgency in product(numbers, _CLASSES):
                for (queued,) in fetch(database, query, (number, urgency)):
                    oldest[number] = min(queued, oldest.get(number, queued))
            return oldest

        numbers = [entry.number for entry in self._peers.values() if entry.envelopes]
        oldest = await self._do(run)
        return [
            PeerQueue(peer=name, envelopes=e.envelopes, bytes=e.bytes, oldest=oldest.get(e.number))
            for name, e in sorted(self._peers.items())
            if e.envelopes
        ]

    def outbound_depth(self, peer: DomainName) -> tuple[int, int]:
        """(envelopes, bytes) stored, or on their way to the disk, and not settled for `peer`: for the queue's bound."""
        entry = self._peers.get(peer)
        return (entry.envelopes, entry.bytes) if entry else (0, 0)

    def outbound_total(self) -> tuple[int, int]:
        """The same for all peers together."""
        return self._total.envelopes, self._total.bytes

    async def _expire_outbound(self, now: float) -> list[int]:
        """Delete expired rows, limits.STORE_SWEEP_ROWS or few more; which they were."""

        def run(database: apsw.Connection) -> tuple[list[int], Sums]:
            rows: list[int] = []
            with closing(database.execute("SELECT row, last FROM outbound WHERE expiry < ?", (int(now),))) as chunks:
                for row, last in chunks:
                    gone = gone_between(database, OUTBOUND, row, last)
                    rows += [key for key in range(row, last + 1) if key not in gone]
                    if len(rows) >= limits.STORE_SWEEP_ROWS:
                        break
            return rows, delete_envelopes(database, OUTBOUND, rows)

        rows, _ = await self._do(run, lambda result: self._count_deleted(result[1]))
        return rows

    async def _forget_idle_peers(self) -> None:
        """Peers with nothing queued; one that comes back meanwhile gets another number."""
        idle = [(name, entry.number) for name, entry in self._peers.items() if not entry.envelopes]
        for name, number in idle:
            del self._peers[name], self._by_number[number]
        if idle:
            numbers = [(number,) for _, number in idle]
            await self._do(lambda database: database.executemany("DELETE FROM peer WHERE number = ?", numbers))


def _runs(first: int, number: int, queued: int, rows: Sequence[OutboundRow]) -> Iterator[Run]:
    """`rows`, those together that follow each other, are of one class, and expire in one minute: the latest counts."""
    for (urgency, _), alike in groupby(rows, lambda row: (row.urgency, row.expiry // _MINUTE)):
        run = list(alike)
        yield first, (number, urgency, queued, max([row.expiry for row in run])), run
        first += len(run)


_MINUTE: Final = 60
_READ: Final = """
    SELECT row, last, heads, frames FROM outbound WHERE owner = ?1 AND class = ?2 AND last > ?3 AND row >= coalesce(
        (SELECT row FROM outbound WHERE owner = ?1 AND class = ?2 AND row <= ?3 ORDER BY row DESC LIMIT 1), 0)
        ORDER BY row
"""
_NAME: Final = """
    INSERT INTO peer VALUES(?, ?) ON CONFLICT(number) DO NOTHING
        ON CONFLICT(name) DO UPDATE SET number = excluded.number
"""
"""A name may have been left behind with a number that nothing is queued under, where it could not be deleted."""
