"""What has arrived of what was sent: by run, once or twice, when, and how long it was under way.

in: the ids of envelopes, which are tickets; out: Runs.
"""

import time
from array import array
from collections.abc import Sequence

import attrs
import trio

from bench.relay.envelopes import RUN_SHIFT, Tickets
from volly_fed.relay.envelope import ID_BYTES

_DOMAIN = 36
_TEXT = 0x60
"""Where the head of the domain is in an envelope, and the least of a text; its length is added. The id is next."""
_GLANCE = 0.02


@attrs.define
class Run:
    """What has arrived of one run."""

    seen: set[int] = attrs.field(factory=set, repr=False)
    twice: int = 0
    arrived: "array[int]" = attrs.field(factory=lambda: array("q"), repr=False)
    """time.monotonic_ns of each."""
    took: "array[int]" = attrs.field(factory=lambda: array("q"), repr=False)
    """Nanoseconds since each was due, in the same order."""

    def note(self, numbers: "array[int]", due: "array[int]", now: int) -> None:
        """These have arrived at `now`."""
        before = len(self.seen)
        self.seen.update(numbers)
        self.twice += before + len(numbers) - len(self.seen)
        self.arrived.extend([now] * len(numbers))
        self.took.extend([now - at for at in due])


class Arrivals:
    """All runs of one generator. Its methods are what a worker is asked."""

    def __init__(self, ticket_key: bytes) -> None:
        self._tickets = Tickets(ticket_key)
        self._runs: dict[int, Run] = {}

    def note(self, frames: Sequence[bytes]) -> list[bytes]:
        """These have come just now; their ids."""
        now = time.monotonic_ns()
        ids = [frame[(at := frame[_DOMAIN] - _TEXT + _DOMAIN + 2) : at + ID_BYTES] for frame in frames]
        numbers, due = self._tickets.open(ids)
        run = numbers[0] >> RUN_SHIFT
        if min(numbers) >> RUN_SHIFT == run == max(numbers) >> RUN_SHIFT:
            self._run(run).note(numbers, due, now)
        else:
            for number, when in zip(numbers, due, strict=True):
                self._run(number >> RUN_SHIFT).note(array("Q", [number]), array("Q", [when]), now)
        return ids

    def _run(self, number: int) -> Run:
        return self._runs.setdefault(number, Run())

    async def count(self, run: int) -> int:
        """How many different envelopes of `run` have come so far."""
        return len(self._run(run).seen)

    async def wait(self, run: int, count: int, seconds: float) -> int:
        """Wait for `count` envelopes of `run`, so long at most; how many there are then."""
        with trio.move_on_after(seconds):
            while await self.count(run) < count:  # noqa: ASYNC110 - an event for each delivery would be work
                await trio.sleep(_GLANCE)
        return await self.count(run)

    async def take(self, run: int) -> Run:
        """All that came of `run`, which is forgotten here."""
        return self._runs.pop(run, Run())
