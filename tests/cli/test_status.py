"""`volly-fed status`, `peers` and `retry`: what people and programs read of a homeserver's answers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.test_running import A, B, Shell
from volly_fed.daemon.admin.client import socket_path
from volly_fed.daemon.admin.server import AdminServer, Arguments, admin_listening
from volly_fed.daemon.setup import create_homeserver
from volly_fed.daemon.wording import duration

LINKED: dict[str, Any] = {
    "domain": B,
    "level": "full",
    "rule": "default",
    "state": "linked",
    "held_s": None,
    "linked_s": 3725.0,
    "dialled_by": "us",
    "identity": "IDENTITY",
    "group": "X25519MLKEM768",
    "records_s": 3600,
    "pinned": "IDENTITY",
    "queue": {"envelopes": 0, "bytes": 0, "oldest_s": 0},
    "failures": 0,
    "next_attempt_s": None,
    "last_error": "",
    "last_cause": "",
    "last_error_s": None,
    "presence": {"shown": "following", "seen": "away", "watching_edges": 2},
}
AWAY = LINKED | {
    "domain": "c.test",
    "state": "waiting",
    "held_s": 86500,
    "linked_s": None,
    "identity": None,
    "records_s": -61,
    "pinned": "FORMER",
    "queue": {"envelopes": 3, "bytes": 5000, "oldest_s": 61},
    "failures": 2,
    "next_attempt_s": 12.0,
    "last_error": "nobody \x1b[31mlistens\nnote: wait",
    "last_cause": "the link: CHANNEL",
    "last_error_s": 5,
    "presence": None,
}
STATUS: dict[str, Any] = {
    "domain": A,
    "version": "1",
    "up_s": 90000.0,
    "identity": "OURS",
    "tls_spki_sha256": "00",
    "peers": {"known": 2, "linked": 1},
    "edges": [{"name": "edge-1", "linked_s": 3.0}, {"name": "edge-2", "linked_s": None}],
    "queue": {"envelopes": 3, "bytes": 5000, "oldest_s": 61},
    "held": ["c.test"],
    "draining": False,
    "problems": [],
    "problem_subjects": [],
}


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    path = tmp_path / "volly-fed.toml"
    create_homeserver(path, {"server.domain": A, "federation.host": f"fed.{A}"})
    return Shell(path, capsys)


@asynccontextmanager
async def answering(shell: Shell, **answers: dict[str, Any]) -> AsyncIterator[list[Arguments]]:
    asked: list[Arguments] = []

    def handler(answer: dict[str, Any]) -> Any:
        async def handle(arguments: Arguments) -> dict[str, Any]:
            asked.append(arguments)
            return answer

        return handle

    server = AdminServer({name: handler(answer) for name, answer in answers.items()})
    async with admin_listening(socket_path(shell.config)) as listener, trio.open_nursery() as nursery:
        await nursery.start(server.serve, listener)
        yield asked
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("arguments", [["status"], ["peers"], ["retry", B]])
def test_without_a_running_homeserver_the_operator_is_told(shell: Shell, arguments: list[str]) -> None:
    assert "note: start it with `volly-fed serve`" in shell(*arguments, code=2)


async def test_status_in_lines_and_as_json(shell: Shell) -> None:
    async with answering(shell, status=STATUS):
        said = await shell.beside("status")
        assert "a.test, volly-fed 1, up for 1 d 1 h" in said
        assert "1 linked, 2 known" in said
        assert "1 of 2 connected: edge-1" in said
        assert "3 waiting, 5 KiB, the oldest for 1 min 1 s" in said
        assert "held      c.test: nothing is sent there until `volly-fed queue release`" in said
        assert json.loads(await shell.beside("status", "--json")) == STATUS


async def test_a_problem_is_an_exit_code(shell: Shell) -> None:
    async with answering(shell, status=STATUS | {"problems": ["the store takes nothing: full"]}):
        assert "problem   the store takes nothing: full" in await shell.beside("status", code=1)
        await shell.beside("status", "--json", code=1)


async def test_peers_one_line_each(shell: Shell) -> None:
    answer = {"peers": [LINKED, AWAY]}
    async with answering(shell, peers=answer) as asked:
        linked, away = (await shell.beside("peers")).splitlines()
        assert linked.startswith("b.test full linked  nothing waits")
        assert away.startswith("c.test full waiting, held for 1 d 0 h  3 waiting")
        assert "next attempt in 12 s; nobody" in away
        assert "note" not in away
        assert "\x1b" not in away
        assert json.loads(await shell.beside("peers", "--json")) == answer
        assert asked[-1] == {"domain": None}


async def test_one_peer_with_every_detail(shell: Shell) -> None:
    async with answering(shell, peers={"peers": [LINKED]}) as asked:
        said = await shell.beside("peers", B)
        link = "for 1 h 2 min, dialled by us, X25519MLKEM768"
        for text in (
            "full: default",
            link,
            "IDENTITY  (proved on this link)",
            "2 of our edge",
            "proved by DNS, for 1 h 0 min more",
        ):
            assert text in said
        assert asked[-1] == {"domain": B}
    async with answering(shell, peers={"peers": [AWAY]}):
        said = await shell.beside("peers", "c.test")
        error = "error     5 s ago, the link: CHANNEL: nobody �[31mlistens�note: wait"
        wanted = (
            "2 in a row",
            "attempt in 12 s",
            "FORMER  (the one it is held to)",
            "until 1 min 1 s ago; the next link asks again",
            error,
        )
        for text in wanted:
            assert text in said
    async with answering(shell, peers={"peers": []}):
        assert "Nothing has passed between us and b.test of late." in await shell.beside("peers", B)


async def test_retry_says_what_happens(shell: Shell) -> None:
    async with answering(shell, retry={"domain": B, "state": "waiting"}):
        assert "b.test is dialled now" in await shell.beside("retry", B)
    async with answering(shell, retry={"domain": B, "state": "linked"}):
        assert "b.test is linked already" in await shell.beside("retry", B)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min"), (200_000, "2 d 7 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
