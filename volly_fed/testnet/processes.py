"""Real processes of the test network: started, awaited until ready, stopped or killed, never left behind.

in: a command line and a log file; out: a running child whose ready line has been read.
Never: signals anything that it did not start, or returns before the child has ended.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from volly_fed.errors import LocalError

READY_WITHIN = 60.0
"""A limit for what is broken: with many processes on a busy machine, loading a program can take half a minute."""
STOP_WITHIN = 20.0
"""Longer than limits.DRAIN, which they may take."""
_TAIL = 2000


@attrs.define
class Child:
    """One `volly-fed` process. `ready` is the JSON of its ready line; `started_in` is seconds from spawn to it."""

    name: str
    arguments: Sequence[str]
    log: Path
    process: trio.Process
    ready: dict[str, Any]
    started_in: float

    async def stop(self) -> int:
        """SIGTERM, then wait; SIGKILL after STOP_WITHIN seconds. Returns the exit code. Safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
            self.thaw()  # a signal waits until its process runs
            with trio.move_on_after(STOP_WITHIN):
                await self.process.wait()
            if self.process.poll() is None:
                self.process.kill()
        return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it runs no further, and nobody is told."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT; nothing happens where it was not frozen."""
        self.process.send_signal(signal.SIGCONT)


def command(*arguments: str) -> list[str]:
    """The command line that runs this very installation of volly-fed."""
    return [sys.executable, "-m", "volly_fed", *arguments]


async def start(name: str, arguments: Sequence[str], log: Path, *, program: Sequence[str] | None = None) -> Child:
    """Start `volly-fed ARGUMENTS` and wait for its ready line (one JSON object on stdout).

    `program` is a command line that takes the same arguments and runs volly-fed in its own way.

    Raises LocalError, with the end of its log, when it ends or stays silent instead.
    """
    began = trio.current_time()
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            [*(program or command()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            process_group=0,  # Ctrl-C on a terminal reaches us alone, and we stop them in order
        )
    child = Child(name=name, arguments=arguments, log=log, process=process, ready={}, started_in=0.0)
    try:
        with trio.fail_after(READY_WITHIN):
            line = await _first_line(process)
        child.ready = json.loads(line)
    except (trio.TooSlowError, ValueError) as error:
        await _reap(child)
        tail = (await trio.Path(log).read_text(errors="replace"))[-_TAIL:]
        raise LocalError(f"{name} did not become ready; its log ends:\n{tail}") from error
    except BaseException:
        await _reap(child)
        raise
    child.started_in = trio.current_time() - began
    return child


@asynccontextmanager
async def running(children: list[Child]) -> AsyncIterator[list[Child]]:
    """Owns `children` (append to it inside the block): all are stopped on the way out, whatever the reason."""
    try:
        yield children
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for child in children:
                    nursery.start_soon(child.stop)


async def _first_line(process: trio.Process) -> bytes:
    stdout = process.stdout
    assert stdout is not None  # asked for with PIPE
    line = b""
    while not line.endswith(b"\n"):
        chunk = await stdout.receive_some(4096)
        if not chunk:
            raise ValueError("ended before its ready line")
        line += chunk
    return line


async def _reap(child: Child) -> None:
    with trio.CancelScope(shield=True):
        if child.process.poll() is None:
            child.process.kill()
        await child.process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
