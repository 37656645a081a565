"""Putting a backup back: unpacked beside its place, checked as a whole, and then given its name, or nothing.

in: an archive and a folder that is empty or not there; out: the files of a homeserver in it, whose configuration leads
to them wherever they are now. Nothing here starts anything, and what was acknowledged after the backup is not in it:
docs/operating.md, "Restore". Never: touches what exists, follows a name out of an archive, or calls a backup good that
a homeserver could not start with.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

import apsw
import attrs

from volly_fed.config.load import parse_homeserver
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.relocate import inside, paths_of, relocated, with_paths
from volly_fed.daemon import material
from volly_fed.daemon.backup.archive import DamagedBackup, read_manifest, read_members
from volly_fed.daemon.backup.create import Tell
from volly_fed.daemon.backup.manifest import CONFIG, DATA, FILES, STORE, TRUST, Manifest, Member
from volly_fed.daemon.files import Creation, explain, explained, open_new, sync_folder, there_is
from volly_fed.daemon.store.migrate import version_of
from volly_fed.daemon.store.schema import MIGRATIONS
from volly_fed.errors import LocalError

_READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_DATA_DIR, _TRUST_FILE = "server.data_dir", "server.trust_file"


Approve = Callable[[HomeserverConfig, Manifest], None]


@attrs.frozen(kw_only=True)
class Restored:
    """What was put back, and where. `moved`: options that name another path than before, with the one they had."""

    manifest: Manifest
    config: Path
    moved: Mapping[str, Path]


def read_backup(path: Path) -> Manifest:
    """What `path` says of itself, nothing else of it read. Raises LocalError."""
    with _opened(path) as file:
        return read_manifest(file, path)


def verify(path: Path, tell: Tell = lambda *_: None) -> Manifest:
    """Check all of a backup: digests, keys, configuration, policy and the store. Raises LocalError.

    It is unpacked for that, into a folder beside `path` that is gone afterwards.
    """
    with _opened(path) as file, explained(path), _scratch(path.absolute().with_name(".verify")) as folder:
        manifest = read_manifest(file, path)
        _unpack(file, path, manifest, folder, tell)
        check(folder, path, manifest)
        return manifest


def restore(
    path: Path,
    folder: Path,
    config_path: Path | None = None,
    *,
    approve: Approve = lambda *_: None,
    tell: Tell = lambda *_: None,
) -> Restored:
    """Put the backup `path` into `folder`, and its configuration there too, or at `config_path`.

    `approve` sees what was unpacked before it is put anywhere, and refuses it by a LocalError. Raises LocalError.
    """
    folder = folder.absolute()
    config = folder / CONFIG if config_path is None else config_path.absolute()
    _refuse_existing(folder, config)
    with _opened(path) as file, Creation() as new:
        manifest = read_manifest(file, path)
        new.folder(folder.parent)
        with explained(folder), _scratch(folder) as scratch:
            unpacked, arranged = scratch / "unpacked", scratch / "arranged"
            unpacked.mkdir(mode=0o700)
            _unpack(file, path, manifest, unpacked, tell)
            approve(check(unpacked, path, manifest), manifest)
            plan = _plan(unpacked, path, manifest, folder, config)
            _arrange(unpacked, arranged, plan)
            if config.parent == folder:
                with _synced(arranged / config.name) as target:
                    target.write(plan.text.encode())
            else:
                new.folder(config.parent)
                new.file(config, plan.text)
            _settle(arranged, folder)
            arranged.rename(folder)  # in the place of an empty one, or of nothing
            sync_folder(folder.parent)
    return Restored(manifest=manifest, config=config, moved=plan.moved)


def _refuse_existing(folder: Path, config: Path) -> None:
    nothing = "nothing was changed; name a folder that is empty, or that is not there yet"
    if there_is(folder) and not folder.is_dir():
        raise LocalError(f"will not overwrite {folder}\nnote: {nothing}")
    if there_is(folder) and any(folder.iterdir()):
        raise LocalError(f"will not restore into {folder}, which is not empty\nnote: {nothing}")
    if there_is(config):
        raise LocalError(f"will not overwrite {config}\nnote: nothing was changed; choose another --config")


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A private folder on the same disk as `beside`, gone afterwards."""
    folder = beside.with_name(f".{beside.name}.{secrets.token_hex(6)}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- reading -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {explain(error)}\nnote: check the path, and who owns it") from error
    with file:
        yield file


def _unpack(file: BinaryIO, path: Path, manifest: Manifest, folder: Path, tell: Tell) -> None:
    """All members below `folder`, called as in the archive, on the disk."""
    if shutil.disk_usage(folder).free < manifest.bytes:
        raise LocalError(f"there is no room for {manifest.bytes} bytes in {folder.parent}\nnote: free space there")
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        tell("reading the backup", done, manifest.bytes)

    with contextlib.ExitStack() as last:

        def begin(member: Member) -> Callable[[bytes], object]:
            last.close()
            target = folder / member.name
            target.parent.mkdir(mode=0o700, exist_ok=True)
            opened = last.enter_context(_synced(target))
            return opened.write

        read_members(file, path, manifest, begin, told)


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    with open_new(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def check(unpacked: Path, path: Path, manifest: Manifest) -> HomeserverConfig:
    """Whether a homeserver could start with what is in `unpacked`: its configuration, with paths that lead there.

    Raises DamagedBackup, which names `path`, and NewerSchema.
    """
    try:
        return _examine(unpacked, manifest)
    except NewerSchema:
        raise
    except LocalError as error:
        raise _damaged(path, str(error).partition("\n")[0].replace(f"{unpacked}{os.sep}", "")) from None


def _examine(unpacked: Path, manifest: Manifest) -> HomeserverConfig:
    data = unpacked / DATA
    config = parse_homeserver(_text(unpacked / CONFIG), CONFIG)
    at = {option: unpacked / FILES / option for option in paths_of(config)}
    at |= {_DATA_DIR: data, _TRUST_FILE: unpacked / TRUST}
    here = with_paths(config, {option: place for option, place in at.items() if there_is(place)})
    keys = material.load_material(data)
    material.load_next_identity(data)
    material.load_spare(data)
    material.load_continuity(data, 0.0)
    material.load_policy(here)
    material.load_edges(here)
    if (config.server.domain, keys.fingerprint) != (manifest.domain, manifest.identity):
        raise LocalError("its manifest names another domain or identity than its files do")
    if there_is(unpacked / STORE) != bool(manifest.schema):
        raise LocalError("its manifest and its files do not agree on whether there is a store")
    if manifest.schema:
        _check_store(unpacked / STORE, manifest.schema)
    return here


def _damaged(path: Path, why: str) -> DamagedBackup:
    note = "take another copy of it, or another one"
    return DamagedBackup(f"{path} is no backup that can be used: {why}\nnote: {note}")


class NewerSchema(LocalError):
    """The backup is of a newer version."""


def _check_store(store: Path, schema: int) -> None:
    if schema > len(MIGRATIONS):
        raise NewerSchema(
            f"the store in this backup has schema {schema}, and this version of volly-fed knows up to "
            f"{len(MIGRATIONS)}\nnote: install the newer version that made it"
        )
    try:
        database = apsw.Connection(f"file:{quote(str(store))}?immutable=1", flags=_READ_ONLY)
        try:
            version = version_of(database, store, len(MIGRATIONS))
            broken = [row[0] for row in database.execute("PRAGMA quick_check(1)") if row[0] != "ok"]
        finally:
            database.close()
    except apsw.Error as error:
        raise LocalError(f"its store is damaged: {error}") from None
    if version != schema or broken:
        raise LocalError("its store is damaged" if broken else "its store has another version than its manifest says")


def _text(config: Path) -> str:
    try:
        return config.read_text("utf-8")
    except UnicodeDecodeError:
        raise LocalError("its configuration is not a text") from None


# --- where everything goes -----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Plan:
    """Where each member but the configuration goes, below the folder; the configuration; and which paths changed."""

    places: Mapping[str, PurePosixPath]
    text: str
    moved: Mapping[str, Path]


def _plan(unpacked: Path, path: Path, manifest: Manifest, folder: Path, config: Path) -> _Plan:
    """A path that stays below the folder of the configuration stays as it is; any other leads to its file now."""
    text = _text(unpacked / CONFIG)
    named = paths_of(parse_homeserver(text, CONFIG))
    names = {member.name for member in manifest.members}
    usual = {_DATA_DIR: PurePosixPath(DATA), _TRUST_FILE: PurePosixPath(TRUST)}
    usual |= {option: PurePosixPath(FILES + option) for option in named if FILES + option in names}
    at = {option: inside(named[option]) or place for option, place in usual.items()}
    places = {name: at[_DATA_DIR] / name.removeprefix(DATA) for name in names if name.startswith(DATA)}
    places[TRUST] = at[_TRUST_FILE]
    for name in names - places.keys() - {CONFIG}:
        option = name.removeprefix(FILES)
        if option not in at:
            raise _damaged(path, f"no option leads to {name} in it")
        places[name] = at[option]
    changes = {option: str(place) for option, place in at.items() if inside(named[option]) is None}
    if config.parent != folder:
        changes = {option: str(folder / place) for option, place in at.items()}
    moved = {option: named[option] for option in changes}
    return _Plan(places=places, text=relocated(text, changes) if changes else text, moved=moved)


def _arrange(unpacked: Path, arranged: Path, plan: _Plan) -> None:
    arranged.mkdir(mode=0o700)
    for name, place in plan.places.items():
        target = arranged / place
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (unpacked / name).replace(target)  # an option may name a file in data_dir: that is in the archive twice


def _settle(arranged: Path, folder: Path) -> None:
    """On the disk; and where root restores, its owner's whose folder it goes into: the daemon must read it."""
    owner = (folder if folder.exists() else folder.parent).stat()
    for path in (arranged, *arranged.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        if path.is_dir():
            sync_folder(path)
