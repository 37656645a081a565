"""Power losses on the whole path: nothing accepted is lost or comes twice; and with a flaw built in, that is found.

The long run is `python -m bench.power`; here is a share of it.
"""

from collections.abc import Callable
from contextlib import suppress

import apsw
import pytest
import trio

from tests.daemon.test_store_power import cursor_first, synchronous
from volly_fed.client.receiver import Item
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.testing import power_servers
from volly_fed.testing.power_machine import LoopWriter
from volly_fed.testing.power_path import run_path

pytestmark = pytest.mark.slow
Patch = pytest.MonkeyPatch
SHARE = [seed for seed in range(1000, 1050) if seed % 3]
"""Without full disks."""
FULL_DISKS = range(1002, 1020, 3)


@pytest.mark.parametrize("seed", SHARE)
def test_the_path_survives_power_losses(seed: int) -> None:
    result = run_path(seed)
    assert result.findings == (), f"repeat with `python -m bench.power --seed {seed}`"
    assert result.crashes >= 1


@pytest.mark.parametrize("seed", FULL_DISKS)
def test_the_path_survives_full_disks_too(seed: int) -> None:
    assert run_path(seed).findings == (), f"repeat with `python -m bench.power --seed {seed}`"


@pytest.mark.parametrize("seed", [51, 75])
def test_a_refusal_is_not_forgotten_with_the_link(seed: int) -> None:
    """51 between homeservers, where a later batch was committed; 75 between an edge and its homeserver."""
    assert run_path(seed).findings == ()


def test_without_a_strike_everything_arrives() -> None:
    result = run_path(4, strikes=0)
    assert result.findings == ()
    assert result.crashes == result.repeated == 0
    assert result.envelopes > 0


def test_a_seed_repeats_itself() -> None:
    first, second = run_path(6), run_path(6)
    assert first == second
    assert first.history


# --- flaws that must be found --------------------------------------------------------------------------------------


class AcknowledgesFirst(Receiving):
    """A device that tells the homeserver before it has stored what came."""

    async def _take_in(self, items: list[Item]) -> None:
        self.waiting = [*getattr(self, "waiting", []), items]

    async def _hand_over(self) -> None:
        taken, self.waiting = getattr(self, "waiting", []), []
        for items in taken:
            await super()._take_in(items)
        await super()._hand_over()


class Forgets(Receiving):
    """A device that knows what it has only for as long as a connection lasts."""

    async def _take_in(self, items: list[Item]) -> None:
        self._store._database.execute("DELETE FROM known")  # type: ignore[attr-defined]
        await super()._take_in(items)


class TellsFirst(LoopWriter):
    """A writer that tells the result of a group, and commits it a little later."""

    async def _commit_always(self) -> None:
        while True:
            await self._more.wait()
            await trio.sleep(0.005)
            jobs, self._queued, self._more = self._queued, [], trio.Event()
            database = self._database
            if database is None or not jobs:
                continue
            database.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.set_result(job.run(database))
                job.finish()
            with suppress(apsw.Error), trio.CancelScope(shield=True):
                await trio.sleep(0.05)
                database.execute("COMMIT")


def tell_first(monkeypatch: Patch) -> None:
    monkeypatch.setattr(power_servers, "LoopWriter", TellsFirst)


def nothing(_: Patch) -> None:
    pass


@pytest.mark.parametrize(
    ("flaw", "receiving", "kinds"),
    [
        (synchronous("off"), Receiving, {"lost"}),
        (synchronous("off"), Receiving, {"corrupt", "unusable"}),
        (tell_first, Receiving, {"lost"}),
        (cursor_first, Receiving, {"ahead", "lost"}),
        (nothing, AcknowledgesFirst, {"lost"}),
        (nothing, Forgets, {"twice"}),
    ],
)
def test_a_path_with_a_flaw_does_not(
    monkeypatch: Patch, flaw: Callable[[Patch], None], receiving: type[Receiving], kinds: set[str]
) -> None:
    flaw(monkeypatch)
    seeds = (seed for seed in range(1, 400) if seed % 3)
    for seed in seeds:
        found = {finding.split(":")[0] for finding in run_path(seed, receiving=receiving).findings}
        if found & kinds:
            return
    pytest.fail(f"never found: {kinds}")
