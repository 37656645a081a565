"""The status page in a real browser: a peer is killed, and an open page says so, with the reason, within seconds."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.federation.browser import Tab, browsing, chromium
from tests.federation.harness import A, B, Federation, federation, introduce
from volly_fed.daemon.http.situation import split

pytestmark = [pytest.mark.real, pytest.mark.debian]
SHOWN_WITHIN = 5.0
_GLANCE = 0.05


def with_http(fed: Federation) -> None:
    config = fed.site(A).config
    text = config.read_text()
    changed = text.replace('# listen = "127.0.0.1:9223"', 'listen = "127.0.0.1:0"')
    assert changed != text
    config.write_text(changed)


async def shows(tab: Tab, check: Callable[[str], bool], within: float = SHOWN_WITHIN) -> str:
    """What the page renders once it is as wanted."""
    text = ""
    with trio.move_on_after(within):
        while not check(text := await tab.text()):  # noqa: ASYNC110 - another process's page has no event to wait for
            await trio.sleep(_GLANCE)
        return text
    raise AssertionError(f"not within {within} s; the page has:\n{text}")


async def status(port: int) -> dict[str, list[dict[str, str]]]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b"".join([part async for part in stream])
    found: dict[str, list[dict[str, str]]] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


async def test_a_peer_that_is_killed_is_shown_as_broken_with_the_reason(tmp_path: Path) -> None:
    chromium()
    async with federation(tmp_path, start=False) as fed, browsing(tmp_path / "profile") as browser:
        with_http(fed)
        await fed.start(A)
        await fed.start(B)
        url = f"http://127.0.0.1:{fed.homeserver(A).ready['http_port']}/"
        page, plain = await browser.open(url), await browser.open(url, scripts=False)
        await shows(page, lambda text: "All is well" in text and "No peers yet" in text)

        alice, bob = fed.device(A, "alice"), fed.device(B, "bob")
        await introduce(bob)
        await alice.send(bob.card, "one")
        for tab in (page, plain):
            text = await shows(tab, lambda text: "linked for" in text)
            assert "All is well" in text
            assert "1 of 1 peers linked, 1 of 1 edge node connected. Nothing waits." in text

        await fed.homeserver(B).kill()
        text = await shows(page, lambda text: "All is well" not in text)
        assert "b.test has lost its link" in text
        assert "broken for" in text
        (peer,) = (await status(fed.homeserver(A).ready["http_port"]))["peers"]
        assert split(peer["last_error"])[0] in text

        await alice.send(bob.card, "two")
        for tab in (page, plain):
            text = await shows(tab, lambda text: "b.test cannot be reached" in text)
            assert "refused" in text
            assert "1 envelope waits" in text
            assert "volly-fed probe b.test" in text
        assert page.complaints() == plain.complaints() == []
        if wanted := os.environ.get("VOLLY_FED_SCREENSHOT"):
            await page.screenshot(Path(wanted), 1100)

        await fed.homeserver(A).stop()
        await shows(page, lambda text: "No answer since" in text)
