"""SIGKILLs at random moments, on both sides of a federation under load, and a restart after each.

in: how many kills, a seed; out: a Verdict: what was lost or given twice, and how soon deliveries went on.
Processes are nothing but volly-fed. The next kill comes once the last one's process delivers again, or a random moment
earlier: so processes are also killed while they, or others, still recover.
Never: leaves a process or a folder behind.
"""

import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio

from volly_fed.errors import LocalError
from volly_fed.testing.chaos_ledger import Ledger, Violation
from volly_fed.testing.log_watch import unexpected
from volly_fed.testnet.chaos import left_over
from volly_fed.testnet.chaos_load import Load, Recipient
from volly_fed.testnet.chaos_net import ChaosNet, chaos_net

HURRY: Final = 0.3
"""The share of kills that does not wait for the one before."""
MOMENT: Final = (0.0, 0.7)
"""Seconds of work before a kill."""
DELIVERS_WITHIN: Final = 60.0
DRAIN: Final = 120.0
LOOK: Final = 0.05
DRAIN_LOOK: Final = 1.0
"""Going through all letters takes as much of the processor as their devices need."""

Tell = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of a run; seconds."""

    seed: int
    kills: dict[str, int]
    """Per process."""
    ready_in: list[float]
    """From the start of a process to its ready line."""
    delivers_in: list[float]
    """From there to the first message given to an application that came through it."""
    counts: dict[str, int]
    violations: list[Violation]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**attrs.asdict(self, recurse=False), "violations": [str(each) for each in self.violations]}


@attrs.define(kw_only=True)
class Kills:
    """One run; `run` makes a folder for it and removes it."""

    seed: int
    count: int
    rate: float = 200.0
    servers: int = 2
    edges: int = 2
    tell: Tell
    ledger: Ledger = attrs.field(factory=Ledger, init=False)
    kills: dict[str, int] = attrs.field(factory=dict, init=False)
    ready_in: list[float] = attrs.field(factory=list, init=False)
    delivers_in: list[float] = attrs.field(factory=list, init=False)
    _began: float = attrs.field(factory=time.monotonic, init=False)

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    async def run(self) -> Verdict:
        """All of it."""
        folder = Path(tempfile.mkdtemp(prefix="volly-fed-kills-"))
        try:
            await self._run(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return Verdict(
            seed=self.seed,
            kills=self.kills,
            ready_in=self.ready_in,
            delivers_in=self.delivers_in,
            counts=self.ledger.counts(),
            violations=self.ledger.violations(self.now()),
        )

    async def _run(self, folder: Path) -> None:
        random = Random(f"kills {self.seed}")  # noqa: S311 - repeatable on purpose
        async with chaos_net(folder, servers=self.servers, edges=self.edges, seed=self.seed, wrongs=False) as net:
            load = Load.create(net, self.ledger, self.now, rate=self.rate, seed=self.seed, folder=folder)
            async with trio.open_nursery() as nursery:
                await load.receive(nursery)
                load.submit(nursery)
                for number in range(1, self.count + 1):
                    await trio.sleep(random.uniform(*MOMENT))
                    name = random.choice(net.parts.domains if random.random() < 0.5 else net.parts.processes)
                    await self._kill(net, load, name, number, wait=random.random() >= HURRY)
                load.be_quiet(True)
                await self._drain(load)
                nursery.cancel_scope.cancel()
            await self._stop(net)

    async def _kill(self, net: ChaosNet, load: Load, name: str, number: int, *, wait: bool) -> None:
        if died := net.died():
            raise LocalError(f"ended by themselves: {died}")
        await net.kill(name)
        self.kills[name] = self.kills.get(name, 0) + 1
        child = await net.start(name)
        self.ready_in.append(round(child.started_in, 3))
        ready = self.now()
        if wait and await self._delivered(concerned(net, load, name), ready):
            self.delivers_in.append(round(self.now() - ready, 3))
        if number % 10 == 0 or number == self.count:
            counts = " ".join(f"{what} {count}" for what, count in self.ledger.counts().items())
            self.tell(f"{self.now():7.1f} s  {number} kills: {counts} violations {len(self.ledger.found)}")

    async def _delivered(self, recipients: list[Recipient], since: float) -> bool:
        """Whether one of these was given something since then; waits for it. False where none of them is there."""
        with trio.move_on_after(DELIVERS_WITHIN):
            while recipients and all(x.last_heard <= since for x in recipients):  # noqa: ASYNC110 - the same
                await trio.sleep(LOOK)
            return bool(recipients)
        waiting = Counter(letter.recipient for letter in self.ledger.waiting(self.now()))
        who = ", ".join(
            f"{x.name} at its edge {x.edge}, last heard of at {x.last_heard:.1f} s, {waiting[x.name]} letters wait"
            for x in recipients
        )
        self.ledger.note("stuck", f"nothing was delivered for {DELIVERS_WITHIN:.0f} s after {since:.1f} s: {who}")
        self.tell(str(self.ledger.found[-1]))
        return False

    async def _drain(self, load: Load) -> None:
        """Until everything has come, or nothing has for DRAIN seconds: a slow machine is no loss."""
        left, since = math.inf, trio.current_time()
        while (now := load.unanswered + len(self.ledger.waiting(self.now()))) and trio.current_time() < since + DRAIN:
            if now < left:
                left, since = now, trio.current_time()
            await trio.sleep(DRAIN_LOOK)
        if load.unanswered:
            self.ledger.note("stuck", f"{load.unanswered} envelopes were not answered within {DRAIN:.0f} s")

    async def _stop(self, net: ChaosNet) -> None:
        for name, code in (await net.stop_all()).items():
            self.ledger.note("exit", f"{name} ended with code {code} when it was told to stop")
        for domain in net.sites:
            for table, count in left_over(net.store_of(domain), time.time()).items():
                self.ledger.note("left over", f"{count} rows of {table} in the store of {domain}")
        for name in net.parts.processes:
            for line in unexpected(net.log_of(name).read_text(errors="replace")):
                self.ledger.note("log", f"{name}: {line}")


def concerned(net: ChaosNet, load: Load, name: str) -> list[Recipient]:
    """The recipients that a process delivers to: a homeserver's all, an edge's those that are connected to it."""
    domain = name if name in net.sites else name.partition(".")[2]
    of_domain = [recipient for recipient in load.recipients if recipient.device.keys.domain == domain]
    if name == domain:
        return of_domain
    port = net.edge_of(name).port
    return [recipient for recipient in of_domain if recipient.ways[recipient.edge].port == port]
