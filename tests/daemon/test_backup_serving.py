"""The running homeserver's part in a backup: copies of its store for commands that come, wait, or go away."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from volly_fed import limits, limits_backup
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.backup.contents import STORE_COPY
from volly_fed.daemon.backup.serving import StoreCopies
from volly_fed.daemon.store.schema import MIGRATIONS
from volly_fed.daemon.store.store import OutboundRow, Store
from volly_fed.errors import LocalError, StorageError
from volly_fed.names import parse_domain

A = parse_domain("a.test")
NOW = 1_800_000_000.0
ROWS = [OutboundRow(bytes([n]) * 16, int(NOW) + 60, EnvelopeClass.SIGNAL, os.urandom(60_000)) for n in range(60)]


@asynccontextmanager
async def copies(folder: Path, free: int = 1 << 40) -> AsyncIterator[StoreCopies]:
    path = folder / "store.db"
    async with Store.open(path, clock=lambda: NOW, free=lambda _: free) as store, trio.open_nursery() as nursery:
        await store.enqueue_outbound(A, ROWS)
        made = StoreCopies(store, folder)
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def ask(made: StoreCopies, token: str) -> dict[str, Any]:
    return await made.handlers()["backup"]({"token": token})


async def wait(made: StoreCopies, token: str) -> dict[str, Any]:
    while not (answer := await ask(made, token))["done"]:
        pass
    return answer


async def free_for(made: StoreCopies, token: str) -> bool:
    try:
        await ask(made, token)
    except LocalError:
        return False
    return True


def there(folder: Path) -> bool:
    return (folder / STORE_COPY).exists()


async def test_who_asks_again_and_again_gets_the_copy(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with copies(tmp_path) as made:
        answer = await wait(made, "one")
        assert answer["copied"] == answer["total"] > sum(len(row.frame) for row in ROWS)
        assert answer["schema"] == len(MIGRATIONS)
        assert there(tmp_path)
        assert (await ask(made, "one"))["done"], "whose answer was lost asks once more"
        (tmp_path / STORE_COPY).unlink()
        await wait(made, "two")
        assert there(tmp_path)


async def test_one_at_a_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with copies(tmp_path) as made, trio.open_nursery() as nursery:
        nursery.start_soon(wait, made, "one")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalError, match="another backup is under way"):
            await ask(made, "two")


async def test_a_copy_that_nobody_asks_for_any_more_is_given_up(tmp_path: Path, mock_clock: MockClock) -> None:
    """The command was killed while the copy paused between two steps; the clock stands still until it is moved."""
    async with copies(tmp_path) as made:
        with trio.CancelScope() as command:
            command.cancel()
            await ask(made, "one")
        while not there(tmp_path):
            await trio.lowlevel.checkpoint()
        mock_clock.jump(limits_backup.COPY_ABANDONED + 1)
        while there(tmp_path):
            await trio.lowlevel.checkpoint()
        mock_clock.autojump_threshold = 0.0
        with trio.fail_after(10):
            while not await free_for(made, "two"):
                await trio.lowlevel.checkpoint()
        assert (await wait(made, "two"))["done"]


async def test_a_copy_that_fails_says_why_and_the_next_may_not(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with copies(tmp_path, limits.DISK_RESERVE + 100) as made:
        for token in ("one", "two"):
            with pytest.raises(StorageError, match="no room"):
                await wait(made, token)
            assert not there(tmp_path)


async def test_what_an_earlier_life_left_goes_at_the_start(tmp_path: Path) -> None:
    (tmp_path / STORE_COPY).write_text("left by a process that was killed")
    async with copies(tmp_path):
        with trio.fail_after(10):
            while there(tmp_path):
                await trio.lowlevel.checkpoint()
