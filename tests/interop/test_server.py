"""Programs under test: what they say, how they end, and that nothing is left of them."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from interop.contract import Contract
from interop.server import Server, ServerError
from tests.interop.test_site import made

pytestmark = pytest.mark.real

HONEST = """
import json, signal, sys
def say(event): print(json.dumps({"event": event}), flush=True)
print("whatever"); print("[1]")
signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("to stderr", file=sys.stderr, flush=True)
say("ready")
while True: signal.pause()
"""
CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"


@asynccontextmanager
async def server(folder: Path, program: str, *, ready_within: float = 20.0) -> AsyncIterator[Server]:
    site = made(folder)
    site.create()
    argv = (sys.executable, "-c", program, "{site}")
    contract = Contract(name="fake", folder=folder, argv=argv, ready_within=ready_within)
    async with trio.open_nursery() as nursery:
        one = Server(contract, site, nursery)
        try:
            yield one
        finally:
            await one.end()
        nursery.cancel_scope.cancel()


async def test_a_life(tmp_path: Path) -> None:
    async with server(tmp_path, HONEST) as one:
        await one.start()
        one.site.default_level = "full"
        await one.reload()
        assert json.loads(one.site.path.read_text())["default_level"] == "full"
        await one.reload()
        assert await one.stop() == 0
        await one.start()
        await one.kill()
        assert not one.running
        await one.restart()
        assert (one.starts, one.crashed) == (3, False)
        assert one.tail().count("to stderr") == 3
        assert one.tail(one.written) == ""


async def test_what_is_killed_is_the_whole_group(tmp_path: Path) -> None:
    async with server(tmp_path, CHILD + HONEST) as one:
        await one.start()
        with trio.fail_after(10):
            await one.kill()  # the child holds standard output: this waits for it


@pytest.mark.parametrize(
    ("program", "said"),
    [("raise SystemExit(3)", "has ended"), ("import time; time.sleep(600)", "has said nothing of the kind")],
)
async def test_not_ready(tmp_path: Path, program: str, said: str) -> None:
    async with server(tmp_path, program, ready_within=0.5) as one:
        with pytest.raises(ServerError, match=said):
            await one.start()


async def test_one_that_ends_by_itself_has_crashed(tmp_path: Path) -> None:
    async with server(tmp_path, 'print(\'{"event": "ready"}\', flush=True); input()') as one:
        await one.start()
        with pytest.raises(ServerError, match="has ended"):
            await one.reload()
        assert one._process is not None
        await one._process.wait()
        assert one.crashed
        with pytest.raises(ServerError, match="has ended by itself"):
            await one.stop()


async def test_no_such_program(tmp_path: Path) -> None:
    site = made(tmp_path)
    site.create()
    async with trio.open_nursery() as nursery:
        one = Server(Contract(name="fake", folder=tmp_path, argv=("./nothing", "{site}")), site, nursery)
        with pytest.raises(ServerError, match="cannot be started"):
            await one.start()
