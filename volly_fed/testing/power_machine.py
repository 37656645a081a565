"""A machine that goes off and comes back: its process, its disk that keeps what was synced, and its connections.

in: what its process does, strikes; out: lives, one after the other, and what was wrong at the beginning of each.
A disk can also be full for some writes, which fails transactions while the machine stays on.
Never: lets a process that is off send a word, or counts as a fault of the program what a dead disk raised.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw
import trio

from volly_fed import limits
from volly_fed.daemon.store.outage import Outage
from volly_fed.daemon.store.schema import open_database
from volly_fed.daemon.store.writer import Job, Writer
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError, StorageError
from volly_fed.testing.power_loss import PowerLoss
from volly_fed.testing.power_wire import Wire

Accept = Callable[[str, Socket], Awaitable[None]]
"""Serves a connection that a machine of this name has made."""
_DOWN: Final = (0.01, 0.3, 3.0, 40.0)
"""Seconds off, at most: shorter and longer than anybody's patience."""
_CHECKPOINT_PAGES: Final = 24
_COMMIT: Final = 0.01
"""Seconds, at most."""


class MachineDisk(PowerLoss):
    """A disk that belongs to a machine, whose power fails from elsewhere too, and that can be full for a while."""

    def __init__(self, folder: Path, seed: int, passed: Callable[[str], None]) -> None:
        super().__init__(folder, seed)
        self._passed = passed
        self.failing = 0
        """How many more writes of transactions fail."""

    def reach(self, what: str, name: str) -> None:
        """Pass a point. Raises PowerLost, FullError."""
        super().reach(what, name)
        self._passed(f"{what} {'file' if '-' not in name else name.rpartition('-')[2]}")
        self.check()
        # only what a commit writes: SQLite passes over a failed checkpoint, but apsw makes an error of COMMIT of it
        if self.failing and what == "write" and name.endswith("-wal"):
            self.failing -= 1
            raise apsw.FullError("the disk is full")


class Machine:
    """`live` is its process: it runs until it is cancelled, or fails with StorageError and is started again."""

    def __init__(
        self, name: str, random: Random, live: Callable[["Machine"], Awaitable[None]], reach: Callable[[str, str], None]
    ) -> None:
        self.name = name
        self.up = False
        """Its process takes connections; `live` says so."""
        self.lives = 0
        self.ended: Counter[str] = Counter()
        """How processes ended that nobody had killed, with how often."""
        self.disk: MachineDisk | None = None
        self.on = False
        """It was not crashed since it was started last."""
        self.random = random
        self._live = live
        self._reach = reach
        self.wires: list[Wire] = []
        """Its connections, the oldest first."""
        self._scope = trio.CancelScope()
        self._killed = False
        self._nursery: trio.Nursery | None = None
        self._accept: Accept | None = None

    def give_disk(self, folder: Path, seed: int) -> MachineDisk:
        """Its disk has `folder`; to be entered by the caller."""
        folder.mkdir()
        self.disk = MachineDisk(folder, seed, lambda what: self.reach("disk", what))
        return self.disk

    def reach(self, kind: str, what: str) -> None:
        """Pass a point of this machine."""
        self._reach(f"{kind} {self.name}", what)

    def join(self, wire: Wire) -> None:
        """It has an end of `wire`."""
        self.wires = [*(known for known in self.wires if known.open_at(self.name)), wire]

    def open(self, nursery: trio.Nursery, accept: Accept | None) -> None:
        """Its process takes connections now, each in a task of `nursery`."""
        self._nursery, self._accept, self.up = nursery, accept, True

    def accept(self, dialler: str, socket: Socket) -> None:
        """Take a connection from `dialler`. Raises ChannelError."""
        if not self.up or self._nursery is None or self._accept is None:
            raise ChannelError(f"{self.name} does not answer")
        self._nursery.start_soon(self._accept, dialler, socket)

    def crash(self) -> None:
        """Off, at once."""
        self._killed, self.up, self.on = True, False, False
        if self.disk is not None:
            self.disk.lost = True
        for wire in self.wires:
            wire.die(self.name)
        self._scope.cancel()

    async def run(self, complain: Callable[[str], None]) -> None:
        """Life after life, until cancelled."""
        while True:
            self._killed, self._scope = False, trio.CancelScope()
            self.lives, self.on = self.lives + 1, True
            with self._scope:
                await self._one_life(complain)
            self.up = self.on = False
            dead, self.wires = self.wires, []
            for wire in dead:
                wire.die(self.name)
            if self._killed and self.disk is not None:
                self.disk.failing = 0
                self.disk.survive()
            await trio.sleep(self.random.uniform(0, self.random.choice(_DOWN)))
            for wire in dead:
                wire.forget(self.name)

    async def _one_life(self, complain: Callable[[str], None]) -> None:
        try:
            await self._live(self)
        except BaseException as error:
            faults = [leaf for leaf in _leaves(error) if not isinstance(leaf, trio.Cancelled)]
            if not faults or not all(isinstance(fault, Exception) for fault in faults):
                raise
            if self._killed:
                return  # whatever a process says whose disk is gone under it
            if not all(isinstance(fault, StorageError | apsw.Error) for fault in faults):
                raise
            text = " ".join(map(str, faults))
            self.ended["full" if "full" in text else "unusable"] += 1
            if "full" not in text:
                complain(f"unusable: {self.name}: {text}")


class LoopWriter(Writer):
    """The store's writer without a thread: its commits take a moment of the loop's time, and are points."""

    def __init__(
        self,
        path: Path,
        vfs: str,
        free: Callable[[Path], int],
        outage: Outage,
        *,
        machine: Machine,
        nursery: trio.Nursery,
        look: Callable[[apsw.Connection], None],
    ) -> None:
        """`nursery` outlives the store; `look` sees the database when it is opened."""
        super().__init__(path, vfs, free, outage)
        self._machine, self._nursery, self._look = machine, nursery, look
        self._queued: list[Job[Any]] = []
        self._more = trio.Event()
        self._database: apsw.Connection | None = None

    async def start(self) -> None:
        """Open the database. Raises StorageError."""
        await trio.lowlevel.checkpoint()
        database = open_database(self._path, self._vfs)
        try:
            database.wal_autocheckpoint(_CHECKPOINT_PAGES)
            self._look(database)
        except BaseException:
            database.close()
            raise
        self._database = database
        self._nursery.start_soon(self._commit_always)

    def put(self, job: Job[Any]) -> None:
        """Queue `job`. Raises StorageError once the writer has been stopped."""
        if self._database is None:
            raise StorageError("the store is closed")
        self._queued.append(job)
        self._more.set()

    async def stop(self) -> None:
        """Commit what is queued, and close the database."""
        database, self._database = self._database, None
        if database is None:
            return
        while self._queued and not self._is_off():
            self._finish_all(self._commit(database))
        with suppress(apsw.Error):
            database.close()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

    async def _commit_always(self) -> None:
        random = self._machine.random
        while True:
            await self._more.wait()
            await trio.sleep(random.uniform(0, _COMMIT))  # what is queued meanwhile comes along
            if self._database is None or self._is_off():
                return
            self._more = trio.Event()
            jobs = self._commit(self._database)
            if not self._is_off():
                self._machine.reach("commit", "done, and not told")
            await trio.sleep(random.uniform(0, _COMMIT / 10))
            if self._is_off():  # nobody is there to be told of the failure
                return
            self._finish_all(jobs)

    def _commit(self, database: apsw.Connection) -> list[Job[Any]]:
        jobs, self._queued = self._queued[: limits.STORE_GROUP], self._queued[limits.STORE_GROUP :]
        if self._queued:
            self._more.set()
        if jobs:
            self._run(database, jobs)
        return jobs

    def _is_off(self) -> bool:
        return self._machine.disk is not None and self._machine.disk.lost


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
