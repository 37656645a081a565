"""What a resolver remembers: answers, failures, and the questions under way.

in: values and the time they are good for; out: the same until then. Never: reads a clock or asks anybody.
Source: RFC 2308 §5, RFC 9520 §3.2 (failures), RFC 5452 §5 (one query for one question at a time).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Generic, TypeVar

import attrs
import trio

from volly_fed import limits
from volly_fed.discovery.endpoint import Status

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@attrs.frozen(kw_only=True)
class CacheEntry:
    """One thing that a resolver remembers, for people."""

    name: str
    type: str
    """A record type; "zone" for the keys of a zone; "federation" or "device" for a failed discovery."""
    status: Status
    records: tuple[str, ...] = ()
    """In presentation form. What is not SECURE is for show only."""
    expires: float
    """Seconds since 1970."""
    reason: str = ""


@attrs.frozen
class _Kept(Generic[V]):
    value: V
    since: float
    expires: float
    weight: int


class Cache(Generic[K, V]):
    """At most limits.DNS_CACHE_ENTRIES values and limits.DNS_CACHE_BYTES, each until its time; the oldest make room."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._weight = 0

    def get(self, key: K, now: float) -> V | None:
        """The value, unless it has expired, or comes from a future that the clock has turned back from."""
        kept = self._entries.get(key)
        return kept.value if kept is not None and _is_current(kept, now) else None

    def put(self, key: K, value: V, *, now: float, expires: float, weight: int = 0) -> None:
        """Remember `value`, of `weight` bytes, until `expires`, in the seconds of `get`."""
        self.remove(key)
        self._entries[key] = _Kept(value, now, expires, weight)
        self._weight += weight
        while len(self._entries) > limits.DNS_CACHE_ENTRIES or self._weight > limits.DNS_CACHE_BYTES:
            self.remove(next(iter(self._entries)))

    def remove(self, key: K) -> None:
        """Forget `key`, if it is there."""
        kept = self._entries.pop(key, None)
        if kept is not None:
            self._weight -= kept.weight

    def current(self, now: float) -> Iterator[tuple[K, V, float]]:
        """Key, value and expiry of everything that `get` would still give."""
        for key, kept in self._entries.items():
            if _is_current(kept, now):
                yield key, kept.value, kept.expires

    def drop(self, chosen: Callable[[K], bool]) -> int:
        """Forget what `chosen` is true of; says how many that were."""
        keys = [key for key in self._entries if chosen(key)]
        for key in keys:
            self.remove(key)
        return len(keys)


def _is_current(kept: _Kept[V], now: float) -> bool:
    return kept.since - limits.DNS_CLOCK_SKEW <= now < kept.expires


class Backoff(Generic[K]):
    """How long each failure is remembered: 1 second, and twice as long each time it happens again soon."""

    def __init__(self) -> None:
        self._waits: Cache[K, float] = Cache()

    def failed(self, key: K, now: float) -> float:
        """Until when not to try `key` again."""
        last = self._waits.get(key, now)
        wait = limits.DNS_FAILURE_TTL if last is None else min(2 * last, limits.DNS_FAILURE_CAP)
        self._waits.put(key, wait, now=now, expires=now + wait + limits.DNS_FAILURE_CAP)
        return now + wait

    def drop(self, chosen: Callable[[K], bool]) -> None:
        """Begin anew with what `chosen` is true of."""
        self._waits.drop(chosen)

    def succeeded(self, key: K) -> None:
        """Begin anew with `key`."""
        self._waits.remove(key)


@attrs.define
class _Flight(Generic[V]):
    """Work that others wait for; `landed` stays False where it was cancelled, or raised."""

    done: trio.Event = attrs.field(factory=trio.Event)
    landed: list[V] = attrs.field(factory=list)


class SingleFlight(Generic[K, V]):
    """Work that is done once for all who want it at the same time. If its task is cancelled, another one takes over."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The result of `work`, or of the same work of another task. What it raises, only its own caller gets."""
        while (flight := self._flights.get(key)) is not None:
            await flight.done.wait()
            if flight.landed:
                return flight.landed[0]
        flight = self._flights[key] = _Flight()
        try:
            result = await work()
            flight.landed.append(result)
        finally:
            del self._flights[key]
            flight.done.set()
        return result


async def take(places: trio.Semaphore) -> None:
    """Take one place, which the caller releases. Where one is free it costs no turn of the event loop."""
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await places.acquire()
