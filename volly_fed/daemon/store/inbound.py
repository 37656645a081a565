"""Envelopes for our mailboxes, the mailboxes themselves, and the set of ids seen.

in: a batch's rows, in one transaction with its position in the peer's stream (`streams`); out: which of them are new.
Never: stores for a mailbox nobody claimed, or an id twice while its envelope could still be valid.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import apsw
import attrs

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import Clock, StoreBase, delete_rows, fetch, insert_rows
from volly_fed.daemon.store.outbound import next_row, within
from volly_fed.daemon.store.rows import Expired, InboundRow, MailboxRecord, Position, StoredEnvelope
from volly_fed.daemon.store.streams import next_turn, put_position
from volly_fed.daemon.store.writer import Job, Writer
from volly_fed.names import MailboxId
from volly_fed.relay.replay import forget_before

_Values: TypeAlias = list[tuple[int, int, bytes, int, int, bytes]]
"""(row, mailbox number, id, expiry, class, frame)."""
_SEEN: Final = "INSERT OR IGNORE INTO seen"
_READ_ALL: Final = (
    "SELECT row, id, expiry, class, frame FROM inbound WHERE mailbox = ? AND row > ? ORDER BY row LIMIT ?"
)
_READ_CLASS: Final = (
    "SELECT row, id, expiry, class, frame FROM inbound WHERE mailbox = ? AND class = ? AND row > ? ORDER BY row LIMIT ?"
)
_Sums: TypeAlias = list[tuple[int, int, int]]
"""(mailbox number, rows, bytes)."""


@attrs.frozen
class Stored:
    """Inbound rows on their way to the disk. `keys`: per row its key; None: nobody has claimed its mailbox."""

    keys: list[int | None]
    _job: Job[set[int]]

    async def wait(self) -> list[int | None]:
        """The keys, after the commit; None also where the id was seen already, and is durable or was delivered.

        Raises StorageError: nothing was stored, and nothing may be acknowledged.
        """
        skipped = await self._job.wait()
        return [None if key in skipped else key for key in self.keys] if skipped else self.keys


class InboundStore(StoreBase):
    """The part of the store that holds what our devices have not fetched yet."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        super().__init__(writer, clock)
        self._mailboxes: OrderedDict[MailboxId, MailboxRecord] = OrderedDict()
        self._numbers: dict[int, MailboxRecord] = {}
        self._turn = 1
        self._next_inbound = 1  # grows throughout a process, so that no row comes to lie before a reader's position

    async def _load_inbound(self) -> None:
        self._next_inbound = await self._do(lambda database: next_row(database, "inbound"))
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
        numbers = {mailbox: record.number for mailbox, record in known.items()}
        keys: list[int | None] = []
        values: _Values = []
        key = self._next_inbound
        for mailbox, identity, expiry, urgency, frame in rows:
            if mailbox in numbers:
                values.append((key, numbers[mailbox], identity, expiry, urgency, frame))
                keys.append(key)
                key += 1
            else:
                keys.append(None)
        self._next_inbound = key
        turn = self._turn
        self._turn += 1

        def run(database: apsw.Connection) -> set[int]:
            if at is not None:
                put_position(database, at, turn)
            return _insert_new(database, values)

        def after(skipped: set[int]) -> None:
            sizes: defaultdict[int, list[int]] = defaultdict(list)
            for row, number, _, _, _, frame in values:
                if row not in skipped:
                    sizes[number].append(len(frame))
            for number, of in sizes.items():
                self._count(number, len(of), sum(of))

        return Stored(keys, self._begin(run, after, grows=True))

    async def store_inbound(self, rows: Sequence[InboundRow], at: Position | None = None) -> list[int | None]:
        """`begin_inbound`, and wait for the commit: per row its key; None as `Stored.wait` has it."""
        return await (await self.begin_inbound(rows, at)).wait()

    def _count(self, number: int, envelopes: int, size: int) -> None:
        record = self._numbers.get(number)
        if record is not None:
            record.envelopes += envelopes
            record.bytes += size

    def _uncount(self, sums: _Sums) -> None:
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
        bounds: tuple[int, ...] = (record.number, after_row, limit)
        query = _READ_ALL
        if urgency is not None:
            query, bounds = _READ_CLASS, (record.number, urgency, after_row, limit)

        def run(database: apsw.Connection) -> list[StoredEnvelope]:
            return list(within(fetch(database, query, bounds), limits.WINDOW_BYTES))

        return await self._do(run)

    def begin_delete_inbound(self, rows: Sequence[int], failed: Callable[[], None] | None = None) -> Job[_Sums]:
        """Have `rows`, whose devices have acknowledged them, deleted when it fits, and before any later read.

        Rows that are gone are not an error. Their ids stay in the duplicate set. `failed` is called when the disk has
        not done it. Raises StorageError if the store is closed.
        """
        return self._begin(lambda database: delete_rows(database, "inbound", rows), self._uncount, failed, patient=True)

    async def delete_inbound(self, rows: Iterable[int]) -> int:
        """`begin_delete_inbound`, and wait for the commit: how many of `rows` were there. Raises StorageError."""
        return sum(count for _, count, _ in await self.begin_delete_inbound(list(rows)).wait())

    async def _expire_inbound(self, now: float) -> Expired:
        """One step of the sweep: at most limits.STORE_SWEEP_ROWS rows."""

        def run(database: apsw.Connection) -> tuple[int, _Sums]:
            horizon = (forget_before(now), limits.STORE_SWEEP_ROWS)
            query = "SELECT expiry, id, row FROM seen WHERE expiry < ? ORDER BY expiry LIMIT ?"
            old = fetch(database, query, horizon)
            # the row may be long acknowledged and its key given to a younger envelope: then that one is not expired
            live = "SELECT row FROM inbound WHERE expiry = ? AND id = ? AND row = ?"
            rows: list[Any] = list(database.executemany(live, old))
            database.executemany("DELETE FROM seen WHERE expiry = ? AND id = ?", [entry[:2] for entry in old])
            return len(old), delete_rows(database, "inbound", [row for (row,) in rows])

        forgotten, sums = await self._do(run, lambda result: self._uncount(result[1]))
        return Expired(inbound=sum(count for _, count, _ in sums), forgotten=forgotten)

    async def _expire_mailboxes(self, now: float) -> int:
        """Forget up to limits.STORE_SWEEP_ROWS mailboxes nobody has claimed for limits.MAILBOX_IDLE."""

        def run(database: apsw.Connection) -> list[int]:
            query = "SELECT number FROM mailbox WHERE claimed < ? LIMIT ?"
            idle = fetch(database, query, (int(now) - limits.MAILBOX_IDLE, limits.STORE_SWEEP_ROWS))
            for (number,) in idle:
                database.execute("DELETE FROM inbound WHERE mailbox = ?", (number,))
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
    sums = "SELECT count(*), total(length(frame)) FROM inbound WHERE mailbox = ?"
    for mailbox in wanted:
        query = "SELECT number, registration, claimed FROM mailbox WHERE id = ?"
        for number, registration, claimed in fetch(database, query, (mailbox,)):
            ((count, size),) = fetch(database, sums, (number,))
            records.append(MailboxRecord(mailbox, number, registration, claimed, count, int(size)))
    return records


def _insert_new(database: apsw.Connection, values: _Values) -> set[int]:
    """Insert those of `values` whose (expiry, id) is new; the keys of the others."""
    if not values:
        return set()
    seen = [(expiry, identity, row) for row, _, identity, expiry, _, _ in values]
    database.execute("SAVEPOINT batch")
    before = database.total_changes()
    insert_rows(database, _SEEN, seen)
    skipped = set()
    if database.total_changes() - before != len(values):  # rare: find out which
        database.execute("ROLLBACK TO batch")
        for entry in seen:
            before = database.total_changes()
            insert_rows(database, _SEEN, [entry])
            if database.total_changes() == before:
                skipped.add(entry[-1])
        values = [value for value in values if value[0] not in skipped]
    database.execute("RELEASE batch")
    insert_rows(database, "INSERT INTO inbound", values)
    return skipped
