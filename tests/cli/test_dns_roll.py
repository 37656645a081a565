"""`dns publish` and `dns roll` as an operator runs them, with name servers on loopback."""

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.daemon.primary import KEY, FakePrimary
from volly_fed.cli.app import run
from volly_fed.config.records import records_of
from volly_fed.daemon import material
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.upkeep import roll_keys
from volly_fed.testing.world import World, WorldServer

OK, WARNINGS, FAILED, UNKNOWN = range(4)


@attrs.define
class Operator:
    """Somebody at a terminal; the name servers run in the test's own loop meanwhile."""

    config: Path
    capsys: pytest.CaptureFixture[str]

    async def __call__(self, *arguments: str, code: int = OK) -> str:
        """Standard output and standard error of `volly-fed dns ARGUMENTS`, which must end with `code`."""
        self.capsys.readouterr()
        words = ["dns", *arguments, "--config", str(self.config)]
        got = await trio.to_thread.run_sync(run, words)
        printed = self.capsys.readouterr()
        assert got == code, printed
        return printed.out + printed.err

    async def json(self, *arguments: str, code: int = OK) -> Any:
        """The JSON document."""
        self.capsys.readouterr()
        words = ["dns", *arguments, "--config", str(self.config), "--json"]
        got = await trio.to_thread.run_sync(run, words)
        printed = self.capsys.readouterr()
        assert got == code, printed
        return json.loads(printed.out)

    def published(self, *, spare: bool = True) -> list[str]:
        """The lines of `dns print`, with or without the spare's."""
        config = material.read_homeserver_config(self.config)
        digest = roll_keys.spare(config.server.data_dir)
        lines = [record.line() for record in records_of(config, material.load_published(config))]
        return [line for line in lines if spare or digest is None or digest.hex() not in line]


Make = Callable[..., Awaitable[Operator]]


@pytest.fixture
async def make(nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Make:
    """Files, a world with this domain at 127.0.0.1, and at 127.0.0.2 one that lags; a primary where it is asked for."""

    async def make(*, primary: FakePrimary | None = None, lags: bool = False) -> Operator:
        folder = tmp_path / "site"
        values: dict[str, object] = {"server.domain": "a.test", "federation.host": "fed.a.test"}
        create_homeserver(folder / "volly-fed.toml", values)
        operator = Operator(folder / "volly-fed.toml", capsys)
        first = _world(operator.published())
        second = _world(operator.published(spare=not lags))
        _, port = await nursery.start(WorldServer(first).serve)
        await nursery.start(WorldServer(second).serve, "127.0.0.2", port)
        (folder / "anchors.ds").write_text(first.anchor_text)
        dns = (
            f'[dns]\nresolvers = ["127.0.0.1:{port}"]\nanchors_file = "anchors.ds"\nauthoritative_port = {port}\n'
            "allow_private_addresses = true\n"
        )
        changes = {"[dns]\n": dns}
        if primary is not None:
            port = await nursery.start(primary.serve)
            (folder / "update.key").write_text(f"{KEY.name}:hmac-sha256:{'a' * 10}")
            (folder / "update.key").chmod(0o600)
            update = f'server = "127.0.0.1"\nport = {port}\ntsig_key_file = "update.key"\n'
            changes["[dns_update]\n"] = f"[dns_update]\n{update}"
        text = operator.config.read_text()
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        operator.config.write_text(text)
        return operator

    return make


def _world(lines: list[str]) -> World:
    world = World(seed=b"roll")
    world.zone("a.test", [*lines, "fed IN A 127.0.0.1", "@ IN NS ns2", "ns2 IN A 127.0.0.2"])
    world.sign()
    return world


@pytest.fixture
def primary(tmp_path: Path) -> FakePrimary:
    return FakePrimary(("a.test.",))


def give_key(operator: Operator) -> None:
    secret = base64.b64encode(KEY.secret).decode()
    (operator.config.parent / "update.key").write_text(f"{KEY.name}:hmac-sha256:{secret}\n")


async def test_publish_shows_the_difference_and_a_dry_run_leaves_it(make: Make, primary: FakePrimary) -> None:
    operator = await make(primary=primary)
    give_key(operator)
    shown = await operator("publish", "--rfc2136", "--dry-run")
    assert "; zone a.test.\n" in shown
    assert "+ _volly-fed._tcp.a.test. 3600 IN SRV 0 5 5223 fed.a.test." in shown
    assert shown.endswith("nothing was changed\n")
    assert primary.updates == []
    document = await operator.json("publish", "--rfc2136", "--ttl", "60")
    assert (document["changed"], document["removed"], len(document["added"])) == (True, [], 4)
    assert primary.lines() == set(document["added"])
    assert all(" 60 IN " in line for line in document["added"])
    assert "has all records as they must be" in await operator("publish", "--rfc2136")


async def test_publish_says_what_is_missing(make: Make, primary: FakePrimary) -> None:
    operator = await make()
    assert "note: set dns_update.server" in await operator("publish", "--rfc2136", code=FAILED)
    assert "--rfc2136" in await operator("publish", code=FAILED)


async def test_publish_with_a_damaged_key_file(make: Make, primary: FakePrimary) -> None:
    operator = await make(primary=primary)
    assert "not base64 of at least 16 bytes" in await operator("publish", "--rfc2136", code=FAILED)


async def test_the_whole_way_of_a_roll_by_hand(make: Make) -> None:
    operator = await make()
    started = await operator("roll", "start")
    assert "the TLSA records that must be published now" in started
    assert all(line in started for line in operator.published() if "TLSA" in line)
    status = await operator("roll", "status")
    assert "yes      ns2.a.test 127.0.0.2: shows the new record (TTL 3600)\n" in status, "a line each in a pipe"
    assert "phase: waiting" in status
    assert "wait: all servers must show the new record for 7200 s" in status
    document = await operator.json("roll", "status")
    assert [server["shows"] for server in document["servers"]] == [True, True]
    assert (document["validated"]["shows"], document["ready"], document["wait_seconds"]) == (True, False, 7200)
    refused = await operator.json("roll", "finish", code=FAILED)
    assert refused["until"] == document["ready_at"] is not None
    assert ["s left" in reason for reason in refused["refused"]] == [True]
    text = await operator("roll", "finish", code=FAILED)
    assert "refused: all servers must show" in text
    assert f"note: try again after {document['ready_at']}" in text


async def test_a_terminal_gets_a_table(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = await make()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert "new record" in (await operator("roll", "status")).splitlines()[0]


async def test_a_record_that_nobody_has_is_not_an_old_one(make: Make) -> None:
    operator = await make()
    text = operator.config.read_text()
    operator.config.write_text(text.replace("[federation]\n", "[federation]\nport = 5999\n"))
    status = await operator("roll", "status", code=WARNINGS)
    assert "no       validating resolver: NSEC shows that _5999._tcp.fed.a.test. does not exist" in status


async def test_a_server_that_lags_is_named(make: Make) -> None:
    operator = await make(lags=True)
    await operator("roll", "start")
    status = await operator("roll", "status", code=WARNINGS)
    assert "wait: ns2.a.test 127.0.0.2: does not show the new record" in status
    refused = await operator("roll", "finish", code=FAILED)
    assert "refused: ns2.a.test 127.0.0.2: does not show the new record" in refused


async def test_an_emergency_is_refused_where_nobody_looked_before(make: Make) -> None:
    operator = await make()
    data = operator.config.parent / "data"
    before = roll_keys.current(data)
    assert "s left" in await operator("roll", "finish", "--emergency", code=FAILED)
    assert roll_keys.current(data) == before


async def test_the_start_publishes_where_it_can(make: Make, primary: FakePrimary) -> None:
    operator = await make(primary=primary)
    give_key(operator)
    document = await operator.json("roll", "start")
    assert document["phase"] == "waiting"
    assert {line.removeprefix("+ ") for line in document["changed"]} == primary.lines()
    assert {update.question[0].name.to_text() for update in primary.updates} == {"a.test."}
    assert all(" TLSA " in line for line in primary.lines()), "a roll changes nothing else"


async def test_no_server_at_all_is_not_known(make: Make) -> None:
    operator = await make()
    text = operator.config.read_text()
    operator.config.write_text(text.replace('resolvers = ["127.0.0.1:', 'resolvers = ["127.0.0.3:'))
    assert "the zone's servers" in await operator("roll", "status", code=UNKNOWN)
