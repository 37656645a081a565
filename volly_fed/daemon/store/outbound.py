"""Envelopes for peers, on disk until the peer acknowledges them or they expire.

in: rows for a peer; out: row keys at once (sending need not wait for the disk), durability when it is there.
Never: acknowledges; who was promised delivery is told by the caller, after `wait`.
Source: lessons of others: bounded, ordered, with an age that can be seen.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import apsw
import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import Clock, StoreBase, delete_rows, fetch, insert_rows
from volly_fed.daemon.store.rows import OutboundRow, PeerQueue, StoredEnvelope
from volly_fed.daemon.store.writer import Job, Writer
from volly_fed.names import DomainName

_CLASSES = tuple(EnvelopeClass)
_Deleted: TypeAlias = list[tuple[int, int, int]]
"""(peer's number, rows, bytes)."""


@attrs.define
class _Peer:
    number: int
    envelopes: int = 0
    bytes: int = 0


@attrs.frozen
class Enqueued:
    """Outbound rows on their way to the disk. `rows`: their keys, in order, usable for sending at once."""

    rows: range
    _job: Job[list[bool]]

    async def wait(self) -> list[bool]:
        """Per row, after the commit: True: stored; False: this id is queued already, and durable.

        Raises StorageError: nothing was stored, and nobody may be told otherwise.
        """
        return await self._job.wait()


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

        def run(database: apsw.Connection) -> tuple[list[tuple[int, str, int, int]], int]:
            database.execute("DELETE FROM peer WHERE number NOT IN (SELECT peer FROM outbound)")
            query = (
                "SELECT number, name, count(*), sum(length(frame)) FROM peer JOIN outbound ON peer = number GROUP BY 1"
            )
            return fetch(database, query), next_row(database, "outbound")

        peers, self._next_outbound = await self._do(run)
        for number, name, count, size in peers:
            self._add_peer(DomainName(name), _Peer(number))
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
        number, queued = self._peer(peer).number, int(self._clock())
        keys = range(self._next_outbound, self._next_outbound + len(rows))
        self._next_outbound = keys.stop
        values = [(key, number, r.id, r.expiry, r.urgency, queued, r.frame) for key, r in zip(keys, rows, strict=True)]

        def run(database: apsw.Connection) -> list[bool]:
            database.execute(_NAME, (number, peer))
            before = database.total_changes()
            insert_rows(database, "INSERT OR IGNORE INTO outbound", values)
            if database.total_changes() - before == len(values):
                return [True] * len(values)
            query = "SELECT row FROM outbound WHERE row BETWEEN ? AND ?"
            kept = {row for (row,) in fetch(database, query, (keys.start, keys.stop - 1))}
            return [key in kept for key in keys]

        size = sum(len(row.frame) for row in rows)

        def after(stored: list[bool]) -> None:
            if not all(stored):
                known = [len(row.frame) for row, new in zip(rows, stored, strict=True) if not new]
                self._add_up(number, -len(known), -sum(known))

        job = self._begin(run, after, lambda: self._add_up(number, -len(rows), -size), grows=True)
        self._add_up(number, len(rows), size)
        return Enqueued(keys, job)

    async def enqueue_outbound(self, peer: DomainName, rows: Sequence[OutboundRow]) -> list[int | None]:
        """Store `rows`; their keys after the commit, None where this id is queued already (and durable).

        Raises StorageError: nothing was stored.
        """
        enqueued = self.begin_outbound(peer, rows)
        return [key if new else None for key, new in zip(enqueued.rows, await enqueued.wait(), strict=True)]

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
        bounds = (entry.number, urgency, after_row, limit)

        def run(database: apsw.Connection) -> list[StoredEnvelope]:
            query = (
                "SELECT row, id, expiry, class, frame FROM outbound"
                " WHERE peer = ? AND class = ? AND row > ? ORDER BY row LIMIT ?"
            )
            return list(within(fetch(database, query, bounds), max_bytes))

        return await self._do(run)

    async def settle_outbound(self, rows: Iterable[int]) -> None:
        """Delete the rows the peer has acknowledged, when it fits; unknown keys are not an error (expired meanwhile).

        Raises StorageError: then they will be sent again one day, which the peer notices by their ids.
        """
        keys = list(rows)
        if keys:
            await self.begin_settling(keys).wait()

    def begin_settling(
        self, rows: list[int], *, done: Callable[[], None] | None = None, failed: Callable[[], None] | None = None
    ) -> Job[_Deleted]:
        """`settle_outbound` that is not waited for: `done` or `failed` is called on the loop.

        Raises StorageError if the store is closed.
        """

        def after(deleted: _Deleted) -> None:
            self._count_deleted(deleted)
            if done is not None:
                done()

        return self._begin(lambda database: delete_rows(database, "outbound", rows), after, failed, patient=True)

    def _count_deleted(self, deleted: _Deleted) -> None:
        for number, count, size in deleted:
            self._add_up(number, -count, -size)

    async def outbound_peers(self) -> list[PeerQueue]:
        """Every peer we owe something, by name."""

        def run(database: apsw.Connection) -> dict[int, int]:
            query = "SELECT queued FROM outbound WHERE peer = ? AND class = ? ORDER BY row LIMIT 1"
            oldest: dict[int, int] = {}
            for number, urgency in itertools.product(numbers, _CLASSES):
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
        """Delete up to limits.STORE_SWEEP_ROWS expired rows; which they were."""

        def run(database: apsw.Connection) -> tuple[list[int], list[tuple[int, int, int]]]:
            query = "SELECT row FROM outbound WHERE expiry < ? LIMIT ?"
            rows = [row for (row,) in fetch(database, query, (int(now), limits.STORE_SWEEP_ROWS))]
            return rows, delete_rows(database, "outbound", rows)

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


def next_row(database: apsw.Connection, table: str) -> int:
    """The first key after all rows of `table`."""
    ((last,),) = fetch(database, _LAST_ROW[table])
    return int(last) + 1


_NAME: Final = """
    INSERT INTO peer VALUES(?, ?) ON CONFLICT(number) DO NOTHING
        ON CONFLICT(name) DO UPDATE SET number = excluded.number
"""
"""A name may have been left behind with a number that nothing is queued under, where it could not be deleted."""

_LAST_ROW: Final = {
    "outbound": "SELECT coalesce(max(row), 0) FROM outbound",
    "inbound": "SELECT coalesce(max(row), 0) FROM inbound",
}


def within(rows: Iterable[tuple[int, bytes, int, int, bytes]], max_bytes: int) -> Iterable[StoredEnvelope]:
    """`rows` as stored envelopes while they fit into `max_bytes`; the first one always does."""
    total = 0
    for row, identity, expiry, urgency, frame in rows:
        total += len(frame)
        if total > max_bytes and total > len(frame):
            return
        yield StoredEnvelope(row, identity, expiry, _CLASSES[urgency], frame)
