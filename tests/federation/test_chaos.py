"""Everything fails around a federation of real processes, and every promise is kept.

VOLLY_FED_CHAOS="SEED SEED …" runs these seeds instead, for three minutes each; `python -m bench.chaos` runs longer.
"""

import faulthandler
import os
import secrets
import sys

import pytest

from volly_fed.testing.chaos_ledger import Violation
from volly_fed.testnet.chaos import Chaos
from volly_fed.testnet.kills import Kills

pytestmark = [pytest.mark.real, pytest.mark.slow]
SECONDS = 180
SEEDS = [int(seed) for seed in os.environ.get("VOLLY_FED_CHAOS", "2").split()]
KILLS = 8


@pytest.fixture(autouse=True)
def minutes_are_meant() -> None:
    """No dump of all threads, as after the time that other tests have."""
    faulthandler.cancel_dump_traceback_later()


def tell(text: str) -> None:
    """Shown where a test fails."""
    sys.stdout.write(f"{text}\n")


def told(violations: list[Violation]) -> str:
    return "\n".join(str(violation) for violation in violations)


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_promise_is_kept(seed: int) -> None:
    tell(f"chaos: seed {seed} for {SECONDS} s; again: VOLLY_FED_CHAOS={seed}")
    verdict = await Chaos(seed=seed, seconds=SECONDS, rate=120, tell=tell).run()
    assert not verdict.violations, told(verdict.violations)
    assert verdict.faults >= SECONDS / 10
    assert verdict.counts["delivered"] > SECONDS * 20, "there was hardly any load"
    assert verdict.counts["accepted"] >= verdict.counts["delivered"]


async def test_homeservers_and_edges_are_killed_again_and_again() -> None:
    seed = secrets.randbelow(1 << 32)
    tell(f"kills: seed {seed}; again: python -m bench.kills --count {KILLS} --seed {seed}")
    verdict = await Kills(seed=seed, count=KILLS, rate=100, tell=tell).run()
    assert not verdict.violations, told(verdict.violations)
    assert sum(verdict.kills.values()) == KILLS
    assert verdict.delivers_in
    assert verdict.counts["delivered"] > KILLS * 20, "there was hardly any load"
