"""`volly-fed backup` and `volly-fed restore` as they are typed: what they say and refuse, and no key anywhere."""

import json
import os
from pathlib import Path

import pytest
import trio

from tests.cli.test_running import Shell
from tests.cli.test_running import shell as shell
from volly_fed.cli.app import run
from volly_fed.cli.progress import progress
from volly_fed.config.relocate import relocated
from volly_fed.daemon import material
from volly_fed.daemon.store.store import Store
from volly_fed.daemon.wording import size
from volly_fed.names import fingerprint_text
from volly_fed.testing.world import World, WorldServer


@pytest.fixture
async def ran(shell: Shell) -> Shell:
    """A homeserver that has run once."""
    async with Store.open(shell.config.server.data_dir / "store.db"):
        pass
    return shell


def command(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Both outputs of a command that takes no --config, or another one."""
    capsys.readouterr()
    got = run(arguments)
    printed = capsys.readouterr()
    assert got == code, printed
    return printed.out + printed.err


async def test_a_backup_is_made_checked_and_restored(
    ran: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "b.tar"
    target.parent.mkdir()
    said = ran("backup", str(target))
    assert f"Backed up a.test to {target}:" in said
    assert f"The keys are in {ran.config.server.data_dir}, and now in this file too" in said
    checked = command(capsys, "backup", "verify", str(target))
    assert f"{target} is whole, a backup of a.test" in checked
    restored = command(capsys, "restore", str(target), "--dir", str(tmp_path / "two"), "--offline")
    assert "must not run any more" in restored
    assert "It knows nothing since 20" in restored
    assert f"volly-fed serve --config {tmp_path}/two/volly-fed.toml" in restored
    secrets = [path.read_text().splitlines()[3:-1] for path in ran.config.server.data_dir.glob("*.key")]
    for line in (line for lines in secrets for line in lines):
        assert line not in said + checked + restored


async def test_programs_get_one_document(ran: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "b.tar"
    made = ran.json("backup", "create", str(target))
    assert (made["domain"], made["running"], made["left_out"]) == ("a.test", False, [])
    assert json.loads(command(capsys, "backup", "verify", str(target), "--json"))["members"] == made["members"]
    place = str(tmp_path / "two")
    done = json.loads(command(capsys, "restore", str(target), "--dir", place, "--offline", "--json"))
    assert (done["published"], done["moved"]) == (None, {})
    assert done["config"] == f"{place}/volly-fed.toml"


def test_what_is_left_out_is_a_warning(shell: Shell, tmp_path: Path) -> None:
    (shell.config.server.data_dir / "a folder").mkdir()
    assert "left out" in shell("backup", str(tmp_path / "b.tar"), code=1)


def test_refusals_have_a_next_step(shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "b.tar"
    target.write_bytes(os.urandom(100))
    assert "note: nothing was changed; choose another name" in shell("backup", str(target), code=2)
    for arguments in (["backup", "verify", str(target)], ["restore", str(target), "--dir", str(tmp_path / "two")]):
        assert "is no backup that can be used" in command(capsys, *arguments, code=2)
        assert "cannot be read" in command(capsys, *(word.replace("b.tar", "c.tar") for word in arguments), code=2)
    assert "note: run this as the user who owns" in shell("backup", "/proc/b.tar", code=2) or os.geteuid() == 0


async def test_an_identity_that_is_not_published_any_more_is_refused(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    record = '_volly-fed IN TXT "v=vf1 id={}"'
    other = record.format("A" * 43)
    own = record.format(fingerprint_text(material.load_material(shell.config.server.data_dir).fingerprint))
    world = World()
    world.zone("a.test", [other])
    world.sign()
    host, port = await nursery.start(WorldServer(world).serve)
    anchors = tmp_path / "anchors.ds"
    anchors.write_text(world.anchor_text)
    text = relocated(shell.path.read_text(), {"dns.anchors_file": str(anchors)})
    shell.path.write_text(text.replace("[dns]", f'[dns]\nresolvers = ["{host}:{port}"]'))
    await shell.beside("backup", str(tmp_path / "b.tar"))

    async def restored(name: str, *options: str, code: int = 0) -> str:
        arguments = ["restore", str(tmp_path / "b.tar"), "--dir", str(tmp_path / name), *options]
        return await trio.to_thread.run_sync(lambda: command(capsys, *arguments, code=code))

    refused = await restored("two", code=2)
    assert "the identity was changed after it" in refused
    assert not (tmp_path / "two").exists()
    assert "another identity" in await restored("two", "--force", code=1)

    world.update("a.test", remove=[other], add=[own])
    assert "published  the same identity" in await restored("three")
    world.update("a.test", remove=[own])
    assert "published  " in await restored("four", code=1)


def test_progress_shows_after_a_while_and_only_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with progress(lambda: now[0]) as tell:
        tell("copying", 1, 2)
        now[0] = 60.0
        tell("copying", 1, 2)
        tell("copying", 0, 0)
    assert "copying" not in capsys.readouterr().err  # no terminal here


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (5000, "5 KiB"), (3 << 30, "3.0 GiB")])
def test_sizes_are_readable(count: int, text: str) -> None:
    assert size(count) == text
