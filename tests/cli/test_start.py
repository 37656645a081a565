"""What `serve` and `edge` say when they cannot start: one message, the next step, nothing left behind."""

import gc
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volly_fed.cli.app import run
from volly_fed.daemon.files import write_text
from volly_fed.daemon.setup import create_edge, create_homeserver
from volly_fed.names import Fingerprint

Spoil = Callable[[Path], None]


def rewrite(name: str, pattern: str, replacement: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / name
        changed = re.sub(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
        assert changed != path.read_text()
        path.write_text(changed)

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def chmod(name: str, mode: int) -> Spoil:
    return lambda folder: (folder / name).chmod(mode)


def wrong_anchors(folder: Path) -> None:
    (folder / "anchors").write_text("no anchors\n")
    rewrite("volly-fed.toml", r"^# anchors_file = .*$", 'anchors_file = "anchors"')(folder)


def common(file: str) -> dict[str, tuple[Spoil, list[str]]]:
    return {
        "broken TOML": (rewrite(file, r"^\[log\]", "[log"), ["not valid TOML", "(at line "]),
        "unknown option": (rewrite(file, r"^# level", "leval"), ["log.leval: unknown key; did you mean `level`?"]),
        "missing configuration": (remove(file), ["does not exist", "name the file with --config"]),
        "readable key": (chmod("data/identity.key", 0o640), ["mode 0640", "note: run `chmod 600 "]),
        "readable TLS key": (chmod("data/tls.key", 0o604), ["mode 0604", "note: run `chmod 600 "]),
        "missing key": (remove("data/identity.key"), ["identity.key does not exist", "restore it from your backup"]),
        "damaged key": (rewrite("data/tls.key", "Check: .", "Check: x"), ["tls.key is damaged", "note: restore it"]),
    }


HOMESERVER = common("volly-fed.toml") | {
    "missing policy": (remove("trust.toml"), ["trust policy", "does not exist"]),
    "broken policy": (rewrite("trust.toml", '"selective"$', '"most"'), ["trust.toml: default"]),
    "missing anchors": (rewrite("volly-fed.toml", "^# anchors_file", "anchors_file"), ["anchors.ds does not exist"]),
    "resolver that may not be believed": (
        rewrite("volly-fed.toml", r"^# resolvers = .*$", 'resolvers = ["192.0.2.53"]\nvalidate = "resolver-ad"'),
        ["192.0.2.53", "which anybody on the way can forge", "note: use a resolver on a loopback address"],
    ),
    "resolver that does not validate": (
        rewrite("volly-fed.toml", r"^# resolvers = .*$", 'resolvers = ["127.0.0.1:1"]\nvalidate = "resolver-ad"'),
        ["127.0.0.1:1 cannot be trusted with validation", "note: use another resolver"],
    ),
    "file in the way of the admin socket": (
        lambda folder: write_text(folder / "data" / "admin.sock", ""),
        ["admin.sock is in the way of the admin socket", "note: move it away"],
    ),
    "wrong anchors": (wrong_anchors, ["anchors", "IN DS"]),
}
EDGE = common("edge.toml") | {
    "no TLS for devices": (
        rewrite("edge.toml", "^allow_plain_loopback", "# allow"),
        ["devices.tls_certificate: is needed"],
    )
}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of the loopback address that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def make_homeserver(folder: Path, **listen: str) -> str:
    values = {"server.domain": "a.test", "federation.host": "fed.a.test"}
    values |= {"federation.listen": "127.0.0.1:0", "edges.listen": "127.0.0.1:0"}
    values |= {f"{section}.listen": address for section, address in listen.items()}
    create_homeserver(folder / "volly-fed.toml", values)
    return str(folder / "volly-fed.toml")


def make_edge(folder: Path, listen: str = "127.0.0.1:0") -> str:
    values = {
        "edge.name": "edge-1",
        "edge.domain": "a.test",
        "edge.homeserver": "127.0.0.1:1",
        "edge.homeserver_identity": Fingerprint(bytes(32)),
        "edge.data_dir": "data",
        "devices.listen": listen,
        "devices.allow_plain_loopback": True,
    }
    create_edge(folder / "edge.toml", values)
    return str(folder / "edge.toml")


def refused(command: str, config: str, capsys: pytest.CaptureFixture[str], expected: list[str]) -> None:
    assert run([command, "--config", config]) == 2
    gc.collect()  # what was left open complains here, not in another test
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\nnote: ") == 1
    assert "Traceback" not in printed.err
    for text in expected:
        assert text in printed.err


@pytest.mark.parametrize("case", HOMESERVER)
def test_a_homeserver_that_cannot_start(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    spoil, expected = HOMESERVER[case]
    config = make_homeserver(tmp_path)
    spoil(tmp_path)
    refused("serve", config, capsys, expected)


@pytest.mark.parametrize("section", ["federation", "edges"])
def test_a_homeserver_whose_port_is_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], taken: int, section: str
) -> None:
    config = make_homeserver(tmp_path, **{section: f"127.0.0.1:{taken}"})
    expected = f"cannot listen on 127.0.0.1:{taken} ({section}.listen): address already in use"
    refused("serve", config, capsys, [expected, f"change {section}.listen"])


@pytest.mark.parametrize("case", EDGE)
def test_an_edge_that_cannot_start(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    spoil, expected = EDGE[case]
    config = make_edge(tmp_path)
    spoil(tmp_path)
    refused("edge", config, capsys, expected)


def test_an_edge_whose_port_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], taken: int) -> None:
    config = make_edge(tmp_path, f"127.0.0.1:{taken}")
    refused("edge", config, capsys, [f"cannot listen on 127.0.0.1:{taken} (devices.listen)"])
