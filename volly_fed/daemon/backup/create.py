"""Making a backup: the files, a copy of the store, and one archive of them all under its final name, or nothing.

in: a configuration, a destination; out: the archive, and what is to be said of it. The store of a running homeserver
is copied by itself (`serving`), that of a stopped one here. Never: overwrites a file, shows or logs a key, leaves a
file under the final name that is not whole and on the disk.
"""

import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import attrs

from volly_fed import __version__
from volly_fed.daemon.admin import client
from volly_fed.daemon.backup.archive import digest_of, write_archive
from volly_fed.daemon.backup.contents import STORE_COPY, STORE_FILE, Contents, gather
from volly_fed.daemon.backup.manifest import STORE, Manifest, Member
from volly_fed.daemon.files import creating, explain, there_is
from volly_fed.daemon.store.copy import copy_database
from volly_fed.daemon.store.schema import open_unchanged
from volly_fed.errors import LocalError

Tell = Callable[[str, int, int], None]
"""(what is being done, bytes done, bytes in all); 0 of 0: not known."""


@attrs.frozen(kw_only=True)
class Made:
    """A backup that is on the disk. `running`: taken of a homeserver that ran."""

    manifest: Manifest
    running: bool
    left_out: tuple[str, ...]


def create(config_path: Path, destination: Path, now: int, tell: Tell = lambda *_: None) -> Made:
    """Make a backup of the homeserver of `config_path` at `destination`, which must not be there.

    Raises LocalError; there is nothing at `destination` then.
    """
    if there_is(destination) or destination.is_symlink():
        raise LocalError(f"will not overwrite {destination}\nnote: nothing was changed; choose another name")
    contents = gather(config_path)
    with _store(contents, tell) as (store, schema, running):
        sources: dict[str, BinaryIO] = {name: io.BytesIO(content) for name, content in contents.files.items()}
        if store is not None:
            sources[STORE] = store
        total = 2 * sum(source.seek(0, os.SEEK_END) for source in sources.values())
        progress = _Progress(partial(tell, "writing the backup"), total)
        manifest = Manifest(
            program=__version__,
            schema=schema,
            domain=contents.config.server.domain,
            identity=contents.identity,
            made_at=now,
            members=tuple(Member(name, *digest_of(source, progress)) for name, source in sources.items()),
        )
        with creating(destination) as target:
            write_archive(target, manifest, list(sources.values()), progress)
    return Made(manifest=manifest, running=running, left_out=contents.left_out)


@attrs.define
class _Progress:
    _tell: Callable[[int, int], None]
    _total: int
    _done: int = 0

    def __call__(self, more: int) -> None:
        self._done += more
        self._tell(self._done, self._total)


@contextmanager
def _store(contents: Contents, tell: Tell) -> Iterator[tuple[BinaryIO | None, int, bool]]:
    """A copy of the store, which nothing but the open file leads to any more; its version; whether it is in use."""
    data = contents.config.server.data_dir
    try:
        schema, running = _copy_running(contents, partial(tell, "copying the store")), True
    except client.NotRunning:
        schema, running = _copy_stopped(data), False
    if schema == 0:
        yield None, 0, running
        return
    copy = data / STORE_COPY
    try:
        with copy.open("rb") as file:
            copy.unlink()  # whatever happens from here on, it takes no room for long
            yield file, schema, running
    except OSError as error:
        raise LocalError(f"cannot read {copy}: {explain(error)}\nnote: look at that disk, and try again") from error


def _copy_running(contents: Contents, tell: Callable[[int, int], None]) -> int:
    """Let the running homeserver copy its store; the store's version. Raises NotRunning, LocalError."""
    token = secrets.token_hex(8)
    while True:
        answer = client.call(contents.config, "backup", token=token)
        tell(answer["copied"], answer["total"])
        if answer["done"]:
            return int(answer["schema"])


def _copy_stopped(data: Path) -> int:
    """Copy the store of a homeserver that does not run; its version, or 0 where there is none. Raises LocalError."""
    if not there_is(data / STORE_FILE):
        return 0
    copy = data / STORE_COPY
    database, schema = open_unchanged(data / STORE_FILE)  # from here on no homeserver can start
    try:
        copy.unlink(missing_ok=True)  # of a command that was killed
        if schema:
            copy_database(database, copy, lambda: shutil.disk_usage(data).free)
        return schema
    finally:
        database.close()
