"""One homeserver under test: a program that is started, told things by signals, and listened to.

in: a Contract, a Site; out: a running program, what it says on standard output, its standard error as a file.
Never: leaves a process behind: whatever it has started is killed, as a group, when the owner's block ends.
"""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from interop.contract import Contract
from interop.site import Site
from volly_fed.errors import LocalError

RELOADED_WITHIN: Final = 10.0
STOP_WITHIN: Final = 20.0
"""The contract's, from SIGTERM to the end."""
_TAIL: Final = 6000
_LINE: Final = 1 << 16


class ServerError(LocalError):
    """A program that does not keep to the contract."""


@attrs.define(eq=False)
class Server:
    """`start` it and `end` it; a Server may be started again after `kill` or `stop`. `nursery` listens to it."""

    contract: Contract
    site: Site
    nursery: trio.Nursery
    starts: int = attrs.field(default=0, init=False)
    _process: trio.Process | None = attrs.field(default=None, init=False)
    _told: bool = attrs.field(default=False, init=False)
    _said: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    _silent: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set when nobody holds its standard output any more: all its processes are gone."""
    _change: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def domain(self) -> str:
        """Whom it speaks for."""
        return self.site.domain

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def crashed(self) -> bool:
        """Whether it has ended, and nobody had told it to."""
        return self._process is not None and not self._told and self._process.poll() is not None

    @property
    def stderr(self) -> Path:
        """What it has written to standard error, over all its starts."""
        return self.site.folder / "stderr.log"

    @property
    def written(self) -> int:
        """How many bytes that are."""
        return self.stderr.stat().st_size if self.stderr.exists() else 0

    def tail(self, start: int = 0) -> str:
        """The end of that, of what was written after its first `start` bytes."""
        return self.stderr.read_bytes()[start:][-_TAIL:].decode(errors="replace") if self.written else ""

    async def start(self) -> None:
        """Start it with its site as that is now, and wait for the ready line. Raises ServerError."""
        assert not self.running, "it runs already"
        self.site.write()
        self._said, self._silent, self._told = [], trio.Event(), False
        try:
            with self.stderr.open("ab") as errors:
                process = await trio.lowlevel.open_process(
                    self.contract.command(self.site.path),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self.contract.folder,
                    env={**os.environ, **self.contract.environment},
                    process_group=0,  # Ctrl-C on a terminal reaches the runner alone; and all of it can be killed
                )
        except OSError as error:
            raise ServerError(f"{self.contract.name} cannot be started: {error}\nnote: correct `argv`") from error
        self._process = process
        self.starts += 1
        self.nursery.start_soon(self._listen, process, self._silent)
        await self._event("ready", self.contract.ready_within)

    async def reload(self) -> None:
        """Write the site as it is now, SIGHUP, and wait until it says that this counts. Raises ServerError."""
        await trio.to_thread.run_sync(self.site.write)
        before = self._count("reloaded")
        self._signal(signal.SIGHUP)
        await self._event("reloaded", RELOADED_WITHIN, before + 1)

    async def stop(self) -> int:
        """SIGTERM, and its exit code. Raises ServerError when it does not end in time."""
        process = self._running()
        self._told = True
        process.terminate()
        with trio.move_on_after(STOP_WITHIN) as waiting:
            await self._silent.wait()
            return await process.wait()
        assert waiting.cancelled_caught
        raise ServerError(f"{self.contract.name} has not ended within {STOP_WITHIN:.0f} s of SIGTERM")

    async def kill(self) -> None:
        """SIGKILL to all its processes, and wait until they are gone."""
        process = self._running()
        self._told = True
        _kill_group(process)
        await process.wait()
        await self._silent.wait()

    async def restart(self) -> None:
        """`start` after whatever; kills it first if it runs."""
        if self.running:
            await self.kill()
        await self.start()

    async def end(self) -> None:
        """See that nothing of it is left: in order if it can, cancelled or not."""
        if self._process is None:
            return
        with trio.CancelScope(shield=True):
            if self.running:
                self._process.terminate()
                with trio.move_on_after(STOP_WITHIN):
                    await self._process.wait()
            _kill_group(self._process)
            await self._process.wait()

    # --- listening to it -------------------------------------------------------------------------------------------

    async def _listen(self, process: trio.Process, silent: trio.Event) -> None:
        stdout = process.stdout
        assert stdout is not None, "asked for with PIPE"
        rest = b""
        async for chunk in stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_LINE:]
            for line in lines:
                self._take(line)
        silent.set()
        self._tell()

    def _take(self, line: bytes) -> None:
        try:
            value = json.loads(line)
        except ValueError:
            return  # it may say whatever else it likes
        if isinstance(value, dict):
            self._said.append(value)
            self._tell()

    def _tell(self) -> None:
        self._change.set()
        self._change = trio.Event()

    def _count(self, event: str) -> int:
        return sum(line.get("event") == event for line in self._said)

    async def _event(self, event: str, within: float, count: int = 1) -> None:
        with trio.move_on_after(within):
            while self._count(event) < count and not self._silent.is_set():
                await self._change.wait()
        if self._count(event) >= count:
            return
        what = "has ended" if self._silent.is_set() else f"has said nothing of the kind within {within:.0f} s"
        raise ServerError(f'{self.contract.name} is to print {{"event": "{event}"}}, and {what}')

    def _running(self) -> trio.Process:
        if self._process is None or self._process.poll() is not None:
            code = "" if self._process is None else f" by itself, exit code {self._process.returncode}"
            raise ServerError(f"{self.contract.name} has ended{code}")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)


def _kill_group(process: trio.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nobody is left in it
