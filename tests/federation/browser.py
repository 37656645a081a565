"""Debian's Chromium, without a window, over its remote-debugging pipe: pages as a person would have them.

in: addresses; out: the text that is rendered, pictures, and what the page complained of.
Never: reaches for anything but loopback, or outlives the block that started it.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

_STARTS_WITHIN = 60.0
_ANSWERS_WITHIN = 30.0
_CHUNK = 1 << 16
_LINE = 64 << 20
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update"),
    *("--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
)


def chromium() -> str:
    """The program; skips the test where there is none, unless in CI."""
    found = shutil.which("chromium")
    if found is None:
        assert not os.environ.get("CI"), "chromium is missing (Debian: chromium)"
        pytest.skip("chromium is not installed")
    return found


@attrs.define
class Browser:
    """Commands of the DevTools protocol, one at a time."""

    _to: trio.lowlevel.FdStream
    _back: trio.lowlevel.FdStream
    _numbers: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1))
    _rest: bytearray = attrs.field(factory=bytearray)
    events: list[dict[str, Any]] = attrs.field(factory=list)

    async def call(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        command: dict[str, object] = {"id": number, "method": method, "params": parameters}
        await self._to.send_all(json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
        with trio.fail_after(_ANSWERS_WITHIN):
            while (message := await self._next()).get("id") != number:
                self.events.append(message)
        assert "error" not in message, (method, message["error"])
        answer: dict[str, Any] = message["result"]
        return answer

    async def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = await self._back.receive_some(_CHUNK)
            assert part, "the browser has ended"
            self._rest += part
            assert len(self._rest) < _LINE
        line, _, rest = bytes(self._rest).partition(b"\0")
        self._rest = bytearray(rest)
        message: dict[str, Any] = json.loads(line)
        return message

    async def open(self, url: str, *, scripts: bool = True) -> "Tab":
        """A tab on `url`."""
        target = (await self.call("Target.createTarget", url="about:blank", newWindow=True))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        if not scripts:
            await tab.call("Emulation.setScriptExecutionDisabled", value=True)
        await tab.call("Page.navigate", url=url)
        return tab


@attrs.define
class Tab:
    """One page."""

    browser: Browser
    session: str

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self.browser.call(method, self.session, **parameters)

    async def text(self) -> str:
        """What is rendered, as text."""
        found = await self.call(
            "Runtime.evaluate",
            expression="document.title + '\\n' + (document.body?.innerText ?? '') + '\\n'"
            " + [...document.querySelectorAll('svg text')].map(t => t.textContent).join('\\n')",
            returnByValue=True,
        )
        return str(found["result"].get("value", ""))

    async def screenshot(self, path: Path, width: int, *, dark: bool = False) -> None:
        """The whole page, `width` pixels wide."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=600, deviceScaleFactor=1, mobile=False
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        taken = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await trio.Path(path).write_bytes(base64.b64decode(taken["data"]))

    def complaints(self) -> list[dict[str, Any]]:
        """What the browser had to say: scripts that failed, what the policy stopped."""
        ours = (event for event in self.browser.events if event.get("sessionId") == self.session)
        loud = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [event for event in ours if event["method"] in loud]


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Browser]:
    """A browser with a profile of its own below `folder`."""
    program = chromium()
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    command = ["bash", "-c", script, program, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs_in, theirs_out),
        process_group=0,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        async with trio.lowlevel.FdStream(ours_out) as to, trio.lowlevel.FdStream(ours_in) as back:
            browser = Browser(to, back)
            with trio.fail_after(_STARTS_WITHIN):
                await browser.call("Browser.getVersion")
            yield browser
            with suppress(AssertionError, trio.BrokenResourceError, trio.TooSlowError):
                await browser.call("Browser.close")
    finally:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(10):
                await process.wait()
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)  # its own group: itself and its helpers
                await process.wait()
