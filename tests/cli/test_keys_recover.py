"""`volly-fed keys recover`: the best that can still be had without the identity key, and never a key too many."""

import json
from pathlib import Path

import pytest
import trio

from tests.cli.test_running import Shell
from tests.cli.test_running import shell as shell
from tests.cli.test_trust_identities import PEER, fill
from volly_fed.config.keys import KeyKind, parse_key
from volly_fed.daemon import material
from volly_fed.daemon.admin.client import socket_path
from volly_fed.daemon.admin.server import AdminServer, admin_listening
from volly_fed.daemon.backup.contents import STORE_FILE
from volly_fed.daemon.upkeep import recovery
from volly_fed.names import Fingerprint, fingerprint_text


def identity(shell: Shell) -> Fingerprint:
    return material.load_material(shell.config.server.data_dir).fingerprint


def path(shell: Shell, name: str = material.IDENTITY_KEY) -> Path:
    return shell.config.server.data_dir / name


def test_a_key_that_is_there_is_never_replaced(shell: Shell) -> None:
    before = path(shell).read_bytes()
    said = shell("keys", "recover")
    assert "there and whole: nothing was made" in said
    assert f"volly-fed trust accept-key a.test --fingerprint={fingerprint_text(identity(shell))}" in said
    assert path(shell).read_bytes() == before
    path(shell).chmod(0o644)
    assert "can be read or changed by other users" in shell("keys", "recover", "--yes", code=2)
    assert path(shell).read_bytes() == before


def test_without_being_asked_nothing_is_made(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    path(shell).unlink()
    assert "give --yes too" in shell("keys", "recover", "--json", code=2)
    monkeypatch.setattr("click.confirm", lambda _: False)
    said = shell("keys", "recover", code=2)
    assert "Nothing can prove that it is still you" in said
    assert "`volly-fed restore` is the better way" in said
    assert not path(shell).exists()


async def test_a_new_identity_comes_with_all_that_is_to_be_done(shell: Shell) -> None:
    await fill(path(shell, STORE_FILE))
    old = identity(shell)
    path(shell).unlink()
    done = json.loads(await shell.beside("keys", "recover", "--yes", "--json"))
    new = fingerprint_text(identity(shell))
    assert identity(shell) != old
    assert (done["how"], done["identity"], done["new_tls"], done["aside"]) == ("new", new, False, [])
    assert done["accept"] == f"volly-fed trust accept-key a.test --fingerprint={new}"
    assert PEER in done["peers"]
    assert [line for line in done["records"] if f"id={new}" in line]
    again = await shell.beside("keys", "recover")
    assert fingerprint_text(identity(shell)) == new
    for part in (done["accept"], str(PEER), f'homeserver_identity = "{new}"', f"id={new}"):
        assert part in again


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"-----BEGIN VOLLY-FED IDENTITY SEED-----\n"])
def test_what_is_damaged_is_kept(shell: Shell, damage: bytes) -> None:
    path(shell).write_bytes(damage)
    path(shell, material.TLS_KEY).unlink()
    path(shell, material.NEXT_TLS_CERTIFICATE).write_text("no certificate")
    kept = path(shell, material.NEXT_TLS_KEY).read_bytes()
    done = shell.json("keys", "recover", "--yes")
    assert (done["how"], done["new_tls"]) == ("new", True)
    aside = {Path(name).name.partition("-lost-")[0]: Path(name).read_bytes() for name in done["aside"]}
    assert aside["identity"] == damage
    assert kept in {Path(name).read_bytes() for name in done["aside"]}
    material.load_spare(shell.config.server.data_dir)
    identity(shell)
    assert shell.json("keys", "recover", "--yes")["how"] == "there"


def test_a_next_identity_with_a_statement_takes_the_place_of_the_lost_one(shell: Shell) -> None:
    shell("keys", "rotate", "start")
    following = material.load_next_identity(shell.config.server.data_dir)
    assert following is not None
    path(shell).unlink()
    done = shell.json("keys", "recover", "--yes")
    assert done["how"] == "announced"
    assert shell.json("keys", "rotate", "status")["phase"] == "switched"


def test_without_a_whole_statement_it_does_not(shell: Shell) -> None:
    shell("keys", "rotate", "start")
    path(shell).unlink()
    path(shell, material.CONTINUITY).write_bytes(b"damaged")
    done = shell.json("keys", "recover", "--yes")
    assert done["how"] == "new"
    assert len(done["aside"]) == 2  # the statement, and the key that it was for
    assert material.load_continuity(shell.config.server.data_dir, 0.0) == b""


def test_all_files_but_the_configuration_can_be_lost(shell: Shell) -> None:
    data = shell.config.server.data_dir
    for each in data.iterdir():
        each.unlink()
    data.rmdir()
    assert "nobody knows, for the store is lost too" in shell("keys", "recover", "--yes")
    assert not shell.config.server.data_dir.joinpath(STORE_FILE).exists()
    shell("keys", "show")


async def test_a_running_homeserver_writes_down_what_it_has_in_memory(shell: Shell) -> None:
    data, before = shell.config.server.data_dir, path(shell).read_bytes()
    key = material.load_material(data).identity
    handlers = recovery.handlers(data, lambda: key)
    async with admin_listening(socket_path(shell.config)) as listener, trio.open_nursery() as nursery:
        await nursery.start(AdminServer(handlers).serve, listener)
        for damage in (None, b"damaged"):
            path(shell).unlink()
            if damage is not None:
                path(shell).write_bytes(damage)
            assert "nothing is lost" in await shell.beside("keys", "recover")
            assert path(shell).read_bytes() == before
        assert "there and whole" in await shell.beside("keys", "recover")
        nursery.cancel_scope.cancel()
    parse_key(path(shell).read_text(), KeyKind.IDENTITY, "it")
