"""The commands that talk to a running homeserver, and those that change its identity whether it runs or not."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.dns_net import start_net
from volly_fed.cli.app import run
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon import material
from volly_fed.daemon.admin.client import socket_path
from volly_fed.daemon.admin.commands import commands
from volly_fed.daemon.admin.server import AdminServer, admin_listening
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.setup import create_homeserver
from volly_fed.errors import LocalError
from volly_fed.names import DomainName, fingerprint_text
from volly_fed.testnet.sites import make_site
from volly_fed.trust.policy import Policy

A, B = DomainName("a.test"), DomainName("b.test")


class Shell:
    """Runs commands on one configuration."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = config
        self._capsys = capsys

    @property
    def config(self) -> HomeserverConfig:
        return material.read_homeserver_config(self.path)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Both outputs of `volly-fed ARGUMENTS`, which must end with `code`."""
        self._capsys.readouterr()
        got = run([*arguments, "--config", str(self.path)])
        printed = self._capsys.readouterr()
        assert got == code, printed
        return printed.out + printed.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    async def beside(self, *arguments: str, code: int = 0) -> str:
        """The same while a server runs in this loop."""
        return await trio.to_thread.run_sync(lambda: self(*arguments, code=code))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    path = tmp_path / "volly-fed.toml"
    create_homeserver(path, {"server.domain": A, "federation.host": f"fed.{A}"})
    return Shell(path, capsys)


@asynccontextmanager
async def serving(shell: Shell, resolver: Resolver, reload: Callable[[], Any]) -> AsyncIterator[None]:
    async with admin_listening(socket_path(shell.config)) as listener, trio.open_nursery() as nursery:
        handlers = commands(resolver=resolver, reload=reload, ruling=Policy().level_of)
        await nursery.start(AdminServer(handlers).serve, listener)
        yield
        nursery.cancel_scope.cancel()


LEVELS = [{"domain": "b.test", "old": "full", "new": "metadata"}]


async def reloaded() -> dict[str, Any]:
    return {"identity": "I", "tls_spki_sha256": "T", "continuity": True, "ended": 2, "levels": LEVELS}


async def broken() -> dict[str, Any]:
    raise LocalError("nothing was reloaded: trust.toml is damaged\nnote: correct it")


@pytest.mark.parametrize("arguments", [["reload"], ["cache", "show"], ["cache", "flush"], ["cache", "flush", "b.test"]])
def test_without_a_running_homeserver_the_operator_is_told(shell: Shell, arguments: list[str]) -> None:
    said = shell(*arguments, code=2)
    assert "no homeserver runs with the data in" in said
    assert "note: start it with `volly-fed serve`" in said


async def test_the_cache_is_shown_and_flushed(shell: Shell, nursery: trio.Nursery) -> None:
    net = await start_net(nursery)
    resolver = net.resolver()
    async with serving(shell, resolver, reloaded):
        assert "Nothing is remembered" in await shell.beside("cache", "show")
        await resolver.discover(A)
        shown = await shell.beside("cache", "show")
        assert "_volly-fed._tcp.a.test" in shown
        assert "secure" in shown
        below = json.loads(await shell.beside("cache", "show", "a.test", "--json"))["entries"]
        everything = json.loads(await shell.beside("cache", "show", "--json"))["entries"]
        assert 0 < len(below) < len(everything)
        assert all(entry["name"].rstrip(".").endswith("a.test") for entry in below)
        assert all(0 < entry["expires_in"] <= 86400 for entry in below if entry["status"] == "secure")

        asked = net.server.queries
        assert "entries are forgotten" in await shell.beside("cache", "flush", "b.test")
        await resolver.discover(A)
        assert net.server.queries == asked, "what is about another domain stays"
        assert json.loads(await shell.beside("cache", "flush", "a.test", "--json")) == {"forgotten": len(below)}
        await resolver.discover(A)
        assert net.server.queries > asked
        await shell.beside("cache", "flush")
        assert "Nothing is remembered" in await shell.beside("cache", "show")


async def test_a_reload_says_what_is_shown_now_or_why_nothing_changed(shell: Shell, nursery: trio.Nursery) -> None:
    resolver = (await start_net(nursery)).resolver()
    async with serving(shell, resolver, reloaded):
        said = await shell.beside("reload")
        assert "identity       I" in said
        assert "links ended    2" in said
        assert "level          b.test: full -> metadata" in said
        assert "shown to peers" in said
    async with serving(shell, resolver, broken):
        said = await shell.beside("reload", code=2)
        assert "error: nothing was reloaded: trust.toml is damaged\nnote: correct it" in said


async def test_explain_warns_where_the_running_homeserver_has_not_read_the_file(
    shell: Shell, nursery: trio.Nursery
) -> None:
    resolver = (await start_net(nursery)).resolver()
    async with serving(shell, resolver, reloaded):
        found = json.loads(await shell.beside("trust", "explain", B, "--json"))
        assert found["running"] == {"level": "selective", "rule": 'default = "selective"'}
        assert "warning" not in await shell.beside("trust", "explain", B)

        shell.config.server.trust_file.write_text('[levels]\n"b.test" = "full"\n')
        said = await shell.beside("trust", "explain", B, code=1)
        assert "b.test is `full`, because levels has" in said
        assert 'still has it at `selective`, because default = "selective"\nnote: `volly-fed reload`' in said
        document = json.loads(await shell.beside("trust", "explain", B, "--json", code=1))
        assert (document["level"], document["running"]["level"]) == ("full", "selective")


def test_rotate_says_what_to_publish_and_where_else_to_change_it(shell: Shell) -> None:
    old = fingerprint_text(material.load_material(shell.config.server.data_dir).fingerprint)
    assert "No change is under way" in shell("keys", "rotate", "status")
    assert "no change of identity has been announced" in shell("keys", "rotate", "finish", code=2)

    said = shell("keys", "rotate", "start")
    following = shell.json("keys", "rotate", "status")["next"]
    assert f'TXT    "v=vf1 id={old} next={following}"' in said
    assert "keys rotate finish" in said
    assert "No homeserver runs here now." in said
    assert "homeserver_identity_next" not in said, "there are no edge nodes"
    assert "72.0 hours are left" in shell("keys", "rotate", "finish", code=2)
    assert f'next={following}"' in shell("dns", "print")

    said = shell("keys", "rotate", "finish", "--now")
    assert f'TXT    "v=vf1 id={following}"' in said
    assert old in said
    assert shell.json("keys", "show")["identity"] == following
    assert shell.json("keys", "rotate", "finish")["phase"] == "switched"
    assert "--force" in shell("keys", "rotate", "start", code=2)
    assert shell.json("keys", "rotate", "start", "--force")["identity"] == following


def test_rotate_names_the_edge_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = make_site(tmp_path, B, levels={}, edges=1, resolver=("127.0.0.1", 1), anchors="")
    shell = Shell(site.config, capsys)
    said = shell("keys", "rotate", "start")
    following = shell.json("keys", "rotate", "status")["next"]
    assert (
        f'edge-1), put into edge.toml below [edge], and restart it:\n  homeserver_identity_next = "{following}"' in said
    )
    said = shell("keys", "rotate", "finish", "--now")
    assert f'homeserver_identity = "{following}"' in said
