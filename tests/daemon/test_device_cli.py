"""`volly-fed device` against a domain on loopback; the commands run in threads, as their own event loops."""

import json
import os
import stat
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.daemon.channel_helpers import write_files
from tests.daemon.device_world import DeviceWorld
from tests.daemon.test_device_link import record
from volly_fed.channel import DEVICE
from volly_fed.cli import failure
from volly_fed.cli.app import run
from volly_fed.cli.options import shown
from volly_fed.client import DeviceKeys, parse_card
from volly_fed.client.mailbox import parse_device
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.tls import make_context
from volly_fed.names import DomainName
from volly_fed.testing.world import World, WorldServer
from volly_fed.wire.messages import Claimed

HOME = DomainName("home.test")


@pytest.fixture
async def world(nursery: trio.Nursery) -> DeviceWorld:
    made = DeviceWorld(HOME)
    await nursery.start(made.serve)
    return made


async def command(*arguments: str) -> int:
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(partial(run, list(arguments)))


def make(path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = ["device", "--home", str(path), "card", "--domain", HOME, "--name", name, "--json"]
    assert run(arguments) == failure.OK
    return str(json.loads(capsys.readouterr().out)["card"])


def test_the_first_card_makes_a_device_and_later_ones_keep_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make(tmp_path / "bob", "Bob", capsys)
    card = parse_card(uri)
    assert (card.name, card.domain) == ("Bob", HOME)
    assert stat.S_IMODE((tmp_path / "bob" / "device.toml").stat().st_mode) == 0o600
    assert run(["device", "--home", str(tmp_path / "bob"), "card"]) == failure.OK
    assert capsys.readouterr().out.strip() == uri
    assert run(["device", "--home", str(tmp_path / "bob"), "card", "--name", "Robert"]) == failure.OK
    assert parse_card(capsys.readouterr().out).name == "Robert"
    assert run(["device", "--home", str(tmp_path / "bob"), "card", "--domain", "x.test"]) == failure.FAILED
    assert run(["device", "--home", str(tmp_path / "none"), "card"]) == failure.FAILED
    assert "--domain" in capsys.readouterr().err


def test_a_card_is_shown_as_a_qr_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "Bob", capsys)
    assert run(["device", "--home", str(tmp_path), "card", "--qr"]) == failure.OK
    assert len(capsys.readouterr().out.splitlines()) > 50


def test_cards_for_somebody_can_be_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "Bob", capsys)
    home = ["device", "--home", str(tmp_path), "card"]
    assert run([*home, "--for", "plumber", "--scope", "Far.test"]) == failure.OK
    card = parse_card(capsys.readouterr().out)
    assert card.capability == DeviceHome.open(tmp_path).keys.card("plumber").capability
    assert DeviceHome.open(tmp_path).keys.passes[1].scopes == ("far.test",)
    assert run([*home, "--revoke", "plumber"]) == failure.OK
    assert len(DeviceHome.open(tmp_path).keys.passes) == 1
    assert run([*home, "--revoke", "plumber"]) == failure.FAILED


def test_keys_that_others_can_read_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "Bob", capsys)
    (tmp_path / "device.toml").chmod(0o644)
    assert run(["device", "--home", str(tmp_path), "card"]) == failure.FAILED
    assert "chmod 600" in capsys.readouterr().err


def test_a_damaged_device_says_so_and_quotes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "Bob", capsys)
    text = (tmp_path / "device.toml").read_text()
    (tmp_path / "device.toml").write_text(text.replace("version = 1", "version ="))
    assert run(["device", "--home", str(tmp_path), "card"]) == failure.FAILED
    seed = text.split("identity_seed = ")[1].split('"')[1]
    assert seed not in capsys.readouterr().err
    assert parse_device(text).domain == HOME


def test_contacts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alice = make(tmp_path / "alice", "Alice", capsys)
    make(tmp_path / "bob", "Bob", capsys)
    book = ["device", "--home", str(tmp_path / "bob"), "contacts"]
    assert run([*book, "add", alice, "--name", "Ally"]) == failure.OK
    assert run([*book, "list"]) == failure.OK
    assert "Ally" in capsys.readouterr().out
    assert run([*book, "list", "--json"]) == failure.OK
    assert json.loads(capsys.readouterr().out)["name"] == "Ally"
    assert run([*book, "add", "volly:junk"]) == failure.FAILED
    assert run([*book, "remove", "Ally"]) == failure.OK
    assert run([*book, "remove", "Ally"]) == failure.FAILED


async def test_send_and_listen(
    world: DeviceWorld, nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    card_a, card_b = make(alice, "Alice", capsys), make(bob, "Bob", capsys)
    assert run(["device", "--home", str(bob), "contacts", "add", card_a]) == failure.OK
    edge = f"ws://127.0.0.1:{world.port}"
    unclaimed = await command("device", "--home", str(alice), "--edge", edge, "send", card_b, "too early", "--json")
    assert unclaimed == failure.FAILED
    refusal = json.loads(capsys.readouterr().out)
    assert (refusal["accepted"], refusal["code"]) == (False, "UNDELIVERABLE")
    listening = trio.Event()
    codes: list[int] = []

    async def listen() -> None:
        codes.append(await command("device", "--home", str(bob), "--edge", edge, "listen", "--count", "2", "--json"))
        listening.set()

    nursery.start_soon(listen)
    with trio.fail_after(10):
        while not any(isinstance(message, Claimed) for _, message in world.wire):
            await world.changed("up")
    send = ["device", "--home", str(alice), "--edge", edge, "send", card_b]
    assert await command(*send, "hello \x1b[2J") == failure.OK
    (tmp_path / "data").write_bytes(b"\0\1")
    assert await command(*send, "--file", str(tmp_path / "data"), "--no-reply") == failure.OK
    with trio.fail_after(10):
        await listening.wait()
    assert codes == [failure.OK]
    printed = capsys.readouterr()
    assert f"listening as {parse_card(card_b).address}" in printed.err
    lines = [json.loads(line) for line in printed.out.splitlines() if line.startswith("{")]
    assert [(line["text"], line["data"], line["contact"]) for line in lines] == [
        ("hello \x1b[2J", None, "Alice"),
        (None, "AAE=", "Alice"),
    ]
    assert parse_card(lines[0]["reply"]).name == "Alice"
    assert lines[1]["reply"] is None


async def test_listen_ends_in_time_and_says_whether_it_had_enough(
    world: DeviceWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "Bob", capsys)
    device = ["device", "--home", str(tmp_path), "--edge", f"ws://127.0.0.1:{world.port}", "listen", "--timeout", "0.2"]
    assert await command(*device) == failure.OK
    assert await command(*device, "--count", "1") == failure.UNKNOWN


async def test_messages_for_people_are_one_line_and_do_not_steer_the_terminal(
    world: DeviceWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "Bob", capsys)
    stranger = DeviceKeys.generate(DomainName("far.test"), os.urandom, name="Mallory")
    keys = DeviceHome.open(tmp_path).keys
    world.put(stranger, keys, "one\ntwo\x1b[31m")
    edge = f"ws://127.0.0.1:{world.port}"
    assert await command("device", "--home", str(tmp_path), "--edge", edge, "listen", "--count", "1") == failure.OK
    out = capsys.readouterr().out
    assert "unknown" in out
    assert out.endswith("one�two�[31m\n")
    assert shown("\x9b\u202e") == "��"


async def test_an_edge_that_is_not_there_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "Bob", capsys)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    device = ["device", "--home", str(tmp_path), "--edge", f"ws://127.0.0.1:{port}"]
    assert await command(*device, "listen") == failure.FAILED
    error = capsys.readouterr().err
    assert error.startswith("error: cannot connect")
    assert "Traceback" not in error


async def test_the_edge_is_found_through_signed_dns(
    nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_files(tmp_path, name="signal.home.test")
    world = DeviceWorld(HOME, make_context(DEVICE, server=True, identity=files))
    await nursery.start(world.serve)
    names = World(seed=b"device")
    names.zone(
        "home.test",
        [
            f"_volly._tcp IN SRV 0 0 {world.port} signal",
            "signal IN A 127.0.0.1",
            f"_{world.port}._tcp.signal IN TLSA {record(files)}",
        ],
    )
    names.sign()
    host, port = await nursery.start(WorldServer(names).serve)
    (tmp_path / "anchors").write_text(names.anchor_text)
    card = make(tmp_path / "alice", "Alice", capsys)
    options = ["--resolver", f"{host}:{port}", "--anchors", str(tmp_path / "anchors"), "--allow-private-addresses"]
    code = await command("device", "--home", str(tmp_path / "alice"), *options, "send", card, "x", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert (code, answer.get("code")) == (failure.FAILED, "UNDELIVERABLE"), answer  # nobody listens
    code = await command("device", "--home", str(tmp_path / "alice"), *options[:-1], "send", card, "x")
    assert code != failure.OK
    assert "private" in capsys.readouterr().err
