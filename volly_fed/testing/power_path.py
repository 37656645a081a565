"""Power losses on the whole path: device, edge, homeserver A, homeserver B, edge, device, in one process, by seed.

in: a seed; out: which crashes it had, and findings: what the path has promised and not kept.
A run submits waves of envelopes, lets one strike after the other wait for its point, then heals, takes all machines off
once more at rest, and judges. The order that is promised: envelopes of one submitting connection and one class are
handed out in the order in which they were submitted, unless one of them was refused for a while (OVERLOADED).
Never: opens a socket, or takes longer than its processor time.
"""

import io
import tempfile
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Final

import apsw
import attrs
import trio

from volly_fed import limits
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.daemon.websocket import Socket
from volly_fed.observe.log import Log
from volly_fed.testing.power_chance import run_from_seed
from volly_fed.testing.power_devices import People, Recipient, Sender
from volly_fed.testing.power_ledger import Ledger
from volly_fed.testing.power_machine import Machine
from volly_fed.testing.power_points import Points, Strike, draw_plan
from volly_fed.testing.power_servers import DOMAINS, Homeserver, WiredEdge
from volly_fed.testing.power_wire import Wire

STRIKES: Final = 12
WAVE: Final = 8
_MACHINES: Final = ("S", "EA", "A", "B", "EB", "R")
_DISKS: Final = ("A", "B", "R")
_PATIENCE: Final = (5.0, 20.0, 80.0)
"""Seconds that a strike waits for its point, at most."""
_HEAL: Final = 600.0
_LATENCY: Final = 0.02


@attrs.frozen(kw_only=True)
class Result:
    """One run. `crashes` counts machines' power losses at points where there was something to lose."""

    seed: int
    findings: tuple[str, ...]
    crashes: int = 0
    envelopes: int = 0
    repeated: int = 0
    points: int = 0
    covered: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    history: tuple[str, ...] = ()
    tasks: int = 0
    log: str = attrs.field(default="", repr=False, eq=False)


def run_path(seed: int, *, strikes: int | None = None, receiving: type[Receiving] = Receiving) -> Result:
    """The run of `seed`; `strikes` says how many, `receiving` takes the place of the device's own class."""
    try:
        result = _run(seed, strikes, receiving)
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        return Result(seed=seed, findings=(f"defect: {error!r}",), log=text)
    spare = result.tasks - _tasks_at_rest()
    if spare > 0:
        return attrs.evolve(result, findings=(*result.findings, f"tasks: {spare} more than without a crash"))
    return result


def _run(seed: int, strikes: int | None, receiving: type[Receiving]) -> Result:
    random = Random(seed)  # noqa: S311 - to repeat, not to be secret
    with tempfile.TemporaryDirectory(dir=_memory()) as name, ExitStack() as disks:
        path = WholePath(Path(name), random, receiving)
        for machine in _DISKS:
            disks.enter_context(path.machines[machine].give_disk(Path(name) / machine, random.getrandbits(32)))
        count = random.randint(3, STRIKES) if strikes is None else strikes
        plan = draw_plan(random, count, faults=seed % 3 == 0)
        tasks = run_from_seed(random.getrandbits(32), partial(path.walk, plan))
        return path.result(seed, tasks)


@cache
def _people() -> People:
    return People.make(STRIKES * WAVE)


@cache
def _tasks_at_rest() -> int:
    return _run(1, 0, Receiving).tasks


def _memory() -> str | None:
    """No disk is needed: what is synced is remembered elsewhere."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own is made in it


class WholePath:
    """All machines of one run."""

    def __init__(self, folder: Path, random: Random, receiving: type[Receiving]) -> None:
        self._random = random
        self._folder = folder
        self._log = io.StringIO()
        self._crashes = 0
        self._struck = trio.Event()
        self.ledger, self.points = Ledger(), Points(self._act)
        log = Log("debug", "json", self._log)
        self._people = _people()
        self._sender = Sender(random, self._dial, self.ledger)
        self._servers = {name: Homeserver(name, folder / name, self._dial, log) for name in ("A", "B")}
        self._recipient = Recipient(self._people.receiver, folder / "R", self._dial, self.ledger, receiving)
        lives: dict[str, Callable[[Machine], Awaitable[None]]] = {
            "S": self._sender.live,
            "EA": lambda machine: WiredEdge("EA", "A", self._dial, log).live(machine),
            "A": partial(self._servers["A"].live, look=partial(self.ledger.look, "A")),
            "B": partial(self._servers["B"].live, look=partial(self.ledger.look, "B")),
            "EB": lambda machine: WiredEdge("EB", "B", self._dial, log).live(machine),
            "R": self._recipient.live,
        }
        self.machines = {name: Machine(name, random, live, self.points.reach) for name, live in lives.items()}

    async def walk(self, plan: list[Strike]) -> int:
        """From the first start to rest; how many tasks there are then."""
        async with trio.open_nursery() as nursery:
            for machine in self.machines.values():
                nursery.start_soon(machine.run, self.ledger.complain)
            with trio.fail_after(_HEAL):
                await self._recipient.claimed.wait()  # until then nobody can be sent anything
            for number in range(max(1, len(plan))):
                self._sender.give(list(self._people.parcels[number * WAVE :][: self._random.randint(1, WAVE)]))
                for strike in plan[number : number + 1]:
                    await self._strike(strike)
                if self.ledger.findings:
                    break
            await self._heal()
            tasks = trio.lowlevel.current_statistics().tasks_living
            if plan and not self.ledger.findings:
                self._act(Strike("", 0, crash=tuple(name for name in self.machines if name != "S")))
                self.points.history.append("all at rest")
                await self._heal()
            nursery.cancel_scope.cancel()
        return tasks

    def result(self, seed: int, tasks: int) -> Result:
        """What came of it; a run with a finding was broken off there."""
        if all(finding.startswith("stuck") for finding in self.ledger.findings):
            self._look_at_the_end()
            self.ledger.judge()
        return Result(
            seed=seed,
            findings=tuple(self.ledger.findings),
            crashes=self._crashes,
            envelopes=len(self.ledger.parcels),
            repeated=self.ledger.repeated,
            points=self.points.passed,
            covered=self.points.covered,
            history=tuple(self.points.history),
            tasks=tasks,
            log=self._log.getvalue(),
        )

    def _look_at_the_end(self) -> None:
        for name, table in (("A", "outbound"), ("B", "inbound"), ("R", "inbox")):
            (path,) = (self._folder / name).glob("*.db")
            database = apsw.Connection(str(path))
            self.ledger.look(f"{name} at the end", database)
            ((left,),) = database.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - one of three words
            database.close()
            if left:
                self.ledger.complain(f"left: {left} rows of {table} at {name}")

    # --- strikes ---------------------------------------------------------------------------------------------------

    async def _strike(self, strike: Strike) -> None:
        """Wait until `strike` has found its point, or has waited long enough, and for a while, as it says."""
        self._struck = trio.Event()
        self.points.arm(strike)
        with trio.move_on_after(self._random.choice(_PATIENCE)):
            await self._struck.wait()
        self.points.hit("no point, after a while")
        await trio.sleep(self._random.uniform(0, strike.rest))

    def _act(self, strike: Strike) -> None:
        self._struck.set()
        on = [name for name in strike.crash if self.machines[name].on]
        self._crashes += bool(on)
        for name in on:
            self.machines[name].crash()
        for machine in self.machines.values() if strike.cut else ():
            for wire in machine.wires:
                if wire.name == strike.cut:
                    wire.cut()
        if strike.full:
            self.ledger.overloaded = True
            disk = self.machines[strike.full].disk
            assert disk is not None
            disk.failing = strike.count

    # --- wires -----------------------------------------------------------------------------------------------------

    async def _dial(self, dialler: str, acceptor: str) -> Socket:
        """A wire between two machines. Raises ChannelError: `acceptor` is off."""
        await trio.sleep(self._random.uniform(0, _LATENCY))
        ends = dialler, acceptor
        name = "-".join(sorted(ends, key=_MACHINES.index))
        wire = Wire(name, dialler, acceptor, random=self._random, reach=self.points.reach, note=self.ledger.note)
        self.machines[acceptor].accept(dialler, wire.ends[1])
        for machine in ends:
            self.machines[machine].join(wire)
        return wire.ends[0]

    # --- rest ------------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        """Until everything is up and nothing is left to do, and still so when half-open links were found out."""
        with trio.move_on_after(_HEAL) as patience:
            await self._wait_idle()
            if not self.ledger.findings:
                await trio.sleep(limits.DEVICE_SILENCE + 5)
                await self._wait_idle()
        if patience.cancelled_caught:
            self.ledger.complain(f"stuck: {await self._why_not_idle()}")

    async def _wait_idle(self) -> None:
        while not self.ledger.findings and await self._why_not_idle():  # noqa: ASYNC110 - no one of six machines knows it, and this time costs nothing
            await trio.sleep(0.5)

    async def _why_not_idle(self) -> str:
        """What is still to be done; empty: nothing."""
        off = [name for name, machine in self.machines.items() if not machine.up and name != "S"]
        a, b = self._servers["A"].server, self._servers["B"].server
        if off or a is None or b is None:
            return f"{' '.join(off)} off"
        record = await b.store.mailbox(self._people.receiver.address.mailbox)
        depths = {
            "unanswered submissions": self._sender.unanswered,
            "envelopes queued at A": a.store.outbound_depth(DOMAINS["B"])[0],
            "envelopes in the mailbox at B": record.envelopes if record else 0,
            "messages not taken at R": self._recipient.waiting(),
        }
        return ", ".join(f"{depth} {what}" for what, depth in depths.items() if depth)
