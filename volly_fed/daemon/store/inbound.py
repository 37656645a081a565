"""Envelopes for our mailboxes, the mailboxes themselves, and the set of ids seen.

in: a batch's rows, in one transaction with its position in the peer's stream (`streams`); out: which of them are new.
Never: stores for a mailbox nobody claimed, or an id twice while its envelope could still be valid.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import apsw
import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import Clock, StoreBase, fetch, insert_rows, spans
from volly_fed.daemon.store.chunks import (
    INBOUND,
    Run,
    Sums,
    delete_envelopes,
    identities,
    insert_runs,
    next_key,
    read,
    sums,
)
from volly_fed.daemon.store.rows import Expired, InboundRow, MailboxRecord, Position, StoredEnvelope
from volly_fed.daemon.store.streams import next_turn, put_position
from volly_fed.daemon.store.writer import Job, Writer
from volly_fed.names import MailboxId
from volly_fed.relay.replay import forget_before

_SEEN: Final = "INSERT OR IGNORE INTO seen"  # [relay-19]


@attrs.frozen
class Stored:
    """Inbound rows on their way to the disk. `keys`: per row its key; None: nobody has claimed its mailbox."""

    keys: list[int | None]
    _job: Job[set[int]]

    async def wait(self) -> list[int | None]:
        """The keys, after the commit; None also where the id was seen already, and is durable or was delivered.

        Raises StorageError: nothing was stored, and nothing may be acknowledged.
        """
        skipped = await self._job.wait()  # [relay-25]
        return [None if key in skipped else key for key in self.keys] if skipped else self.keys  # [relay-20]


class InboundStore(StoreBase):
    """The part of the store that holds what our devices have not fetched yet."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        super().__init__(writer, clock)
        self._mailboxes: OrderedDict[MailboxId, MailboxRecord] = OrderedDict()
        self._numbers: dict[int, MailboxRecord] = {}
        self._turn = 1
        self._next_inbound = 1  # grows throughout a process, so that no row comes to lie before a reader's position

    async def _load_inbound(self) -> None:
        self._next_inbound = await self._do(lambda database: next_key(database, INBOUND))
        self._turn = await self._do(next_turn)

    async def mailbox(self, mailbox: MailboxId) -> MailboxRecord | None:
        """The record of `mailbox`, or None: nobody has claimed it."""
        return (await self.mailboxes([mailbox])).get(mailbox)

    async def mailboxes(self, wanted: Iterable[MailboxId]) -> dict[MailboxId, MailboxRecord]:
        """The records of those of `wanted` that were claimed; no thread is asked for those asked for lately."""
        wanted = set(wanted)
        unknown: set[MailboxId] = set()
        # until all are at hand at one moment: row keys are given out from these records, without waiting again
        while missing := [mailbox for mailbox in wanted - unknown if mailbox not in self._mailboxes]:
            loaded = await self._do(partial(_load_mailboxes, wanted=missing), self._remember)
            unknown.update(set(missing).difference(record.mailbox for record in loaded))
        found = {mailbox: self._mailboxes[mailbox] for mailbox in wanted - unknown}
        for mailbox in found:
            self._mailboxes.move_to_end(mailbox)
        return found

    def _remember(self, records: list[MailboxRecord]) -> None:
        for record in records:
            if record.mailbox not in self._mailboxes:
                self._mailboxes[record.mailbox] = self._numbers[record.number] = record
        while len(self._mailboxes) > limits.STORE_MAILBOX_MEMORY:
            _, old = self._mailboxes.popitem(last=False)
            self._forget(old)

    def _forget(self, record: MailboxRecord) -> None:
        self._mailboxes.pop(record.mailbox, None)
        self._numbers.pop(record.number, None)

    async def put_mailbox(self, mailbox: MailboxId, registration: bytes, now: float) -> MailboxRecord:
        """Note that `mailbox` was claimed at `now` with `registration`; its record.

        One with the same registration is noted once in limits.CLAIM_NOTED only: else nothing is written.
        Raises StorageError: then the claim does not hold.
        """

        def run(database: apsw.Connection) -> list[MailboxRecord]:
            database.execute(
                "INSERT INTO mailbox(id, claimed, registration) VALUES(?, ?, ?)"
                " ON CONFLICT(id) DO UPDATE SET claimed = excluded.claimed, registration = excluded.registration"
                " WHERE registration IS NOT excluded.registration OR claimed < excluded.claimed - ?",
                (mailbox, int(now), registration, limits.CLAIM_NOTED),
            )
            return _load_mailboxes(database, [mailbox])

        def after(records: list[MailboxRecord]) -> None:
            self._remember(records)
            known = self._mailboxes[mailbox]
            known.claimed, known.registration = records[0].claimed, records[0].registration

        (record,) = await self._do(run, after)
        return self._mailboxes.get(mailbox, record)

    async def begin_inbound(self, rows: Sequence[InboundRow], at: Position | None) -> "Stored":
        """Hand `rows`, and where their batch stands in its peer's stream, to the disk, in one transaction, and return.

        They can be delivered while the disk works; acknowledge nothing before `Stored.wait` has returned.
        Raises StorageError if the store is closed; `wait` also if the batch before `at` was not stored.
        """
        known = await self.mailboxes({row.mailbox for row in rows})
        keys: list[int | None] = [None] * len(rows)
        runs: list[Run] = []
        for common, places in _by_mailbox(rows, known).items():
            for key, place in enumerate(places, self._next_inbound):
                keys[place] = key
            runs.append((self._next_inbound, common, [rows[place] for place in places]))
            self._next_inbound += len(places)
        turn = self._turn
        self._turn += 1

        def run(database: apsw.Connection) -> set[int]:
            if at is not None:
                put_position(database, at, turn)  # [session-18]
            return _insert_new(database, runs)

        def after(skipped: set[int]) -> None:
            for _, (number, _), stored in _without(skipped, runs):
                self._count(number, len(stored), sum([len(row.frame) for row in stored]))

        return Stored(keys, self._begin(run, after, grows=True))

    async def store_inbound(self, rows: Sequence[InboundRow], at: Position | None = None) -> list[int | None]:
        """`begin_inbound`, and wait for the commit: per row its key; None as `Stored.wait` has it."""
        return await (await self.begin_inbound(rows, at)).wait()

    def _count(self, number: int, envelopes: int, size: int) -> None:
        record = self._numbers.get(number)
        if record is not None:
            record.envelopes += envelopes
            record.bytes += size

    def _uncount(self, sums: Sums) -> None:
        for number, count, size in sums:
            self._count(number, -count, -size)

    async def read_mailbox(
        self,
        mailbox: MailboxId,
        after_row: int = 0,
        limit: int = limits.DELIVERY_WINDOW,
        urgency: EnvelopeClass | None = None,
    ) -> list[StoredEnvelope]:
        """Up to `limit` envelopes and limits.WINDOW_BYTES (at least one) of `mailbox` after `after_row`, in order.

        `urgency`: of this class only; None: of all.
        """
        record = await self.mailbox(mailbox)
        if record is None:
            return []
        query, bounds = _READ_ALL, [record.number, after_row]
        if urgency is not None:
            query, bounds = _READ_CLASS, [record.number, int(urgency), after_row]
        return await self._do(
            lambda database: read(database, INBOUND, query, tuple(bounds), limit, limits.WINDOW_BYTES)
        )

    def begin_delete_inbound(self, rows: Sequence[int], failed: Callable[[], None] | None = None) -> Job[Sums]:
        """Have `rows`, whose devices have acknowledged them, deleted when it fits, and before any later read.

        Rows that are gone are not an error. Their ids stay in the duplicate set. `failed` is called when the disk has
        not done it. Raises StorageError if the store is closed.
        """
        return self._begin(
            lambda database: delete_envelopes(database, INBOUND, rows), self._uncount, failed, patient=True
        )

    async def delete_inbound(self, rows: Iterable[int]) -> int:
        """`begin_delete_inbound`, and wait for the commit: how many of `rows` were there. Raises StorageError."""
        return sum(count for _, count, _ in await self.begin_delete_inbound(list(rows)).wait())

    async def _expire_inbound(self, now: float) -> Expired:
        """One step of the sweep: at most limits.STORE_SWEEP_ROWS rows."""

        def run(database: apsw.Connection) -> tuple[int, Sums]:
            horizon = (forget_before(now), limits.STORE_SWEEP_ROWS)
            query = "SELECT expiry, id, row FROM seen WHERE expiry < ? ORDER BY expiry LIMIT ?"
            old = fetch(database, query, horizon)
            there = identities(database, INBOUND, [row for _, _, row in old])
            # the row may be long acknowledged and its key given to a younger envelope: then that one is not expired
            rows = [row for expiry, identity, row in old if there.get(row) == (identity, expiry)]
            database.executemany("DELETE FROM seen WHERE expiry = ? AND id = ?", [entry[:2] for entry in old])
            return len(old), delete_envelopes(database, INBOUND, rows)

        forgotten, gone = await self._do(run, lambda result: self._uncount(result[1]))
        return Expired(inbound=sum(count for _, count, _ in gone), forgotten=forgotten)

    async def _expire_mailboxes(self, now: float) -> int:
        """Forget up to limits.STORE_SWEEP_ROWS mailboxes nobody has claimed for limits.MAILBOX_IDLE."""

        def run(database: apsw.Connection) -> list[int]:
            query = "SELECT number FROM mailbox WHERE claimed < ? LIMIT ?"
            idle = fetch(database, query, (int(now) - limits.MAILBOX_IDLE, limits.STORE_SWEEP_ROWS))
            for (number,) in idle:
                for row, last in fetch(database, "SELECT row, last FROM inbound WHERE owner = ?", (number,)):
                    delete_envelopes(database, INBOUND, range(row, last + 1))
                database.execute("DELETE FROM mailbox WHERE number = ?", (number,))
            return [number for (number,) in idle]

        numbers: list[int] = await self._do(run, self._forget_numbers)
        return len(numbers)

    def _forget_numbers(self, numbers: list[int]) -> None:
        for number in numbers:
            record = self._numbers.get(number)
            if record is not None:
                self._forget(record)


def _load_mailboxes(database: apsw.Connection, wanted: list[MailboxId]) -> list[MailboxRecord]:
    records = []
    for mailbox in wanted:
        query = "SELECT number, registration, claimed FROM mailbox WHERE id = ?"
        for number, registration, claimed in fetch(database, query, (mailbox,)):
            holds = sums(database, INBOUND, "WHERE owner = ? GROUP BY owner", (number,))
            _, count, size = holds[0] if holds else (number, 0, 0)
            records.append(MailboxRecord(mailbox, number, registration, claimed, count, size))
    return records


def _by_mailbox(
    rows: Sequence[InboundRow], known: Mapping[MailboxId, MailboxRecord]
) -> dict[tuple[int, int], list[int]]:
    """The places in `rows` of what is for each mailbox, by its number and the class."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, (mailbox, _, _, urgency, _) in enumerate(rows):
        if mailbox in known:  # [relay-12]
            places.setdefault((known[mailbox].number, urgency), []).append(place)
    return places


def _insert_new(database: apsw.Connection, runs: list[Run]) -> set[int]:
    """Insert those of `runs` whose (expiry, id) is new; the keys of the others."""
    seen = [(row.expiry, row.id, key) for first, _, rows in runs for key, row in enumerate(rows, first)]
    if not seen:
        return set()
    if len(seen) == 1:
        skipped = _note_seen(database, seen)
    else:
        database.execute("SAVEPOINT batch")
        skipped = _note_seen(database, seen)
        if skipped:  # rare: find out which
            database.execute("ROLLBACK TO batch")
            skipped = {key for entry in seen for key in _note_seen(database, [entry])}
        database.execute("RELEASE batch")
    insert_runs(database, INBOUND, _without(skipped, runs))
    return skipped


def _note_seen(database: apsw.Connection, seen: list[tuple[int, bytes, int]]) -> set[int]:
    """Insert `seen`; the keys of all of them unless all were new."""
    before = database.total_changes()
    insert_rows(database, _SEEN, seen)
    return set() if database.total_changes() - before == len(seen) else {key for _, _, key in seen}


def _without(skipped: set[int], runs: list[Run]) -> list[Run]:
    if not skipped:
        return runs
    return [
        (start, common, rows[start - first : end - first + 1])
        for first, common, rows in runs
        for start, end in spans(set(range(first, first + len(rows))) - skipped)
    ]


_READ_ALL: Final = """
    SELECT row, last, heads, frames FROM inbound WHERE owner = ? AND last > ? ORDER BY row
"""
_READ_CLASS: Final = """
    SELECT row, last, heads, frames FROM inbound WHERE owner = ?1 AND class = ?2 AND last > ?3 AND row >= coalesce(
        (SELECT row FROM inbound WHERE owner = ?1 AND class = ?2 AND row <= ?3 ORDER BY row DESC LIMIT 1), 0)
        ORDER BY row
"""
