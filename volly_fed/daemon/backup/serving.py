"""The running homeserver's part in a backup: a copy of its store, made while traffic goes on.

in: `backup` commands of the admin socket; out: how far the copy is, and in the end its name in the data folder, where
the command takes it away. One at a time. Never: goes on with a copy that nobody asks for any more, or leaves one there
for longer than until the next start.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from volly_fed import limits_backup
from volly_fed.daemon.admin.server import Arguments, Handler, text_argument
from volly_fed.daemon.backup.contents import STORE_COPY
from volly_fed.daemon.store.schema import MIGRATIONS
from volly_fed.daemon.store.store import Store
from volly_fed.errors import LocalError, StorageError


@attrs.define(eq=False)
class _Wanted:
    """One copy: who wants it, and how it is going."""

    token: str
    copied: int = 0
    total: int = 0
    failure: StorageError | None = None
    done: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def ask(self) -> None:
        """Somebody waits for it: it goes on."""
        self.scope.deadline = trio.current_time() + limits_backup.COPY_ABANDONED

    def told(self, copied: int, total: int) -> None:
        self.copied, self.total = copied, total


@attrs.define
class StoreCopies:
    """`run` makes the copies that `handlers` are asked for."""

    store: Store
    folder: Path
    _wanted: _Wanted | None = attrs.field(default=None, init=False)
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self) -> None:
        """Make what is asked for, one after the other, until cancelled."""
        await trio.to_thread.run_sync(self._remove)
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            wanted = self._wanted
            if wanted is not None and not wanted.done.is_set():
                await self._make(wanted)

    def handlers(self) -> Mapping[str, Handler]:
        """`backup`, with a `token` of the caller's own: again and again until it is done."""
        return {"backup": self._answer}

    async def _make(self, wanted: _Wanted) -> None:
        with wanted.scope:
            try:
                await trio.to_thread.run_sync(self._remove)
                await self.store.copy(self.folder / STORE_COPY, wanted.told)
            except StorageError as error:
                wanted.failure = error
            wanted.done.set()
        if not wanted.done.is_set():
            self._wanted = None

    async def _answer(self, arguments: Arguments) -> dict[str, Any]:
        token = text_argument(arguments, "token") or ""
        wanted = self._wanted
        if wanted is None or (wanted.token != token and wanted.done.is_set()):
            wanted = self._wanted = _Wanted(token)
            self._asked.set()
        if wanted.token != token:
            raise LocalError("another backup is under way\nnote: wait for it, or for half a minute if it was cut short")
        wanted.ask()
        with trio.move_on_after(limits_backup.COPY_ANSWER):
            await wanted.done.wait()
        if wanted.failure is not None:
            raise wanted.failure
        done = wanted.done.is_set()
        return {"done": done, "copied": wanted.copied, "total": wanted.total, "schema": len(MIGRATIONS)}

    def _remove(self) -> None:
        with suppress(OSError):  # what cannot be removed is in the way of the copy, which says so
            (self.folder / STORE_COPY).unlink(missing_ok=True)
