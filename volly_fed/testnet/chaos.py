"""Chaos: a federation of real processes under load while its networks, machines, clocks and resolvers fail.

in: a seed, for how long, how many servers; out: a Verdict with every promise that was broken.
First calm, to see how much each process holds at rest; then faults; then all is healed, and within a bounded time
everything that was accepted has arrived and every process holds no more than before.
Never: leaves a process or a folder behind.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import apsw
import attrs
import trio

from volly_fed.daemon.store.chunks import INBOUND, OUTBOUND, read
from volly_fed.testing.chaos_ledger import Ledger, Violation
from volly_fed.testing.chaos_plan import CLOCK_WRONG, make_plan
from volly_fed.testing.log_watch import unexpected
from volly_fed.testing.process_sample import Sample, sample
from volly_fed.testnet.chaos_faults import Faults
from volly_fed.testnet.chaos_load import Load
from volly_fed.testnet.chaos_net import ChaosNet, chaos_net

WARM_UP: Final = 4.0
"""Seconds of load before anything goes wrong: every server has a link to every other then."""
REST: Final = 2.0
"""Seconds of silence before a process counts as at rest."""
DRAIN: Final = 150.0
"""Seconds from the last fault until everything has arrived: half a minute to find a dead link, and the back-offs."""
SETTLE: Final = 90.0
"""Seconds from then until what half-open links held is given back."""
LOOK: Final = 1.0
PROGRESS: Final = 10.0
MOST_RSS: Final = 128 << 10
"""KiB that a process may have above what it had at rest: its caches and windows are bounded."""
MOST_FILES: Final = 200
"""The same, of open files: half-open connections are bounded per listener."""

Tell = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Held:
    """What a process, or several together, hold on to.

    Who accepts a link has a task more than who dials it, so that tasks can be compared of all homeservers together.
    """

    files: int
    sockets: int
    tasks: int


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of a run."""

    seed: int
    seconds: float
    faults: int
    counts: dict[str, int]
    drained_in: float
    most_waiting: int
    most_rss: dict[str, int]
    violations: list[Violation]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**attrs.asdict(self, recurse=False), "violations": [str(each) for each in self.violations]}


@attrs.define(kw_only=True)
class Chaos:
    """One run; `run` makes a folder for it and removes it."""

    seed: int
    seconds: float
    servers: int = 5
    edges: int = 2
    rate: float = 200.0
    tell: Tell
    ledger: Ledger = attrs.field(factory=lambda: Ledger(skew=CLOCK_WRONG), init=False)
    most_rss: dict[str, int] = attrs.field(factory=dict, init=False)
    most_waiting: int = attrs.field(default=0, init=False)
    _began: float = attrs.field(factory=time.monotonic, init=False)
    _rest: dict[str, Sample] = attrs.field(factory=dict, init=False)
    _too_much: set[str] = attrs.field(factory=set, init=False)

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    async def run(self) -> Verdict:
        """All of it."""
        folder = Path(tempfile.mkdtemp(prefix="volly-fed-chaos-"))
        try:
            return await self._run(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, folder: Path) -> Verdict:
        self._say(f"seed {self.seed}: {self.servers} servers, {self.edges} edges each, {self.rate:.0f} envelopes/s")
        async with chaos_net(folder, servers=self.servers, edges=self.edges, seed=self.seed) as net:
            load = Load.create(net, self.ledger, self.now, rate=self.rate, seed=self.seed, folder=folder)
            faults = Faults(net=net, tell=self._say, note=self.ledger.note)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look, net)
                nursery.start_soon(self._report)
                await load.receive(nursery)
                load.submit(nursery)
                before = await self._at_rest(net, load)
                load.be_quiet(False)
                load.mood.restless.set()
                await faults.run(make_plan(self.seed, net.parts, seconds=self.seconds))
                self._say("healed")
                load.mood.calm.set()
                drained_in = await self._drain(load)
                await self._compare(net, before)
                nursery.cancel_scope.cancel()
            await self._stop(net)
        return Verdict(
            seed=self.seed,
            seconds=self.seconds,
            faults=faults.happened,
            counts=self.ledger.counts(),
            drained_in=drained_in,
            most_waiting=self.most_waiting,
            most_rss=self.most_rss,
            violations=self.ledger.violations(self.now()),
        )

    # --- the phases ---

    async def _at_rest(self, net: ChaosNet, load: Load) -> Mapping[str, Held]:
        """What every process holds when all have links and nothing is under way."""
        await trio.sleep(WARM_UP)
        load.be_quiet(True)
        await self._empty(load)
        await trio.sleep(REST)
        self._rest = _samples(net)
        return held(net)

    async def _drain(self, load: Load) -> float:
        """A last round of letters, so that all need links again; then nothing new, until everything has arrived."""
        await trio.sleep(WARM_UP)
        load.be_quiet(True)
        began = self.now()
        with trio.move_on_after(DRAIN) as scope:
            await self._empty(load)
        if scope.cancelled_caught and load.unanswered:
            self.ledger.note("stuck", f"{load.unanswered} envelopes were not answered within {DRAIN:.0f} s")
        self._say(f"drained after {self.now() - began:.1f} s")
        return round(self.now() - began, 1)

    async def _empty(self, load: Load) -> None:
        while load.unanswered or self.ledger.waiting(self.now()):  # noqa: ASYNC110 - other processes tell nobody
            await trio.sleep(LOOK / 4)

    async def _compare(self, net: ChaosNet, before: Mapping[str, Held]) -> None:
        """Every process is back to what it held at rest, or will be soon."""
        with trio.move_on_after(SETTLE):
            while more := _more(before, held(net)):  # noqa: ASYNC110 - the same
                await trio.sleep(LOOK)
        for text in more:
            self.ledger.note("leak", f"{SETTLE:.0f} s after everything had arrived {text}")

    async def _stop(self, net: ChaosNet) -> None:
        """All end when they are told to, with nothing in their stores and nothing unexpected in their logs."""
        for name, code in (await net.stop_all()).items():
            self.ledger.note("exit", f"{name} ended with code {code} when it was told to stop")
        for domain in net.sites:
            for table, count in left_over(net.store_of(domain), time.time() + CLOCK_WRONG).items():
                self.ledger.note("left over", f"{count} rows of {table} in the store of {domain}")
        for name in net.parts.processes:
            for line in unexpected(net.log_of(name).read_text(errors="replace")):
                self.ledger.note("log", f"{name}: {line}")

    # --- meanwhile ---

    async def _look(self, net: ChaosNet) -> None:
        while True:
            await trio.sleep(LOOK)
            for name, code in net.died().items():
                self.ledger.note("died", f"{name} ended by itself with code {code}")
            for name, now in _samples(net).items():
                self.most_rss[name] = max(now.rss, self.most_rss.get(name, 0))
                self._bound(name, now)
            self.most_waiting = max(self.most_waiting, len(self.ledger.waiting(self.now())))

    def _bound(self, name: str, now: Sample) -> None:
        rest = self._rest.get(name)
        if rest is None or name in self._too_much:
            return
        if now.rss - rest.rss > MOST_RSS or now.files - rest.files > MOST_FILES:
            self._too_much.add(name)
            self.ledger.note("bound", f"{name} held {now} at {self.now():.0f} s, and {rest} at rest")

    async def _report(self) -> None:
        while True:
            await trio.sleep(PROGRESS)
            waiting = len(self.ledger.waiting(self.now()))
            counts = " ".join(f"{name} {count}" for name, count in self.ledger.counts().items())
            self._say(f"{counts} waiting {waiting} violations {len(self.ledger.found)}")

    def _say(self, text: str) -> None:
        self.tell(f"{self.now():7.1f} s  {text}")


def held(net: ChaosNet) -> dict[str, Held]:
    """Per homeserver, and of all; and per domain of all its edges together: devices go from one to the other."""
    found: dict[str, list[Held]] = {}
    for name, now in _samples(net).items():
        tasks = net.wrongs[name].tasks
        if name in net.sites:
            found.setdefault(name, []).append(Held(files=now.files, sockets=now.sockets, tasks=0))
            found.setdefault("all homeservers", []).append(Held(files=now.files, sockets=now.sockets, tasks=tasks))
        else:
            group = f"edges of {name.partition('.')[2]}"
            found.setdefault(group, []).append(Held(files=now.files, sockets=now.sockets, tasks=tasks))
    return {
        group: Held(
            files=sum(each.files for each in some),
            sockets=sum(each.sockets for each in some),
            tasks=sum(each.tasks for each in some),
        )
        for group, some in found.items()
    }


def _more(before: Mapping[str, Held], now: Mapping[str, Held]) -> list[str]:
    """What holds more than it did."""
    return [
        f"{group} holds {now[group]}, and held {rest} before"
        for group, rest in before.items()
        if group in now and _exceeds(now[group], rest)
    ]


def _exceeds(now: Held, rest: Held) -> bool:
    return now.files > rest.files or now.sockets > rest.sockets or now.tasks > rest.tasks


def _samples(net: ChaosNet) -> dict[str, Sample]:
    taken = {name: sample(child.process.pid) for name, child in net.alive.items()}
    return {name: each for name, each in taken.items() if each is not None}


def left_over(store: Path, now: float) -> dict[str, int]:
    """Envelopes that are not expired at `now`, by table, of a database that no process has open."""
    database = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        found = {}
        for name, table in (("outbound", OUTBOUND), ("inbound", INBOUND)):
            query = f"SELECT row, last, heads, frames FROM {name} WHERE last > ? ORDER BY row"  # noqa: S608 - one of two words
            stored = read(database, table, query, (0,), sys.maxsize, sys.maxsize)
            found[name] = sum(one.expiry > now for one in stored)
    finally:
        database.close()
    return {name: count for name, count in found.items() if count}
