"""`volly-fed dns print` and `dns check` as a process would run them, the latter against a signed zone on loopback."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import dns.zone
import pytest
import trio

from tests.cli.test_commands import CONFIG, Shell
from tests.cli.test_commands import shell as shell
from volly_fed.cli import findings as cli_findings
from volly_fed.cli.app import run
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.testing.world import World, WorldServer


def configure(path: Path, section: str, values: dict[str, str]) -> None:
    """Set options, written as TOML, in an annotated configuration."""
    lines = path.read_text().splitlines()
    for key, value in values.items():
        start = lines.index(f"[{section}]")
        at = next(at for at in range(start, len(lines)) if lines[at].startswith(f"# {key} = "))
        lines[at] = f"{key} = {value}"
    path.write_text("\n".join(lines) + "\n")


def test_print_takes_ttl_priority_and_weight(shell: Shell) -> None:
    shell("init", "a.test")
    options = ["--ttl", "300", "--priority", "10", "--weight", "0"]
    records = shell.json("dns", "print", *options)["records"]
    assert {record["ttl"] for record in records} == {300}
    assert records[0]["data"] == "10 0 5223 fed.a.test."
    assert "Invalid value" in shell("dns", "print", "--ttl", "0", code=2)


def test_print_the_opt_out(shell: Shell) -> None:
    shell("init", "a.test")
    text = "@ 1 IN SOA a. b. 1 1 1 1 1\n@ 1 IN NS a.\n" + shell("dns", "print", "--opt-out")
    zone = dns.zone.from_text(text, origin="a.test.", relativize=False)
    assert zone.find_rdataset("_volly-fed._tcp.a.test.", "SRV")[0].to_text() == "0 0 0 ."
    assert len(shell.json("dns", "print", "--opt-out")["records"]) == 1


def test_print_for_nsupdate_and_for_checking(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test", "--host", "fed.b.example")
    script = shell("dns", "print", "--format", "nsupdate")
    assert "zone a.test.\n" in script
    assert "zone b.example.\n" in script
    assert "server" not in script
    assert "zone example.\n" in shell("dns", "print", "--format", "nsupdate", "--zone", "a.test", "--zone", "example")
    values = {"server": '"192.0.2.53"', "zone": '"example"', "tsig_key_file": '"dns-update.key"'}
    configure(tmp_path / CONFIG, "dns_update", values | {"port": "5353"})
    assert "server 192.0.2.53 5353\n" in shell("dns", "print", "--format", "nsupdate")
    assert "delv +nosplit _5223._tcp.fed.b.example. TLSA\n" in shell("dns", "print", "--format", "check")


def test_the_group_lists_its_commands_without_importing_them(shell: Shell) -> None:
    assert "no such command" in shell("dns", "nothing", code=2).lower()


@attrs.define
class Net:
    """A world that is served in a thread of its own while commands run."""

    world: World
    port: int

    def configure(self, shell: Shell, folder: Path) -> None:
        """Make the files of a.test, publish its records, and let the configuration ask this server."""
        records = [line for line in shell("init", "a.test").splitlines() if line.startswith("_")]
        self.world.zone("a.test", [*records, "fed IN A 127.0.0.1", "@ IN NS ns2", "ns2 IN A 127.0.0.1"])
        self.world.sign(time.time())
        (folder / "anchors.ds").write_text(self.world.anchor_text)
        values = {
            "resolvers": f'["127.0.0.1:{self.port}"]',
            "anchors_file": '"anchors.ds"',
            "allow_private_addresses": "true",
            "authoritative_port": str(self.port),
        }
        configure(folder / CONFIG, "dns", values)


@pytest.fixture
def net() -> Iterator[Net]:
    world, ready, found = World(), threading.Event(), list[Any]()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            _, port = await nursery.start(WorldServer(world).serve)
            found.extend([port, trio.lowlevel.current_trio_token(), nursery.cancel_scope])
            ready.set()

    thread = threading.Thread(target=trio.run, args=[serve])
    thread.start()
    assert ready.wait(10)
    port, token, scope = found
    yield Net(world, port)
    trio.from_thread.run_sync(scope.cancel, trio_token=token)
    thread.join()


def test_check_of_what_print_says(shell: Shell, tmp_path: Path, net: Net) -> None:
    net.configure(shell, tmp_path)
    document = shell.json("dns", "check", code=1)
    assert (document["domain"], document["exit_code"]) == ("a.test", 1)
    wrong = [found for found in document["findings"] if found["verdict"] not in ("ok", "info")]
    assert [(found["subject"], found["reason"]) for found in wrong] == [
        ("zone a.test", "it has several name servers, but only one address")
    ]
    printed = shell("dns", "check", "a.test", code=1)
    assert "ok       _5223._tcp.fed.a.test TLSA: names the spare key\n" in printed
    assert shell.json("dns", "check", "nobody.test", code=2)["exit_code"] == 2


def test_check_of_a_key_that_is_not_published(shell: Shell, tmp_path: Path, net: Net) -> None:
    net.configure(shell, tmp_path)
    for name in ("tls-next.key", "tls-next.crt"):
        (tmp_path / "data" / name).unlink()
    reasons = [found["reason"] for found in shell.json("dns", "check", code=1)["findings"]]
    assert "there is no spare key" in reasons
    assert any("a key that is none of this server's" in reason for reason in reasons)


def test_check_where_nobody_answers_could_not_tell(shell: Shell, tmp_path: Path, net: Net) -> None:
    net.configure(shell, tmp_path)
    text = (tmp_path / CONFIG).read_text()
    (tmp_path / CONFIG).write_text(text.replace(f"127.0.0.1:{net.port}", "127.0.0.1:1"))
    assert shell.json("dns", "check", code=3)["exit_code"] == 3


def test_check_without_a_configuration(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "check", "--json"]) == 2
    assert "volly-fed init" in json.loads(capsys.readouterr().out)["note"]


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    cli_findings.print_findings([Finding(subject="[red]x", verdict=Verdict.FAILED, reason="why", note="do")])
    printed = capsys.readouterr().out
    assert "[red]x" in printed
    assert "note: do" in printed


async def test_patience_ends_with_the_work(autojump_clock: object, capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> list[Finding]:
        await trio.sleep(60)
        return []

    assert await cli_findings.with_patience("asking", work) == []
