"""What an operator may see of the queues of peers, and do to them: look, hold, cut out.

in: a peer, ids; out: ids, classes, sizes, ages; what was deleted. Envelopes are not read, only what is noted of them.
Never: shows a mailbox; deletes anything that is not named; lets a hold be forgotten over a restart.
"""

from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Final

import apsw

from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.store.base import fetch
from volly_fed.daemon.store.chunks import OUTBOUND, Sums, delete_envelopes, gone_between, sums
from volly_fed.daemon.store.heads import unpack_heads
from volly_fed.daemon.store.outbound import OutboundStore
from volly_fed.daemon.store.rows import Waiting
from volly_fed.names import DomainName

_CLASSES: Final = tuple(EnvelopeClass)
_CHUNKS: Final = "SELECT row, last, queued, heads FROM outbound WHERE owner = ? AND class = ? ORDER BY row"


class QueueStore(OutboundStore):
    """The queues of peers, for those who run the homeserver."""

    async def held(self) -> dict[DomainName, int]:
        """The peers that are held, and since when (Unix seconds)."""
        rows = await self._do(lambda database: fetch(database, "SELECT peer, since FROM held ORDER BY peer"))
        return {DomainName(peer): since for peer, since in rows}

    async def hold(self, peer: DomainName) -> int:
        """Note that `peer` is held; since when it is. Raises StorageError: it is as it was."""
        since = int(self._clock())

        def run(database: apsw.Connection) -> int:
            database.execute("INSERT OR IGNORE INTO held VALUES(?, ?)", (peer, since))
            ((held,),) = fetch(database, "SELECT since FROM held WHERE peer = ?", (peer,))
            return int(held)

        return await self._do(run)

    async def release(self, peer: DomainName) -> None:
        """Note that `peer` is not held any more. Raises StorageError: it is as it was."""
        await self._do(lambda database: fetch(database, "DELETE FROM held WHERE peer = ?", (peer,)))

    async def outbound_classes(self) -> dict[tuple[DomainName, EnvelopeClass], tuple[int, int]]:
        """(envelopes, bytes) that wait, by peer and class; those that nothing waits for are left out."""

        def run(database: apsw.Connection) -> dict[EnvelopeClass, Sums]:
            return {
                urgency: sums(database, OUTBOUND, "WHERE class = ? GROUP BY owner", (urgency,)) for urgency in _CLASSES
            }

        names = {entry.number: name for name, entry in self._peers.items()}
        return {
            (names[number], urgency): (count, size)
            for urgency, owed in (await self._do(run)).items()
            for number, count, size in owed
            if number in names
        }

    async def waiting(self, peer: DomainName, limit: int, ids: Collection[bytes] | None = None) -> list[Waiting]:
        """Up to `limit` envelopes for `peer`, in the order in which they will leave; only those of `ids`, if given."""
        entry = self._peers.get(peer)
        if entry is None:
            return []
        number = entry.number

        def run(database: apsw.Connection) -> list[Waiting]:
            with closing(_waiting(database, number)) as found:
                return [*islice(_named(found, ids), limit)]

        return await self._do(run)

    async def cut_outbound(
        self, peer: DomainName, ids: Collection[bytes] | None, but: Collection[int] = ()
    ) -> list[Waiting]:
        """Delete what waits for `peer`, or those of `ids`, but not the rows `but`; what that was.

        Raises StorageError: nothing was deleted.
        """
        entry = self._peers.get(peer)
        if entry is None:
            return []
        number = entry.number

        def run(database: apsw.Connection) -> tuple[list[Waiting], Sums]:
            cut = [one for one in _named(_waiting(database, number), ids) if one.row not in but]
            return cut, delete_envelopes(database, OUTBOUND, [one.row for one in cut])

        cut, _ = await self._do(run, lambda result: self._count_deleted(result[1]))
        return cut


def _waiting(database: apsw.Connection, number: int) -> Generator[Waiting]:
    for urgency in _CLASSES:
        for row, last, queued, packed in database.execute(_CHUNKS, (number, urgency)):
            heads = unpack_heads(packed, last - row + 1)
            gone = gone_between(database, OUTBOUND, row, last)
            for key, identity, expiry, size in zip(
                range(row, last + 1), heads.ids, heads.expiries, heads.sizes, strict=True
            ):
                if key not in gone:
                    yield Waiting(key, identity, urgency, size, queued, expiry)


def _named(found: Iterator[Waiting], ids: Collection[bytes] | None) -> Iterator[Waiting]:
    return found if ids is None else (one for one in found if one.id in ids)
