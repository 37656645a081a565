"""When what is on its way to one peer was accepted here: by batch, so that an envelope costs next to nothing.

in: rows that were accepted, rows that the peer has acknowledged; out: how many of which class took how long.
Never: remembers more than limits_http.TRACKED_BATCHES; what it does not know counts as of an unknown class.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import attrs

from volly_fed import limits_http
from volly_fed.daemon.store.rows import OutboundRow

NO_CLASS = -1


@attrs.define(order=True)
class _Run:
    """Rows that follow each other, of one class, accepted at once. `since`: trio's clock; None: by another process."""

    start: int
    stop: int = attrs.field(order=False)
    urgency: int = attrs.field(order=False)
    since: float | None = attrs.field(order=False)
    left: int = attrs.field(order=False)

    def is_all(self, ordered: Sequence[int]) -> bool:
        """Whether these keys are all that is in it, and nothing else."""
        return ordered[0] == self.start and ordered[-1] == self.stop - 1 and len(ordered) == self.left


@attrs.define
class Underway:
    """Of one peer."""

    last: float | None = attrs.field(default=None, init=False)
    """How long the last one took that was acknowledged."""
    _runs: list[_Run] = attrs.field(factory=list, init=False)

    def begin(self, keys: range, rows: Sequence[OutboundRow], now: float) -> None:
        """`rows` were accepted under `keys`."""
        urgencies = [row.urgency for row in rows]
        if urgencies.count(urgencies[0]) == len(rows):  # nearly always
            self._add(keys.start, len(rows), urgencies[0], now)
            return
        start = keys.start
        for urgency, run in groupby(rows, attrgetter("urgency")):
            count = len([*run])
            self._add(start, count, urgency, now)
            start += count

    def found(self, keys: Sequence[int], urgency: int) -> None:
        """`keys`, of one class and in order, were on the disk; those that an earlier process accepted are new here."""
        if keys and self._run_of(keys[0]) is None:
            fresh = [key for key in keys if self._run_of(key) is None]
            for _, run in groupby(enumerate(fresh), lambda pair: pair[1] - pair[0]):
                row = [key for _, key in run]
                self._add(row[0], len(row), urgency, None)

    def end(self, keys: Sequence[int], now: float) -> Iterable[tuple[int, float | None, int]]:
        """`keys` are settled: (class, seconds if known, how many), for each batch that they came with."""
        ordered = sorted(keys)
        if self._runs and ordered and (run := self._runs[0]).is_all(ordered):  # nearly always
            del self._runs[0]
            return (self._told(run, now, len(ordered)),)
        return [self._told(run, now, count) for run, count in self._take(ordered)]

    def _told(self, run: _Run | None, now: float, count: int) -> tuple[int, float | None, int]:
        if run is None:
            return NO_CLASS, None, count
        if run.since is None:
            return run.urgency, None, count
        self.last = took = max(0.0, now - run.since)
        return run.urgency, took, count

    def forget(self, keys: Collection[int]) -> None:
        """`keys`, of whichever peer, are not on their way any more."""
        if self._runs:
            for _ in self._take(sorted(keys)):
                pass

    def class_of(self, key: int) -> int:
        """The class of what is on its way under `key`."""
        run = self._run_of(key)
        return NO_CLASS if run is None else run.urgency

    def _take(self, ordered: Sequence[int]) -> Iterator[tuple[_Run | None, int]]:
        """Keys in order, run by run: how many of each are done with."""
        at = 0
        while at < len(ordered):
            index = self._index(ordered[at])
            run = self._runs[index] if index >= 0 and ordered[at] < self._runs[index].stop else None
            if run is None:
                after = self._runs[index + 1].start if index + 1 < len(self._runs) else ordered[-1] + 1
                stop = bisect_left(ordered, after, at)
            else:
                stop = bisect_left(ordered, run.stop, at)
                run.left -= stop - at
                if run.left <= 0:
                    del self._runs[index]
            yield run, stop - at
            at = stop

    def _run_of(self, key: int) -> _Run | None:
        index = self._index(key)
        return self._runs[index] if index >= 0 and key < self._runs[index].stop else None

    def _index(self, key: int) -> int:
        """Of the last run that begins at `key` or before; -1: there is none."""
        return bisect_right(self._runs, key, key=attrgetter("start")) - 1

    def _add(self, start: int, count: int, urgency: int, since: float | None) -> None:
        if len(self._runs) < limits_http.TRACKED_BATCHES:
            run = _Run(start, start + count, urgency, since, count)
            if self._runs and self._runs[-1].start > start:
                insort(self._runs, run)
            else:
                self._runs.append(run)
