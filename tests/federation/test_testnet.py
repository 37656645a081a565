"""The commands that people type: `volly-fed testnet demo` and `up`, and what is used against the latter.

Each runs in a session of its own and with a folder for temporary files of its own, so that what it leaves behind is
found: processes by their session, files by the folder.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.federation.harness import PATIENCE, eventually
from volly_fed.testnet.processes import command

pytestmark = pytest.mark.real
DEMO_WITHIN = 170.0
"""The whole of it may take three minutes, installation included."""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def surroundings(temporary: Path) -> dict[str, str]:
    """The environment: our `volly-fed` is found first, temporary files go to `temporary`."""
    binaries = Path(sys.executable).parent
    return {**os.environ, "TMPDIR": str(temporary), "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


def session(leader: int) -> list[int]:
    """The processes of the session that `leader` began."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def assert_nothing_is_left(process: trio.Process, temporary: Path) -> None:
    assert session(process.pid) == []
    assert list(temporary.iterdir()) == []


@contextmanager
def ending(process: trio.Process) -> Iterator[None]:
    """Whatever the test does, the session of `process` is gone afterwards."""
    try:
        yield
    finally:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)


async def start_up(temporary: Path, *arguments: str) -> trio.Process:
    """`volly-fed testnet up`."""
    return await trio.lowlevel.open_process(
        command("testnet", "up", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings(temporary),
        start_new_session=True,
    )


async def interrupt(process: trio.Process, number: signal.Signals) -> int:
    """As Ctrl-C on a terminal does: everything in the foreground gets the signal. The exit code."""
    os.killpg(process.pid, number)
    with trio.fail_after(PATIENCE):
        return await process.wait()


async def read_until(stream: trio.abc.ReceiveStream | None, last: str) -> str:
    """What `stream` says until `last` has come, to the end of that line."""
    assert stream is not None
    text = ""
    with trio.move_on_after(PATIENCE):
        while last not in text or not text.endswith("\n"):
            chunk = await stream.receive_some()
            if not chunk:
                break
            text += chunk.decode()
    assert last in text, text
    return text


async def shell(line: str, where: Path, temporary: Path) -> "subprocess.CompletedProcess[bytes]":
    """A line as somebody would type it."""
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            ["sh", "-c", line],
            cwd=where,
            env=surroundings(temporary),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )


async def test_the_demo_ends_with_one_json_object_and_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = await trio.lowlevel.open_process(
            command("testnet", "demo", "--json"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=surroundings(temporary),
            start_new_session=True,
        )
    with ending(process), trio.fail_after(DEMO_WITHIN):
        code = await process.wait()
    errors = (tmp_path / "err").read_text()
    assert code == 0, errors[-2000:]
    report = json.loads((tmp_path / "out").read_text())
    assert_nothing_is_left(process, temporary)
    assert (report["servers"], report["edges"]) == (3, 6)
    assert (report["lost"], report["duplicated"]) == (0, 0)
    assert report["delivered"] >= 5000 + 300 + 2
    assert report["tls_group"] == "X25519MLKEM768"
    assert report["tls_signature"] == "ML-DSA-65"
    assert report["tls_version"] == "TLSv1.3"
    assert "ML-DSA-65" in report["identity_algorithm"]
    assert "Ed25519" in report["identity_algorithm"]
    assert 0 < report["envelope_ms_p50"] <= report["envelope_ms_p99"]
    assert min(report[name] for name in ("discovery_ms_p50", "channel_ms_p50", "envelopes_per_s")) > 0
    assert 0 < report["presence_ms_p50"] <= report["presence_ms_p99"]
    assert 0 < report["presence_bytes_per_tick"] <= 1024
    refused = {(entry["from"], entry["to"]): entry["reason"] for entry in report["refused"]}
    assert "none" in refused["b.test", "c.test"]
    assert "metadata" in refused["a.test", "c.test"]
    assert report["queued_then_delivered"] == 1
    assert report["verdicts"]["a.test"] == "secure"
    assert report["verdicts"]["unsigned.test"] == "insecure"
    assert report["verdicts"]["forged.test"] == "bogus"
    for told in ("alice", "delivered", "Refused b.test -> c.test"):
        assert told in errors, "the narration goes to standard error"


async def test_up_says_how_to_use_it_that_works_and_ctrl_c_takes_it_down(tmp_path: Path, temporary: Path) -> None:
    process = await start_up(temporary)
    with ending(process):
        said = await read_until(process.stdout, "c.test: ")
        typed = [line.strip() for line in said.splitlines() if line.startswith("  volly-fed")]
        pages = [line.partition("http://")[2].strip(" /") for line in said.splitlines() if "http://" in line]
        for page in pages:
            host, _, port = page.partition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(f"GET / HTTP/1.1\r\nHost: {page}\r\n\r\n".encode())
                assert b" 200 " in await stream.receive_some()
        assert len(pages) == 3
        make_bob, listen, make_alice, send, from_outside, as_server = typed
        assert (await shell(make_bob, tmp_path, temporary)).returncode == 0
        assert (await shell(make_alice, tmp_path, temporary)).stdout.startswith(b"volly:")

        listening = f"{listen} --count 1 --timeout {PATIENCE:.0f} --json > heard 2> claimed"
        async with trio.open_nursery() as nursery:
            heard = await nursery.start(run_shell, listening, tmp_path, temporary)
            await eventually(lambda: (tmp_path / "claimed").read_text() or None, "bob is listening")
            sent = await shell(send, tmp_path, temporary)
            assert sent.stdout.startswith(b"accepted"), sent.stderr
            with trio.fail_after(PATIENCE):
                assert await heard.wait() == 0
        assert json.loads((tmp_path / "heard").read_text())["text"] == "hello"

        stranger = await shell(from_outside, tmp_path, temporary)
        assert stranger.returncode == 1, "nobody proved an identity, and that is said"
        for step in (b"SRV", b"TLSA", b"TCP to fed.b.test", b"X25519MLKEM768", b"skipped"):
            assert step in stranger.stdout
        server = await shell(f"{as_server} --json", tmp_path, temporary)
        assert server.returncode == 0, server.stdout
        steps = json.loads(server.stdout)["steps"]
        assert {step["verdict"] for step in steps} == {"ok", "secure"}
        assert "ML-DSA-65 + Ed25519 (composite) proved" in steps[-1]["reason"]
        config = as_server.partition(" --config ")[2]
        examined = json.loads((await shell(f"volly-fed doctor --config {config} --json", tmp_path, temporary)).stdout)
        wrong = [found for found in examined["findings"] if found["verdict"] not in ("ok", "info")]
        assert [found["reason"] for found in wrong] == ["it has a single name server"]
        assert examined["exit_code"] == 1

        code = await interrupt(process, signal.SIGINT)
        assert_nothing_is_left(process, temporary)
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.receive_some()
        assert code in (0, 130)


async def run_shell(
    line: str, where: Path, temporary: Path, *, task_status: trio.TaskStatus[trio.Process]
) -> "subprocess.CompletedProcess[bytes]":
    (where / "claimed").touch()
    return await trio.run_process(["sh", "-c", line], cwd=where, env=surroundings(temporary), task_status=task_status)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_up_cleans_up_when_it_is_stopped_before_everything_has_started(
    temporary: Path, number: signal.Signals
) -> None:
    process = await start_up(temporary, "--json")
    with ending(process):
        await read_until(process.stderr, "Starting homeservers")
        assert await interrupt(process, number) == 130
        assert_nothing_is_left(process, temporary)
