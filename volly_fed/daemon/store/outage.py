"""Whether the disk takes what it is given: told once when it does no more, and once when it does again.

in: jobs that have ended, in their order; out: the error that begins an outage, then None for its end.
Never: takes a read, or a deletion while growth is refused, for the end of an outage; tells both again and again while
some of what is written still fits.
"""

import time
from collections.abc import Callable
from typing import Protocol

import trio

from volly_fed import limits
from volly_fed.errors import StorageError

Tell = Callable[[StorageError | None], None]


class Ended(Protocol):
    """What there is to know of a job that has ended."""

    @property
    def grows(self) -> bool:
        """It makes the store larger."""
        ...

    @property
    def wrote(self) -> bool:
        """It has changed something."""
        ...

    @property
    def failure(self) -> StorageError | None:
        """Why the disk has not done it; None also for a job that failed for reasons of its own."""
        ...


class Outage:
    """One per store."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._failed_at: float | None = None
        self._growth = False  # the store cannot grow, though it may still be able to delete
        self._begun = trio.Event()

    @property
    def lasts(self) -> bool:
        """Whether the disk takes nothing at the moment."""
        return self._failed_at is not None

    async def begun(self) -> None:
        """Wait until the disk takes nothing any more."""
        await self._begun.wait()

    def note(self, job: Ended) -> None:
        """`job` has ended."""
        failure = job.failure
        if failure is not None:
            if self._failed_at is None:
                self._tell(failure)
                self._failed_at = self._clock()
                self._begun.set()
            self._growth |= job.grows
        if self._failed_at is None or (self._growth and not job.grows):
            return
        if failure is not None:
            self._failed_at = self._clock()
        elif job.wrote and self._clock() - self._failed_at >= limits.STORE_CALM:
            self._failed_at, self._growth = None, False
            self._begun = trio.Event()
            self._tell(None)
