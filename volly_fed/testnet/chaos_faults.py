"""Makes the faults of a plan happen to a running federation, and takes them back.

in: a plan, the federation; out: each fault at its time, told as it happens.
Never: leaves anything wrong behind when all faults are over: `heal` takes back whatever there is.
"""

from collections.abc import Callable, Iterable, Sequence

import attrs
import trio

from volly_fed.errors import LocalError
from volly_fed.testing.chaos_plan import Fault, Kind
from volly_fed.testing.link_shim import End, LinkShim, Way
from volly_fed.testnet.chaos_net import ChaosNet

RATE = 200_000
"""Bytes a second of a slow link."""
LOSS = 0.01


@attrs.define(kw_only=True)
class Faults:
    """What goes wrong in one run."""

    net: ChaosNet
    tell: Callable[[str], None]
    note: Callable[[str, str], None]
    """(rule, text) of a violation: what does not come back as it should."""
    happened: int = attrs.field(default=0, init=False)

    async def run(self, plan: Sequence[Fault]) -> None:
        """Let `plan` happen, from now on; returns when all of it is over."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for fault in plan:
                await trio.sleep_until(began + fault.at)
                nursery.start_soon(self._happen, fault, began + fault.until)

    async def _happen(self, fault: Fault, until: float) -> None:
        if fault.kind in (Kind.KILL, Kind.FREEZE) and not self.net.alive.keys() >= set(fault.subjects):
            self.tell(f"{fault} (left out: it is still starting)")
            return
        self.tell(str(fault))
        self.happened += 1
        match fault.kind:
            case Kind.KILL:
                for name in fault.subjects:
                    await self.net.kill(name)
            case Kind.FREEZE:
                for name in fault.subjects:
                    self.net.alive[name].freeze()
            case Kind.CLOCK | Kind.DISK:
                self._set(fault, fault.strength)
            case Kind.RESOLVER:
                for name in fault.subjects:
                    self.net.answers[name].silent = True
            case _:
                self._break(fault)
        await trio.sleep_until(until)
        await self._mend(fault)

    async def _mend(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL:
                for name in fault.subjects:
                    await self._restart(name)
            case Kind.FREEZE:
                for name in fault.subjects:
                    self.net.alive[name].thaw()
            case Kind.CLOCK | Kind.DISK:
                self._set(fault, 0.0)
            case Kind.RESOLVER:
                for name in fault.subjects:
                    self.net.answers[name].silent = False
            case _:
                for shim in self._shims(fault.subjects):
                    shim.heal()

    async def _restart(self, name: str) -> None:
        try:
            await self.net.start(name)
        except LocalError as error:
            self.note("restart", str(error))

    def _set(self, fault: Fault, strength: float) -> None:
        for name in fault.subjects:
            if fault.kind is Kind.CLOCK:
                self.net.wrongs[name].clock = strength
            else:
                self.net.wrongs[name].sync = strength

    def _break(self, fault: Fault) -> None:
        shims = list(self._shims(fault.subjects))
        match fault.kind:
            case Kind.ONE_WAY:  # of the two servers, the first one's words are lost, whoever dialled
                there, back = shims
                there.blackhole(Way.TO_LISTENER)
                back.blackhole(Way.TO_DIALLER)
            case Kind.RESET:
                for shim in shims:
                    shim.reset()
            case Kind.HALF_OPEN:
                for shim in shims:
                    shim.half_open(End.DIALLER if fault.strength < 0.5 else End.LISTENER, reset=fault.at % 1 < 0.5)
            case Kind.SLOW:
                for shim in shims:
                    shim.shape(latency=fault.strength, jitter=fault.strength / 2, rate=RATE, loss=LOSS)
            case _:
                for shim in shims:
                    shim.blackhole()

    def _shims(self, links: Iterable[str]) -> Iterable[LinkShim]:
        return (self.net.shims[link] for link in links)
