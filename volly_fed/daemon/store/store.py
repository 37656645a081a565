"""The durable store: one SQLite file, one writer thread, one commit for whatever queued up during the last one.

in: batches of rows, never single envelopes; out: their keys, once they are on the disk.
Never: says that something is stored before the fsync, links a mailbox to a person, or opens a file twice.
Cost: a hop to the thread and back is about 0.2 ms, so every call takes a batch.
"""

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import apsw
import attrs
import trio

from volly_fed import limits, limits_backup
from volly_fed.daemon.store.base import Clock
from volly_fed.daemon.store.copy import Copy
from volly_fed.daemon.store.inbound import InboundStore, Stored
from volly_fed.daemon.store.outage import Outage, Tell
from volly_fed.daemon.store.outbound import Enqueued
from volly_fed.daemon.store.peers import PeerStore
from volly_fed.daemon.store.presence import PresenceStore
from volly_fed.daemon.store.queue import QueueStore
from volly_fed.daemon.store.rows import (
    Backoff,
    Expired,
    InboundRow,
    MailboxRecord,
    OutboundRow,
    PeerQueue,
    Position,
    StoredEnvelope,
    inbound_row,
    outbound_row,
)
from volly_fed.daemon.store.streams import StreamStore
from volly_fed.daemon.store.writer import Writer
from volly_fed.errors import StorageError
from volly_fed.observe.tally import Histogram

__all__ = [
    "Backoff",
    "Enqueued",
    "Expired",
    "InboundRow",
    "MailboxRecord",
    "OutboundRow",
    "PeerQueue",
    "Position",
    "Store",
    "Stored",
    "StoredEnvelope",
    "inbound_row",
    "outbound_row",
]


class Store(QueueStore, InboundStore, StreamStore, PeerStore, PresenceStore):
    """Everything a homeserver must not lose. Open it with `Store.open`; use it from one trio loop."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock = time.time,
        vfs: str = "",
        free: Callable[[Path], int] | None = None,
        make_writer: Callable[[Path, str, Callable[[Path], int], Outage], Writer] = Writer,
        outage: Tell = lambda _: None,
    ) -> AsyncIterator[Self]:
        """The store at `path`, created if it is not there; closed, with all that was begun committed, at the end.

        `vfs` names the way to the disk (schema.open_database), `free` says how much room is left in a folder; tests
        have a disk whose power fails, and a writer that needs no thread (`make_writer`).
        `outage` is told when the disk takes nothing any more, and when it does again (None).

        Raises StorageError: in use by another process, of a newer version, not writable, damaged.
        """
        writer = make_writer(path, vfs, free or _free, Outage(outage))
        await writer.start()
        try:
            store = cls(writer, clock)
            await store._load_outbound()
            await store._load_inbound()
            yield store
        finally:
            await writer.stop()

    @property
    def commits(self) -> Histogram:
        """How long its transactions took."""
        return self._writer.commits

    async def watch(self) -> None:
        """Try again and again while the disk takes nothing: nothing else may be written when it recovers. No end."""
        while True:
            await self._writer.outage.begun()
            while self._writer.outage.lasts:
                await trio.sleep(limits.STORE_RETRY)
                with suppress(StorageError):
                    await self._begin(_try, grows=True).wait()

    async def copy(self, path: Path, told: Callable[[int, int], None] = lambda *_: None) -> None:
        """Everything that is stored, as of the last step, in a new file `path`; traffic goes on meanwhile.

        `told` hears again and again how many bytes of how many are copied. Raises StorageError, and when cancelled or
        failed nothing is left at `path`.
        """
        with trio.CancelScope(shield=True):  # a copy that nobody knows of would never end
            copy = await self._begin(lambda database: Copy(database, path, self._writer.free), outside=True).wait()
        try:
            began = trio.current_time()
            while await self._begin(lambda _: copy.step(), outside=True).wait():
                told(copy.copied, copy.total)
                took = trio.current_time() - began
                await trio.sleep(max(limits_backup.COPY_PAUSE, limits_backup.COPY_SHARE * took))
                began = trio.current_time()
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._end(copy, copy.abandon)
            raise
        with trio.CancelScope(shield=True):
            await self._end(copy, copy.finish)
        told(copy.total, copy.total)

    async def _end(self, copy: Copy, end: Callable[[], None]) -> None:
        await self._begin(lambda _: copy.detach(), outside=True).wait()
        await trio.to_thread.run_sync(end)  # no commit has to wait for it

    async def answers(self) -> None:
        """Wait until the thread has come round: everything asked of it before is done, or was refused by the disk.

        Writes nothing. What never answers is a thread that is gone, or that waits for the disk.
        """
        with suppress(StorageError):
            await self._do(lambda _: None)

    async def expire(self, now: float) -> Expired:
        """Delete what has expired by `now` (Unix seconds), in short transactions; how much it was.

        What is inbound, and the memory of ids, stays limits.CLOCK_SKEW longer: a peer's clock may be behind, and an
        id must be remembered for as long as its envelope would be accepted.
        """
        total = Expired()
        while rows := await self._expire_outbound(now):  # [relay-18]
            total = attrs.evolve(total, outbound_rows=[*total.outbound_rows, *rows])
        while (step := await self._expire_inbound(now)).forgotten:
            total = attrs.evolve(
                total, inbound=total.inbound + step.inbound, forgotten=total.forgotten + step.forgotten
            )
        while idle := await self._expire_mailboxes(now):
            total = attrs.evolve(total, mailboxes=total.mailboxes + idle)
        await self._forget_idle_peers()
        return total


def _try(database: apsw.Connection) -> None:
    """Write something, and leave everything as it was."""
    database.execute("INSERT INTO peer VALUES(-1, '')")
    database.execute("DELETE FROM peer WHERE number = -1")


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
