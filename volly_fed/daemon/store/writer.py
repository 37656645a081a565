"""The one thread that touches the database: it commits whatever has queued up since its last commit, as one group.

in: jobs (functions of the connection); out: their results on the event loop, in the order of the jobs, after the
fsync that makes them durable, or StorageError.
Never: waits for a timer to fill a group, reports success before the commit, or lets one bad job fail its neighbours.

Deletions that nobody waits for are `patient`: they wake no thread, and cost no commit of their own while others come;
at rest, that is what an envelope costs. What a crash keeps of them is sent or delivered once more, and recognised.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import apsw
import trio

from volly_fed import limits
from volly_fed.daemon.store.outage import Outage
from volly_fed.daemon.store.schema import open_database
from volly_fed.errors import StorageError
from volly_fed.observe.tally import QUICK, Histogram

T = TypeVar("T")
_TURNS = 2
"""One for the task that stores, one for those that it has woken to send."""


class NearlyFull(StorageError):
    """There is less room than limits.DISK_RESERVE."""


class Job(Generic[T]):
    """One piece of work for the writer thread; `wait` gives its result once that is durable."""

    __slots__ = ("_after", "_done", "_error", "_failed", "_result", "grows", "outside", "patient", "run", "wrote")

    def __init__(
        self,
        run: Callable[[apsw.Connection], T],
        after: Callable[[T], None] | None = None,
        failed: Callable[[], None] | None = None,
        *,
        grows: bool = False,
        patient: bool = False,
        outside: bool = False,
    ) -> None:
        """`run` is called in the thread, inside a transaction; `after` on the loop, with what it returned, or `failed`.

        These run in the order of the jobs, before any task that waits for them: counts are kept there. A job that
        `grows` the store is refused while the disk is nearly full, so that those that make room still have some.
        One that is `patient` goes with the next that is not, or after limits.STORE_PATIENCE.
        One that is `outside` is called outside of any transaction, after those that came with it are told.
        """
        self.run = run
        self.outside = outside
        self.grows = grows
        self.patient = patient
        self.wrote = False
        self._after = after
        self._failed = failed
        self._done = trio.Event()
        self._error: Exception | None = None
        self._result: T | None = None

    def set_result(self, result: T, *, wrote: bool = False) -> None:
        """Called by the writer thread, before `finish`."""
        self._result, self.wrote = result, wrote

    def set_error(self, error: Exception) -> None:
        """Called by the writer thread, before `finish`."""
        self._error = error

    @property
    def failure(self) -> StorageError | None:
        """What the disk did not do, once that is known; None also for an error of the job's own."""
        if isinstance(self._error, apsw.Error):
            return _storage_error(self._error)
        return self._error if isinstance(self._error, NearlyFull) else None

    def finish(self) -> None:
        """Called on the loop."""
        if self._error is None and self._after is not None:
            self._after(self._result)  # type: ignore[arg-type] # set by then: T may include None
        if self._error is not None and self._failed is not None:
            self._failed()
        self._done.set()

    async def wait(self) -> T:
        """The result, after the commit. Raises StorageError: then nothing of this job was written.

        Cancelling the wait does not cancel the work.
        """
        await self._done.wait()
        if self._error is not None:
            if (failure := self.failure) is not None and failure is not self._error:
                raise failure from self._error
            raise self._error
        return self._result  # type: ignore[return-value] # set by then: T may include None


def _storage_error(error: apsw.Error) -> StorageError:
    if isinstance(error, apsw.FullError):
        return StorageError("the disk is full; nothing was written\nnote: free space, it goes on by itself")
    return StorageError(f"the store failed ({error}); nothing was written\nnote: look at the disk and its mount")


class Writer(trio.abc.Instrument):
    """The thread and its queue. `start` opens the database; `stop` finishes what is queued and closes it.

    The thread is woken when the loop has nothing else to do, or soon: both want the interpreter, and at rest, where an
    envelope is stored and sent, handing it back and forth would cost more than the work.
    """

    def __init__(self, path: Path, vfs: str, free: Callable[[Path], int], outage: Outage) -> None:
        """`path` and `vfs` as schema.open_database has them; `free`: bytes that may still be written to a folder.

        `outage` is told of every job, on the loop and before any task that waits for it.
        """
        self._path, self._vfs, self._free, self.outage = path, vfs, free, outage
        self.commits = Histogram(QUICK)  # written by the thread, read by the loop: it may be one behind
        self._jobs: deque[Job[Any]] = deque()
        self._thread: threading.Thread | None = None
        # what follows is written without a lock: of two threads that each write one and then read the other's, at
        # least one sees what the other wrote
        self._due = False  # a job that is not patient waits
        self._stopping = False
        self._resting = False  # the thread waits for whatever comes
        self._held = 0  # how many more turns of the loop the thread need not know of what is due
        self._signal = threading.Lock()  # released by the loop, acquired by the thread: look again
        self._signal.acquire()

    async def start(self) -> None:
        """Open the database in the thread. Raises StorageError (store_schema.open_database)."""
        token = trio.lowlevel.current_trio_token()
        opened: Job[None] = Job(lambda _: None)
        self._thread = threading.Thread(target=self._work, args=(token, opened), name="store", daemon=True)
        self._thread.start()
        with trio.CancelScope(shield=True):  # opening takes milliseconds; a half-started thread would be lost
            await opened.wait()
        trio.lowlevel.add_instrument(self)

    def put(self, job: Job[Any]) -> None:
        """Queue `job`; never blocks. Raises StorageError once the writer has been stopped."""
        if self._thread is None:
            raise StorageError("the store is closed")
        self._jobs.append(job)
        if not job.patient:
            self._due = True
        elif not self._resting:
            return
        if self._held:
            self._wake()  # there is much to do: begin
        else:
            self._held = _TURNS

    def before_io_wait(self, timeout: float) -> None:
        """At the end of each turn of the loop (trio.abc.Instrument)."""
        if self._held:
            self._held -= 1
            if timeout or not self._held:
                self._wake()

    def _wake(self) -> None:
        self._held = 0
        if self._signal.locked():
            self._signal.release()

    def free(self) -> int:
        """Bytes that may still be written beside the database."""
        return self._free(self._path.parent)

    async def stop(self) -> None:
        """Commit what is queued, close the database and release its lock."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        trio.lowlevel.remove_instrument(self)
        self._stopping = True
        self._wake()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)
            await trio.lowlevel.checkpoint()  # the last results were handed to the loop before the thread ended

    def _work(self, token: trio.lowlevel.TrioToken, opened: Job[None]) -> None:
        try:
            database = open_database(self._path, self._vfs)
        except Exception as error:  # whatever it is, it belongs to who opens the store
            opened.set_error(error)
            token.run_sync_soon(opened.finish)
            return
        token.run_sync_soon(opened.finish)
        try:
            while group := self._next_group():
                outside = [job for job in group if job.outside]
                for jobs in ([job for job in group if not job.outside] if outside else group, outside):
                    if jobs:
                        self._run(database, jobs)
                        token.run_sync_soon(self._finish_all, jobs)
        except trio.RunFinishedError:
            pass  # the loop is gone: nobody is left to tell
        finally:
            database.close()

    def _finish_all(self, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            self.outage.note(job)
            job.finish()

    def _run(self, database: apsw.Connection, jobs: list[Job[Any]]) -> None:
        growing = [job for job in jobs if job.grows]
        if growing and self._free(self._path.parent) < limits.DISK_RESERVE:
            for job in growing:
                job.set_error(NearlyFull("the disk is nearly full; nothing was written\nnote: free space"))
            jobs = [job for job in jobs if not job.grows]
        inside = [job for job in jobs if not job.outside]
        if inside:
            began = perf_counter()
            _run_group(database, inside)
            self.commits.note(perf_counter() - began)
        for job in jobs:
            if job.outside:
                _run_outside(database, job)

    def _next_group(self) -> list[Job[Any]]:
        """All jobs queued by now, at least one; an empty list: stop."""
        group: list[Job[Any]] = []
        while not group and not (self._stopping and not self._jobs):
            self._wait()
            self._due = False
            while self._jobs and len(group) < limits.STORE_GROUP:
                group.append(self._jobs.popleft())
            if self._jobs:
                self._due = True
        return group

    def _wait(self) -> None:
        """Until a job is due: at once if it is not patient."""
        while not (self._due or self._stopping):
            if self._signal.acquire(timeout=limits.STORE_PATIENCE):
                continue
            if self._jobs:
                return
            self._resting = True
            if not self._jobs:
                self._signal.acquire()
            self._resting = False


def _run_outside(database: apsw.Connection, job: Job[Any]) -> None:
    try:
        job.set_result(job.run(database))
    except Exception as error:
        job.set_error(error)


def _run_group(database: apsw.Connection, jobs: list[Job[Any]]) -> None:
    """Run `jobs` in one transaction; if that fails, each in its own, so that deletions go on when the disk is full."""
    try:
        _in_transaction(database, jobs)
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].set_error(error)
            return
        for job in jobs:
            _run_group(database, [job])


def _in_transaction(database: apsw.Connection, jobs: list[Job[Any]]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        for job in jobs:
            before = database.total_changes()
            result = job.run(database)
            job.set_result(result, wrote=database.total_changes() != before)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # SQLite has rolled back by itself after some errors
            database.execute("ROLLBACK")
        raise
