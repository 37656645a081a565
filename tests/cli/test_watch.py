"""`volly-fed watch`: a line for each change, a table, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from tests.cli.test_running import B, Shell
from tests.cli.test_running import shell as shell
from tests.cli.test_status import AWAY, LINKED, STATUS
from tests.daemon.sites import A, envelope, sites
from volly_fed.cli.watch import render
from volly_fed.cli.watch_changes import beginning, changes
from volly_fed.daemon.admin.client import socket_path, wait_for_end
from volly_fed.daemon.admin.server import AdminServer, Arguments, Send, admin_listening
from volly_fed.names import DomainName

LOOK: dict[str, Any] = {"status": STATUS, "peers": [LINKED, AWAY]}


def look(*peers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"status": STATUS | status, "peers": [*peers]}


def waits(count: int, **others: Any) -> dict[str, Any]:
    return AWAY | {"queue": {"envelopes": count, "bytes": 1000 * count, "oldest_s": 1}} | others


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (LOOK, LOOK, []),
        (look(AWAY | {"domain": B}), look(LINKED | {"queue": AWAY["queue"]}), ["link_up", "released"]),
        (look(LINKED), look(AWAY | {"domain": B}), ["link_down", "queue_grows", "held"]),
        (look(LINKED), look(LINKED | {"linked_s": 1.0}), ["link_down", "link_up"]),
        (look(LINKED), look(LINKED | {"linked_s": 3726.0}), []),
        (look(LINKED), look(), ["link_down"]),
        (look(), look(LINKED), ["link_up"]),
        (look(waits(1)), look(waits(3)), ["queue_grows"]),
        (look(waits(3)), look(waits(1)), []),
        (look(waits(3)), look(waits(0)), ["queue_empty"]),
        (look(waits(3)), look(), ["queue_empty", "released"]),
        (look(), look(edges=[]), ["edge_down"]),
        (look(edges=[]), look(), ["edge_up"]),
        (look(), look(edges=[{"name": "edge-1", "linked_s": 1.0}]), ["edge_down", "edge_up"]),
        (look(), look(draining=True), ["draining_began"]),
        (look(draining=True), look(), ["draining_ended"]),
        (look(), look(problems=["2 wait"], problem_subjects=[B]), ["problem"]),
        (look(problems=["2 wait"], problem_subjects=[B]), look(problems=["3 wait"], problem_subjects=[B]), []),
        (look(problems=["2 wait"], problem_subjects=[B]), look(), ["problem_ended"]),
    ],
)
def test_what_has_changed(before: dict[str, Any], after: dict[str, Any], expected: list[str]) -> None:
    assert [change["event"] for change in changes(before, after)] == expected


def test_the_first_line_says_how_things_are() -> None:
    assert beginning(LOOK) == {
        "event": "watching",
        "domain": "a.test",
        "linked": [B],
        "edges": ["edge-1"],
        "envelopes": 3,
        "held": ["c.test"],
        "draining": False,
        "problems": [],
    }


@asynccontextmanager
async def watched(shell: Shell, *looks: dict[str, Any], then: trio.Event | None = None) -> AsyncIterator[None]:
    async def follow(_arguments: Arguments, send: Send) -> None:
        for one in looks:
            await send(one)
        if then is not None:
            then.set()
            await trio.sleep_forever()

    async with admin_listening(socket_path(shell.config)) as listener, trio.open_nursery() as nursery:
        await nursery.start(AdminServer({}, {"watch": follow}).serve, listener)
        yield
        nursery.cancel_scope.cancel()


async def test_a_line_of_json_for_each_change_until_the_homeserver_goes(shell: Shell) -> None:
    async with watched(shell, LOOK, LOOK, look(AWAY, problems=["p"], problem_subjects=[B])):
        said = (await shell.beside("watch", "--json", code=3)).splitlines()
        assert said.pop() == "The homeserver has gone."
        lines = [json.loads(line) for line in said]
        assert [line["event"] for line in lines] == ["watching", "link_down", "problem"]
        assert all(line["time"].endswith("+00:00") for line in lines)


async def test_words_where_no_terminal_is(shell: Shell) -> None:
    odd = AWAY | {"domain": B, "last_error": "gone \x1b[31m\nnote: x"}
    async with watched(shell, look(LINKED), look(odd | {"queue": LINKED["queue"], "held_s": None})):
        said = (await shell.beside("watch", code=3)).splitlines()
        assert said[0].endswith("watching: domain a.test, linked b.test, edges edge-1, envelopes 3, held c.test")
        assert said[1].endswith("link down: peer b.test, reason gone �[31m")


_WITH_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from volly_fed.cli import main
main()
"""
"""A shell starts what runs in the background with SIGINT ignored, tests among them, and their children inherit it."""


async def test_it_ends_cleanly_at_an_interruption(shell: Shell) -> None:
    there = trio.Event()
    async with watched(shell, LOOK, then=there):
        line = [sys.executable, "-c", _WITH_CTRL_C, "watch", "--json", "--config", str(shell.path)]
        process = await trio.lowlevel.open_process(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        first = await process.stdout.receive_some()
        assert json.loads(first)["event"] == "watching"
        process.send_signal(signal.SIGINT)
        assert (await process.wait(), await process.stderr.receive_some()) == (0, b"")
        assert wait_for_end(process.pid, 0)
        assert not wait_for_end(os.getpid(), 0)


def test_the_table_has_who_waits_first_and_shows_what_comes_from_outside_as_text(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        Console(file=out, width=200, highlight=False).print(render(look(LINKED, AWAY, problems=["\x1b[31m2 wait"])))
        out.seek(0)
        said = out.read()
    assert said.index("c.test  full") < said.index("b.test  full")
    assert "problem �[31m2 wait" in said
    assert "waiting, held for 1 d 0 h" in said
    assert "\x1b[31m" not in said


async def test_a_real_homeserver_is_followed(tmp_path: Path) -> None:
    (a,) = sites(tmp_path, A)
    looks: list[dict[str, Any]] = []

    async def send(one: dict[str, Any]) -> None:
        looks.append(one)
        nursery.cancel_scope.cancel()

    async with a.running(listening=False):
        await a.submit(envelope(DomainName(B)))
        await a.log.wait("dial_failed", peer=B)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.server._admin(a.server._overview(a.store)).streams["watch"], {}, send)
    assert beginning(looks[0]) | {"problems": []} == {
        "event": "watching",
        "domain": A,
        "linked": [],
        "edges": [],
        "envelopes": 1,
        "held": [],
        "draining": False,
        "problems": [],
    }
    assert looks[0]["status"]["problem_subjects"] == ["edges", B]
    assert list(changes(looks[0], looks[0])) == []
