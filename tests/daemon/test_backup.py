"""Backups of a homeserver's files, and putting them back elsewhere: whole, checked, or not at all."""

import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from volly_fed.codepoints import EnvelopeClass
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.relocate import relocated
from volly_fed.daemon import material
from volly_fed.daemon.backup import archive
from volly_fed.daemon.backup.archive import DamagedBackup
from volly_fed.daemon.backup.contents import STORE_COPY
from volly_fed.daemon.backup.create import create
from volly_fed.daemon.backup.manifest import Manifest, Member, format_manifest
from volly_fed.daemon.backup.restore import NewerSchema, read_backup, restore, verify
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.store.store import OutboundRow, Store
from volly_fed.errors import LocalError
from volly_fed.names import parse_domain

A, B = parse_domain("a.test"), parse_domain("b.test")
NOW = 1_800_000_000
ROWS = [OutboundRow(bytes([n]) * 16, NOW + 3600, EnvelopeClass.SIGNAL, bytes([n]) * 500) for n in range(50)]


def make(folder: Path, **values: object) -> Path:
    """A homeserver's files in `folder`: the path of its configuration."""
    path = folder / "volly-fed.toml"
    given = {key.replace("__", "."): value for key, value in values.items()}
    create_homeserver(path, {"server.domain": A, "federation.host": f"fed.{A}", **given})
    return path


async def fill(config: Path) -> None:
    async with Store.open(data_of(config) / "store.db", clock=lambda: float(NOW)) as store:
        await store.enqueue_outbound(B, ROWS)


async def queued(config: Path) -> int:
    async with Store.open(data_of(config) / "store.db", clock=lambda: float(NOW)) as store:
        return store.outbound_depth(B)[0]


def read(config: Path) -> HomeserverConfig:
    return material.read_homeserver_config(config)


def data_of(config: Path) -> Path:
    return read(config).server.data_dir


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A homeserver that has run, stopped; the path of its configuration."""
    config = make(tmp_path / "one")
    trio.run(fill, config)
    (config.parent / "data" / "edges.toml").write_text("")
    return config


@pytest.fixture
def backup(site: Path, tmp_path: Path) -> Path:
    create(site, tmp_path / "b.tar", NOW)
    return tmp_path / "b.tar"


async def test_everything_comes_back_on_another_path(site: Path, tmp_path: Path) -> None:
    made = create(site, tmp_path / "b.tar", NOW)
    assert (made.running, made.left_out, made.manifest.domain, made.manifest.made_at) == (False, (), A, NOW)
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    assert verify(tmp_path / "b.tar") == read_backup(tmp_path / "b.tar") == made.manifest
    before = files(site.parent)
    done = restore(tmp_path / "b.tar", tmp_path / "deep" / "two")
    after = files(tmp_path / "deep" / "two")
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name] and "store" not in name] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep" / "two" / "data").iterdir()} == {0o600}
    assert material.load_material(data_of(done.config)).fingerprint == made.manifest.identity
    assert await queued(done.config) == await queued(site) == len(ROWS)
    assert sorted(os.listdir(tmp_path)) == ["b.tar", "deep", "one"], "something is left over"


def test_a_homeserver_that_never_ran_has_no_store(tmp_path: Path) -> None:
    made = create(make(tmp_path / "one"), tmp_path / "b.tar", NOW)
    assert made.manifest.schema == 0
    assert not (data_of(restore(tmp_path / "b.tar", tmp_path / "two").config) / "store.db").exists()


async def test_paths_that_lead_out_of_the_folder_lead_to_the_restored_files(tmp_path: Path) -> None:
    key = tmp_path / "secrets" / "update.key"
    key.parent.mkdir()
    key.write_text("a shared key")
    config = make(
        tmp_path / "one",
        server__data_dir=tmp_path / "elsewhere",
        server__trust_file="policy/trust.toml",
        dns__anchors_file="anchors.ds",
        dns_update__tsig_key_file="../secrets/update.key",
    )
    (tmp_path / "one" / "anchors.ds").write_text("anchors")
    await fill(config)
    create(config, tmp_path / "b.tar", NOW)
    done = restore(tmp_path / "b.tar", tmp_path / "two")
    found = read(done.config)
    assert found.server.data_dir == tmp_path / "two" / "data"
    assert found.server.trust_file == tmp_path / "two" / "policy" / "trust.toml"
    assert found.dns.anchors_file == tmp_path / "two" / "anchors.ds"
    assert found.dns_update.tsig_key_file == tmp_path / "two" / "files" / "dns_update.tsig_key_file"
    assert found.dns_update.tsig_key_file.read_text() == "a shared key"
    assert done.moved.keys() == {"server.data_dir", "dns_update.tsig_key_file"}
    assert "# Keys, edges.toml and the store." in done.config.read_text(), "the comments are gone"
    assert await queued(done.config) == len(ROWS)


async def test_the_configuration_can_lie_elsewhere(backup: Path, tmp_path: Path) -> None:
    done = restore(backup, tmp_path / "var", tmp_path / "etc" / "fed.toml")
    assert done.config == tmp_path / "etc" / "fed.toml"
    assert data_of(done.config) == tmp_path / "var" / "data"
    assert read(done.config).server.trust_file == tmp_path / "var" / "trust.toml"
    assert not (tmp_path / "var" / "volly-fed.toml").exists()
    assert await queued(done.config) == len(ROWS)
    inside = restore(backup, tmp_path / "two", tmp_path / "two" / "fed.toml")
    assert (inside.moved, data_of(inside.config)) == ({}, tmp_path / "two" / "data")


def test_a_configuration_in_a_form_of_its_own_is_written_anew() -> None:
    text = 'server = {domain = "a.test", data_dir = "/x"}\nfederation.host = "fed.a.test"\n[limits]\nqueue_bytes = 7\n'
    made = relocated(text, {"server.data_dir": "data", "server.trust_file": 'a "b".toml'})
    assert 'data_dir = "data"' in made
    assert r'trust_file = "a \"b\".toml"' in made
    assert "queue_bytes = 7" in made
    assert "[federation]" in made


def test_what_is_no_file_of_ours_is_named(site: Path, tmp_path: Path) -> None:
    data = data_of(site)
    (data / "big.bin").write_bytes(bytes((1 << 20) + 1))
    (data / "a folder").mkdir()
    (data / "notes.txt").write_text("kept")
    (data / "store-schema-5.db").write_text("old")
    site.write_text(site.read_text().replace("# anchors_file", "anchors_file"))
    made = create(site, tmp_path / "b.tar", NOW)
    assert len(made.left_out) == 3
    assert all(any(word in line for line in made.left_out) for word in ("big.bin", "a folder", "anchors_file"))
    assert "data/notes.txt" in {member.name for member in made.manifest.members}
    assert read(restore(tmp_path / "b.tar", tmp_path / "two").config).dns.anchors_file is not None


def test_an_old_store_is_backed_up_as_it_is(site: Path, tmp_path: Path) -> None:
    with apsw.Connection(str(data_of(site) / "store.db")) as database:
        database.pragma("user_version", 5)
    database.close()
    assert create(site, tmp_path / "b.tar", NOW).manifest.schema == 5
    assert verify(tmp_path / "b.tar").schema == 5


# --- refusals ------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(site: Path, backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(LocalError, match="will not overwrite"):
        create(site, backup, NOW)
    assert backup.read_bytes() == before
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(LocalError, match="will not overwrite"):
        create(site, tmp_path / "dangling", NOW)
    with pytest.raises(LocalError, match="not empty"):
        restore(backup, site.parent)
    with pytest.raises(LocalError, match="will not overwrite"):
        restore(backup, backup)
    with pytest.raises(LocalError, match="will not overwrite"):
        restore(backup, tmp_path / "two", site)
    assert not (tmp_path / "two").exists()
    (tmp_path / "empty").mkdir()
    assert restore(backup, tmp_path / "empty").config.exists()


def test_what_is_broken_is_not_backed_up(site: Path, tmp_path: Path) -> None:
    (data_of(site) / "identity.key").write_text("no key")
    with pytest.raises(LocalError, match="damaged"):
        create(site, tmp_path / "b.tar", NOW)
    assert not (tmp_path / "b.tar").exists()


async def test_a_store_in_use_without_an_admin_socket_is_not_copied(site: Path, tmp_path: Path) -> None:
    async with Store.open(data_of(site) / "store.db"):
        with pytest.raises(LocalError, match="in use"):
            create(site, tmp_path / "b.tar", NOW)


@pytest.mark.parametrize("cut_short", [KeyboardInterrupt, LocalError])
def test_a_backup_that_is_cut_short_leaves_nothing(site: Path, tmp_path: Path, cut_short: type[BaseException]) -> None:
    seen = []

    def tell(what: str, done: int, total: int) -> None:
        seen.append(what)
        if what == "writing the backup" and done > total // 2 + 1000:
            raise cut_short

    with pytest.raises(cut_short):
        create(site, tmp_path / "b.tar", NOW, tell)
    assert sorted(os.listdir(tmp_path)) == ["one"]
    assert STORE_COPY not in os.listdir(data_of(site))
    create(site, tmp_path / "b.tar", NOW)


_HALF = """
import sys
from pathlib import Path
from volly_fed.daemon.backup.create import create
def tell(what, done, total):
    if what == "writing the backup" and done > total // 2 + 1000:
        print("half", flush=True)
        sys.stdin.read()
create(Path(sys.argv[1]), Path(sys.argv[2]), 1, tell)
"""


@pytest.mark.real
def test_a_backup_that_is_killed_leaves_nothing_under_its_name(site: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    arguments = [sys.executable, "-c", _HALF, str(site), str(target)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        assert [name for name in os.listdir(tmp_path) if name.startswith(".b.tar.")], "it is not in the middle"
        child.kill()
    assert not target.exists()
    assert STORE_COPY not in os.listdir(data_of(site)), "a copy of the store is left"
    create(site, target, NOW)
    verify(target)


def test_a_refused_restore_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    def refuse(config: HomeserverConfig, manifest: Manifest) -> None:
        assert config.server.data_dir.exists()
        assert manifest.domain == A
        raise LocalError("no")

    before = sorted(os.listdir(tmp_path))
    with pytest.raises(LocalError, match="no"):
        restore(backup, tmp_path / "x" / "two", tmp_path / "etc" / "fed.toml", approve=refuse)
    damaged = bytearray(backup.read_bytes())
    damaged[-3000] ^= 1  # in the last pages of the store
    backup.write_bytes(damaged)
    for attempt in (lambda: verify(backup), lambda: restore(backup, tmp_path / "two")):
        with pytest.raises(DamagedBackup, match=r"store\.db is damaged"):
            attempt()
    assert sorted(os.listdir(tmp_path)) == before


def rewritten(backup: Path, change: Callable[[dict[str, bytes]], None], **fields: Any) -> Path:
    """The archive with other files, and the digests of those: what somebody could make who means harm."""
    with tarfile.open(backup, "r:") as tar:
        content = {member.name: tar.extractfile(member) for member in tar}
    with tarfile.open(backup, "r:") as tar:
        found = {name: tar.extractfile(name) for name in content if name != "manifest.json"}
        plain = {name: stream.read() for name, stream in found.items() if stream is not None}
    change(plain)
    sources = []
    members = []
    for name, data in plain.items():
        path = backup.with_name("member")
        path.write_bytes(data)
        sources.append(path.open("rb"))
        members.append(Member(name, *archive.digest_of(sources[-1], lambda _: None)))
        path.unlink()
    old = read_backup(backup)
    values = {"program": old.program, "schema": old.schema, "domain": old.domain, "identity": old.identity}
    made = Manifest(**{**values, "made_at": old.made_at, "members": tuple(members), **fields})
    assert format_manifest(made)
    target = backup.with_name("hostile.tar")
    with target.open("wb") as file:
        archive.write_archive(file, made, sources, lambda _: None)
    for source in sources:
        source.close()
    return target


def spoil_store(plain: dict[str, bytes]) -> None:
    store = bytearray(plain["data/store.db"])
    store[8192 * 3 : 8192 * 4] = bytes(8192)
    plain["data/store.db"] = bytes(store)


@pytest.mark.parametrize(
    ("change", "fields", "why"),
    [
        (lambda plain: plain.update({"volly-fed.toml": b"\xff"}), {}, "not a text"),
        (lambda plain: plain.update({"volly-fed.toml": b"[server]\nx = 1"}), {}, "is missing"),
        (lambda plain: plain.update({"data/identity.key": b"no"}), {}, "damaged"),
        (lambda plain: plain.update({"trust.toml": b"="}), {}, "TOML"),
        (lambda plain: plain.update({"data/continuity.cbor": b"\0"}), {}, "damaged"),
        (lambda plain: plain.update({"data/store.db": b"no database"}), {}, "store is damaged"),
        (spoil_store, {}, "store is damaged"),
        (lambda plain: plain.pop("data/store.db"), {}, "do not agree"),
        (lambda plain: plain.update({"files/log.level": b""}), {}, "no option leads to"),
        (lambda _: None, {"domain": B}, "another domain or identity"),
        (lambda _: None, {"schema": 0}, "do not agree"),
        (lambda _: None, {"schema": 3}, "another version"),
    ],
)
def test_what_no_homeserver_could_start_with_is_refused(
    backup: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], fields: dict[str, Any], why: str
) -> None:
    target = rewritten(backup, change, **fields)
    with pytest.raises(DamagedBackup, match=why) as refused:
        restore(target, tmp_path / "two")
    assert ".two" not in str(refused.value), "the name of a folder that is gone"
    assert not (tmp_path / "two").exists()


def test_a_newer_store_wants_the_newer_program(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(NewerSchema, match=r"schema 99(?s:.*)install the newer version"):
        restore(rewritten(backup, lambda _: None, schema=99), tmp_path / "two")
