"""When a peer may be dialled again: written down before every attempt, so that a crash cannot hammer anybody.

in: attempts and how they ended; out: when the next one is due, and what there is to be seen of it.
Never: counts BUSY as a failure, or lets what a peer asks for silence us for longer than the cap.
"""

import random
import time
from contextlib import suppress
from typing import Final

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.store.store import Backoff, Store
from volly_fed.errors import (
    Bogus,
    DiscoveryError,
    Indeterminate,
    Insecure,
    NoMatch,
    NoRecords,
    Refused,
    RemoteError,
    StorageError,
)
from volly_fed.names import DomainName


@attrs.define
class Standing:
    """What is known of the attempts to reach one peer; the store has it too, for the next process."""

    domain: DomainName
    failures: int = 0
    """In a row; that of an attempt under way is counted already."""
    next_attempt: float = 0.0
    """Unix seconds; 0: at once."""
    not_before: float = 0.0
    """The same, since the peer is busy; what it has acknowledged before it said so does not change that."""
    last_error: str = ""
    last_cause: str = ""
    """Of that error, in a word or two: whom or what to look at."""
    last_error_at: float = 0.0
    """Unix seconds."""
    kept: bool = True
    """The store has, or may have, a back-off."""
    unwritten: bool = False
    """The store could not take the last: it holds for this process all the same."""

    def note_error(self, cause: str, text: str) -> None:
        """What went wrong last, now."""
        self.last_cause, self.last_error, self.last_error_at = cause, text, time.time()


@attrs.define(kw_only=True)
class Attempts:
    """One per homeserver. `cap`: the longest pause, seconds."""

    store: Store
    cap: float

    async def wait(self, standing: Standing) -> float:
        """Seconds until the next attempt is due, as the store has it, unless it could not take the last."""
        if not standing.unwritten:
            with suppress(StorageError):
                backoff = await self.store.backoff(standing.domain) if standing.kept else None
                standing.failures, standing.next_attempt = (
                    (backoff.failures, backoff.next_attempt) if backoff else (0, 0.0)
                )
        return self.due_in(standing)

    def due_in(self, standing: Standing) -> float:
        """Seconds until the next attempt is due, by what was asked or noted last."""
        return min(max(0.0, max(standing.next_attempt, standing.not_before) - time.time()), self.cap)

    async def begin(self, standing: Standing) -> None:
        """An attempt is about to be made: count it as a failure until it is known to be none."""
        await self._keep(standing, standing.failures + 1, pause(standing.failures + 1, self.cap) * _jitter())

    async def busy(self, standing: Standing, retry_after: int, *, ours: bool) -> None:
        """The peer is busy, and asks for `retry_after` seconds (0: it does not say). `ours`: we had dialled it."""
        wait = min(self.cap, max(retry_after, limits.BACKOFF_FIRST) * _jitter())  # [handshake-26]
        standing.not_before = time.time() + wait
        await self._keep(standing, max(0, standing.failures - ours), wait)

    async def forget(self, standing: Standing) -> None:
        """It went well. Raises StorageError: then it is to be forgotten once more."""
        await self.store.put_backoff(standing.domain, None)
        standing.kept, standing.unwritten = False, False
        standing.failures, standing.next_attempt = 0, 0.0
        standing.last_error, standing.last_cause, standing.last_error_at = "", "", 0.0

    async def _keep(self, standing: Standing, failures: int, wait: float) -> None:
        standing.failures, standing.next_attempt = failures, time.time() + wait
        standing.kept, standing.unwritten = True, True
        with suppress(StorageError):
            await self.store.put_backoff(
                standing.domain, Backoff(failures=failures, next_attempt=standing.next_attempt)
            )
            standing.unwritten = False


def cause_of(error: Exception) -> str:
    """Whom or what to look at: who refused, what of the DNS, which code."""
    if isinstance(error, Refused):
        return f"refused by the peer: {error.code.name}"
    if isinstance(error, NoMatch):
        return "the keys it shows"
    if isinstance(error, DiscoveryError):
        return f"DNS: {_VERDICTS.get(type(error), 'nothing proved')}"
    if isinstance(error, RemoteError):
        return "our policy" if error.code is ErrorCode.POLICY else f"the link: {error.code.name}"
    return "our disk" if isinstance(error, StorageError) else "the network"


_VERDICTS: Final = {NoRecords: "no records", Insecure: "insecure", Bogus: "bogus", Indeterminate: "no answer"}


def pause(failures: int, cap: float) -> float:
    """Seconds after so many `failures` in a row. The exponent has an end: a dead peer's failures have none."""
    growth: float = limits.BACKOFF_GROWTH ** min(failures - 1, 64)
    return min(limits.BACKOFF_FIRST * growth, cap)  # [handshake-27]


def _jitter() -> float:
    return random.uniform(*limits.BACKOFF_JITTER)  # noqa: S311 - spreads load
