"""The store when the power fails: nothing acknowledged is lost, nothing is broken, nothing deleted comes back.

VOLLY_POWER_CRASHES=100000 makes so many crashes, VOLLY_POWER_SEED=1234 begins with that seed; each seed stands alone.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.daemon.power_work import crash_often
from volly_fed.daemon.store import inbound, schema, streams, writer
from volly_fed.daemon.store.chunks import Run
from volly_fed.daemon.store.rows import Position
from volly_fed.daemon.store.writer import Job

pytestmark = pytest.mark.slow
CRASHES_PER_SEED = 25
CRASHES = int(os.environ.get("VOLLY_POWER_CRASHES", "600"))
FIRST_SEED = int(os.environ.get("VOLLY_POWER_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + -(-CRASHES // CRASHES_PER_SEED))

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_store_survives_power_losses(tmp_path: Path, seed: int) -> None:
    assert await crash_often(tmp_path, seed, CRASHES_PER_SEED) == [], f"repeat with VOLLY_POWER_SEED={seed}"


async def test_a_seed_repeats_itself(tmp_path: Path, monkeypatch: Patch) -> None:
    synchronous("off")(monkeypatch)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(await crash_often(tmp_path / name, 1, CRASHES_PER_SEED))
    assert found[0] == found[1] != []


def synchronous(how: str) -> Callable[[Patch], None]:
    def apply(monkeypatch: Patch) -> None:
        configure = schema._configure

        def configure_less(database: apsw.Connection) -> None:
            configure(database)
            database.execute(f"PRAGMA synchronous = {how}")

        monkeypatch.setattr(schema, "_configure", configure_less)

    return apply


def acknowledge_first(monkeypatch: Patch) -> None:
    """What comes of the commit is of no interest to who waits for it."""

    def in_transaction(database: apsw.Connection, jobs: list[Job[Any]]) -> None:
        database.execute("BEGIN IMMEDIATE")
        for job in jobs:
            job.set_result(job.run(database))
        try:
            database.execute("COMMIT")
        except apsw.Error:
            with suppress(apsw.Error):
                database.execute("ROLLBACK")

    monkeypatch.setattr(writer, "_in_transaction", in_transaction)


def cursor_first(monkeypatch: Patch) -> None:
    """The cursor in a transaction before that of its envelopes."""
    put = streams.put_position

    def put_and_commit(database: apsw.Connection, at: Position, now: int) -> None:
        put(database, at, now)
        database.execute("COMMIT")
        database.execute("BEGIN IMMEDIATE")

    monkeypatch.setattr(inbound, "put_position", put_and_commit)


def cursor_last(monkeypatch: Patch) -> None:
    """The cursor in a transaction after that of its envelopes."""
    put, insert = streams.put_position, inbound._insert_new
    waiting: list[tuple[Position, int]] = []

    def put_later(_: apsw.Connection, at: Position, now: int) -> None:
        waiting[:] = [(at, now)]

    def insert_and_commit(database: apsw.Connection, runs: list[Run]) -> set[int]:
        skipped = insert(database, runs)
        database.execute("COMMIT")
        database.execute("BEGIN IMMEDIATE")
        put(database, *waiting.pop())
        return skipped

    monkeypatch.setattr(inbound, "put_position", put_later)
    monkeypatch.setattr(inbound, "_insert_new", insert_and_commit)


@pytest.mark.parametrize(
    ("apply", "kinds"),
    [
        (synchronous("off"), {"lost", "corrupt", "unusable"}),
        (synchronous("normal"), {"lost", "back"}),
        (acknowledge_first, {"lost", "back"}),
        (cursor_first, {"ahead"}),
        (cursor_last, {"behind"}),
    ],
)
async def test_a_store_with_a_flaw_does_not(
    tmp_path: Path, monkeypatch: Patch, apply: Callable[[Patch], None], kinds: set[str]
) -> None:
    apply(monkeypatch)
    missing = set(kinds)
    for seed in range(1, 100):
        (tmp_path / str(seed)).mkdir()
        findings = await crash_often(tmp_path / str(seed), seed, CRASHES_PER_SEED)
        missing -= {finding.split(":")[0] for finding in findings}
        if not missing:
            return
    pytest.fail(f"never found: {missing}")
