import fcntl
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dns.zone
import pytest

from volly_fed.cli.app import run
from volly_fed.names import Fingerprint, fingerprint_text

CONFIG = "volly-fed.toml"
FIRST = fingerprint_text(Fingerprint(b"\x01" * 32))
SECOND = fingerprint_text(Fingerprint(b"\x02" * 32))


class Shell:
    """`volly-fed` in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Standard output of `volly-fed ARGUMENTS`, which must end with `code`."""
        self.capsys.readouterr()
        got = run(arguments)
        printed = self.capsys.readouterr()
        assert got == code, printed.err
        return printed.out if code in {0, 1} else printed.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        self.capsys.readouterr()
        assert run([*arguments, "--json"]) == code
        return json.loads(self.capsys.readouterr().out)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("volly_fed.cli.options._SYSTEM", tmp_path / "etc")
    return Shell(capsys)


def test_keys_may_lie_elsewhere_than_the_configuration(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test", "--dir", "etc", "--data-dir", "lib")
    identity = shell.json("keys", "show", "--config", "etc/volly-fed.toml")["identity"]
    link = ["--homeserver", "h.test:1", "--homeserver-id", identity, "--dir", "edge", "--data-dir", "edge-lib"]
    shell("edge", "init", "--name", "e", "--domain", "a.test", *link)
    for folder, others in (("lib", "etc"), ("edge-lib", "edge")):
        assert (tmp_path / folder / "identity.key").exists()
        assert not list((tmp_path / others).rglob("*.key"))


def test_init_prints_records_that_a_zone_takes(shell: Shell) -> None:
    printed = shell("init", "Example.COM.", "--device-host", "signal.example.com")
    head = "@ 1 IN SOA a. b. 1 1 1 1 1\n@ 1 IN NS a.\n"
    start = printed.index("; records of")
    zone = dns.zone.from_text(head + printed[start : printed.index("Then run")], origin="example.com", relativize=False)
    assert zone.find_rdataset("_volly-fed._tcp.example.com.", "SRV")[0].to_text() == "0 5 5223 fed.example.com."
    assert zone.find_rdataset("_volly._tcp.example.com.", "SRV")[0].to_text() == "0 5 5222 signal.example.com."
    assert len(zone.find_rdataset("_5223._tcp.fed.example.com.", "TLSA")) == 2
    identity = shell.json("keys", "show")["identity"]
    assert zone.find_rdataset("_volly-fed.example.com.", "TXT")[0].to_text() == f'"v=vf1 id={identity}"'
    assert shell("dns", "print") == printed[start : printed.index("\nThen run")]


def test_init_with_options(shell: Shell, tmp_path: Path) -> None:
    document = shell.json(
        "init", "a.test", "--dir", "d", "--host", "h.a.test", "--port", "7001", "--edges-listen", "[::1]:7002"
    )
    assert document["config"] == "d/volly-fed.toml"
    assert [record["type"] for record in document["records"]] == ["SRV", "TXT", "TLSA", "TLSA"]
    text = (tmp_path / "d" / CONFIG).read_text()
    assert 'listen = "*:7001"' in text
    assert 'listen = "[::1]:7002"' in text
    assert shell("config", "check", "--config", "d/volly-fed.toml").startswith("d/volly-fed.toml: fine")


def test_init_refuses_to_overwrite(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "note: nothing was changed" in shell("init", "b.test", code=2)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_init_refuses_contradictions_and_bad_values(shell: Shell, tmp_path: Path) -> None:
    assert "give one of them" in shell("init", "a.test", "--dir", "d", "--config", "f", code=2)
    assert "same port" in shell("init", "a.test", "--listen", "*:7", "--edges-listen", "*:7", code=2)
    assert "--listen" in shell("init", "a.test", "--listen", "fed.a.test:1", code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_init_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import os, signal, sys\nfrom volly_fed.daemon.files import Creation\nfrom volly_fed.cli.app import run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "real, files = Creation.file, []\n"
        "def file(self, path, *rest):\n    real(self, path, *rest)\n    files.append(path)\n"
        f"    if len(files) == 4:\n        os.kill(os.getpid(), {int(number)})\n"
        "Creation.file = file\nsys.exit(run(['init', 'a.test', '--dir', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "d")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (130, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="mounts a small disk, which needs root")
def test_init_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "volly_fed", "init", "a.test", "--dir", str(tmp_path / "d")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "no space left on device\nnote: nothing was changed; make room" in done.stderr
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_dns_print_in_other_forms(shell: Shell) -> None:
    shell("init", "a.test")
    assert shell("dns", "print", "--format", "generic").count("TYPE52 \\# 35 030101") == 2
    by_format = json.loads(shell("dns", "print", "--format", "json"))
    assert by_format == shell.json("dns", "print")
    assert by_format["records"][2]["data"].startswith("3 1 1 ")


def test_the_configuration_is_found_in_the_usual_places(shell: Shell, tmp_path: Path) -> None:
    assert "error: configuration volly-fed.toml does not exist" in shell("keys", "show", code=2)
    for place, domain in (("etc", "c.test"), ("home/.config/volly-fed", "b.test"), (".", "a.test")):
        shell("init", domain, "--dir", place)
        assert shell.json("keys", "show")["name"] == domain


def test_edges_are_enrolled_listed_and_revoked(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    assert "No edge node is enrolled" in shell("edges", "list")
    assert "edge-1 is enrolled" in shell("edges", "enrol", "Edge-1", FIRST)
    again = shell.json("edges", "enrol", "edge-1", FIRST)
    assert again == shell.json("edges", "list")["edges"][0]
    assert (tmp_path / "data" / "edges.toml").stat().st_mode & 0o777 == 0o600
    assert "edges revoke edge-1" in shell("edges", "enrol", "edge-1", SECOND, code=2)
    assert "is enrolled as edge-1" in shell("edges", "enrol", "edge-2", FIRST, code=2)
    shell("edges", "enrol", "edge-2", SECOND)
    assert [edge["name"] for edge in shell.json("edges", "list")["edges"]] == ["edge-1", "edge-2"]
    assert "edge-1 is revoked" in shell("edges", "revoke", "edge-1")
    assert "no edge node edge-1 is enrolled" in shell("edges", "revoke", "edge-1", code=2)
    assert FIRST not in shell("edges", "list")
    assert shell.json("edges", "revoke", "edge-2")["revoked"]


@pytest.mark.parametrize(
    ("arguments", "folder", "reader"),
    [
        (["edges", "enrol", "edge-2", SECOND], "data", "edges.load_edges"),
        (["edges", "revoke", "edge-1"], "data", "edges.load_edges"),
        (["trust", "set", "b.test", "full"], ".", "trust.read_text"),
    ],
)
def test_changes_are_made_under_a_lock(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], folder: str, reader: str
) -> None:
    shell("init", "a.test")
    shell("edges", "enrol", "edge-1", FIRST)
    command, _, name = reader.partition(".")
    module = importlib.import_module(f"volly_fed.cli.{command}")
    real, asked = getattr(module, name), []

    def read(*given: Any) -> Any:
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
        asked.append(name)
        return real(*given)

    monkeypatch.setattr(module, name, read)
    shell(*arguments)
    assert asked == [name]


def test_edge_init_prints_the_command_that_enrols_it(shell: Shell, tmp_path: Path) -> None:
    home = shell.json("init", "a.test", "--dir", "home")["identity"]
    options = ["--name", "edge-1", "--domain", "a.test", "--homeserver", "127.0.0.1:5224", "--homeserver-id", home]
    document = shell.json("edge", "init", *options, "--dir", "edge", "--allow-plain-loopback")
    enrol = document["enrol"].split()[1:]
    assert "edge-1 is enrolled" in shell(*enrol, "--config", "home/volly-fed.toml")
    assert shell.json("keys", "show", "--config", "edge/edge.toml")["identity"] == document["identity"]
    assert shell("config", "check", "--config", "edge/edge.toml", code=1).startswith("warning: devices connect")
    assert "will not overwrite" in shell("edge", "init", *options, "--dir", "edge", code=2)
    printed = shell("edge", "init", *options, "--dir", "other", "--listen", "*:5222")
    assert "set devices.tls_certificate and devices.tls_key in other/edge.toml" in printed
    assert "give one of them" in shell("edge", "init", *options, "--dir", "d", "--config", "f", code=2)


def test_a_fingerprint_that_begins_with_a_hyphen_is_no_option(shell: Shell) -> None:
    hyphen = fingerprint_text(Fingerprint(b"\xf8" + b"\x01" * 31))
    assert hyphen.startswith("-")
    shell("init", "a.test")
    assert shell.json("edges", "enrol", "edge-1", hyphen)["fingerprint"] == hyphen
    options = ["--name", "edge-2", "--domain", "a.test", "--homeserver", "127.0.0.1:5224", "--homeserver-id", hyphen]
    shell("edge", "init", *options, "--dir", "edge", "--allow-plain-loopback")


def test_trust_is_set_explained_and_unset(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    head = (tmp_path / "trust.toml").read_text()
    assert "b.test: set to metadata" in shell("trust", "set", "B.test", "metadata")
    shell("trust", "set", "*.corp.test", "none")
    assert (tmp_path / "trust.toml").read_text().startswith(head)
    explained = shell("trust", "explain", "b.test")
    assert 'b.test is `metadata`, because levels has "b.test" = "metadata".' in explained
    assert shell.json("trust", "explain", "x.corp.test")["level"] == "none"
    assert shell.json("trust", "explain", "x.corp.test")["link"] is False
    assert shell.json("trust", "list")["levels"] == {"b.test": "metadata", "*.corp.test": "none"}
    assert "b.test" in shell("trust", "list")
    assert "It is `selective` now, because default" in shell("trust", "unset", "b.test")
    assert shell.json("trust", "set", "c.test", "full") == {
        "name": "c.test",
        "set": "full",
        "effective": {"level": "full", "rule": 'levels has "c.test" = "full"'},
    }
    assert "Invalid value" in shell("trust", "set", "c.test", "most", code=2)


def test_trust_says_when_another_rule_wins(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    (tmp_path / "trust.toml").write_text('deny = ["b.test"]\nallow = ["c.test"]\n')
    assert "It is `none` now, because deny has" in shell("trust", "set", "b.test", "full")
    listed = shell("trust", "list")
    assert "none (deny)" in listed
    assert "allow has c.test" in listed
    (tmp_path / "trust.toml").write_text("deny = 3\n")
    assert "trust.toml: deny" in shell("trust", "set", "b.test", "full", code=2)
    assert (tmp_path / "trust.toml").read_text() == "deny = 3\n"


def test_explain_names_the_file_the_entry_and_every_gate(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    (tmp_path / "trust.toml").write_text('deny = ["x.test"]\n[levels]\n"*.corp.test" = "metadata"\n')
    found = shell.json("trust", "explain", "a.b.corp.test")
    assert Path(found["file"]).name == "trust.toml"
    assert (found["level"], found["decided_by"], found["running"]) == ("metadata", 'levels."*.corp.test"', None)
    assert found["considered"] == [
        {"key": "deny", "decides": False, "why": "has no entry that covers it"},
        {"key": "allow", "decides": False, "why": "there is no such list, so it excludes nobody"},
        {"key": 'levels."a.b.corp.test"', "decides": False, "why": "there is no such entry"},
        {"key": 'levels."*.b.corp.test"', "decides": False, "why": "there is no such entry"},
        {"key": 'levels."*.corp.test"', "decides": True, "why": '= "metadata"'},
    ]
    gates = {(gate["gate"], gate["direction"]): gate["open"] for gate in found["gates"]}
    assert {way: gates["relay", way] for way in ("out", "in")} == {"out": False, "in": False}
    assert {gate for (gate, _), is_open in gates.items() if is_open} == {"dial", "accept", "establish", "show", "hear"}

    printed = shell("trust", "explain", "a.b.corp.test").splitlines()
    assert [line for line in printed if "decides" in line] == ['  levels."*.corp.test"    = "metadata"  <- decides']
    assert any("trust.toml, in the order" in line for line in printed)
    assert any(line.split()[0] == "establish" and line.endswith("yes: proven identity") for line in printed if line)
    assert sum(line.endswith("  no") for line in printed) == 3

    denied = shell.json("trust", "explain", "x.test")
    assert (denied["decided_by"], len(denied["considered"])) == ("deny", 1)
    assert not any(gate["open"] for gate in denied["gates"])
    (tmp_path / "trust.toml").write_text("[levels\n")
    said = shell("trust", "explain", "x.test", code=2)
    assert "trust.toml: not valid TOML" in said
    assert "line 1" in said
    assert "note: correct it; `volly-fed config example trust`" in said
    assert "Invalid value" in shell("trust", "explain", "*.corp.test", code=2)


def test_keys_show_nothing_secret(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    printed = shell("keys", "show")
    for name in ("identity.key", "tls.key", "tls-next.key"):
        body = (tmp_path / "data" / name).read_text().splitlines()[3:-1]
        assert not any(line in printed for line in body)
    assert {"tls_spki_sha256", "tls_next_spki_sha256"} <= set(shell.json("keys", "show"))


def test_config_example(shell: Shell) -> None:
    assert shell("config", "example").startswith("# volly-fed.toml")
    assert shell("config", "example", "edge").startswith("# edge.toml")
    assert shell.json("config", "example", "trust")["file"] == "trust"


def test_config_check_tells_everything_at_once(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    (tmp_path / "trust.toml").write_text('default = "x"\n')
    (tmp_path / "data" / "edges.toml").write_text("[a]\n")
    (tmp_path / "data" / "tls.key").chmod(0o640)
    with (tmp_path / CONFIG).open("a") as file:
        file.write('[x]\n[y]\n"listen" = 1\n')
    assert len(shell.json("config", "check", code=2)["problems"]) == 2
    text = (tmp_path / CONFIG).read_text().replace("[x]\n[y]\n", "").replace('"listen" = 1', "")
    anchored = text.replace('# anchors_file = "anchors.ds"', 'anchors_file = "none"')
    (tmp_path / CONFIG).write_text(
        anchored.replace("# allow_private_addresses = false", "allow_private_addresses = true")
    )
    found = shell.json("config", "check", code=2)
    assert len(found["problems"]) == 4, found
    assert len(found["warnings"]) == 2


def test_config_check_reads_the_key_for_updates(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    text = (tmp_path / CONFIG).read_text()
    update = '[dns_update]\nserver = "127.0.0.1"\ntsig_key_file = "update.key"\n'
    (tmp_path / CONFIG).write_text(text.replace("[dns_update]\n", update))
    assert "TSIG key file" in shell("config", "check", code=2) + shell.json("config", "check", code=2)["problems"][0]


def test_config_check_warns(shell: Shell, tmp_path: Path) -> None:
    shell("init", "a.test")
    (tmp_path / "data" / "tls-next.key").unlink()
    assert shell("config", "check", code=1) == (
        "warning: there is no next TLS key to roll over to\nvolly-fed.toml: usable; nothing was looked up in the DNS\n"
    )


def test_config_check_of_an_edge_with_tls(shell: Shell, tmp_path: Path) -> None:
    text = (
        f'[edge]\nname = "e"\ndomain = "a.test"\nhomeserver = "h:1"\nhomeserver_identity = "{FIRST}"\n'
        '[devices]\ntls_certificate = "c.pem"\ntls_key = "k.pem"\nallow_classical = true\n'
    )
    (tmp_path / "edge.toml").write_text(text)
    found = shell.json("config", "check", "--config", "edge.toml", code=2)
    assert len(found["problems"]) == 3
    assert "allow_classical" in found["warnings"][0]


def test_a_syntax_error_names_file_and_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("[server]\nx\n")
    for command in (["dns", "print"], ["trust", "list"], ["edges", "list"], ["keys", "show"]):
        assert f"error: {CONFIG}: not valid TOML: " in shell(*command, code=2)
    assert "at line 2" in shell.json("config", "check", code=2)["problems"][0]
