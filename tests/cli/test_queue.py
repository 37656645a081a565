"""`volly-fed queue` and `drain`: what people and programs read, what is asked before a drop, exit codes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.cli.test_running import B, Shell
from tests.cli.test_running import shell as shell
from tests.cli.test_status import answering
from volly_fed.daemon.admin.client import socket_path
from volly_fed.daemon.admin.server import AdminServer, Arguments, Send, admin_listening

QUEUE: dict[str, Any] = {
    "domain": B,
    "state": "waiting",
    "held_s": 61,
    "envelopes": 3,
    "bytes": 5000,
    "oldest_s": 3725,
    "classes": {
        "ring": {"envelopes": 1, "bytes": 1000},
        "signal": {"envelopes": 0, "bytes": 0},
        "bulk": {"envelopes": 2, "bytes": 4000},
    },
}
ONE = {"id": "ab" * 16, "class": "ring", "bytes": 1116, "age_s": 5, "expires_in_s": 3600, "sent": True}
DROP: dict[str, Any] = {
    "domain": B,
    "envelopes": 3,
    "bytes": 5000,
    "told": 1,
    "untold": 2,
    "sent": 1,
    "under_way": 4,
    "unknown": ["cd" * 16],
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "list"],
        ["queue", "hold", B],
        ["queue", "release", B],
        ["queue", "drop", B, "--all", "--yes"],
        ["queue", "retry"],
        ["drain"],
        ["drain", "--cancel"],
        ["watch"],
    ],
)
def test_without_a_running_homeserver_the_operator_is_told(shell: Shell, arguments: list[str]) -> None:
    assert "note: start it with `volly-fed serve`" in shell(*arguments, code=2)


async def test_queues_are_listed(shell: Shell) -> None:
    async with answering(shell, queue={"peers": [QUEUE]}) as asked:
        said = await shell.beside("queue", "list")
        assert said == (
            "b.test  waiting, held for 1 min 1 s  3 envelopes (1 ring, 2 bulk), 5 KiB, the oldest for 1 h 2 min\n"
        )
        assert json.loads(await shell.beside("queue", "list", "--json")) == {"peers": [QUEUE]}
        assert asked[-1]["domain"] is None
    async with answering(shell, queue={"peers": []}):
        assert "Nothing waits for anybody, and nobody is held." in await shell.beside("queue", "list")
    async with answering(shell, queue=QUEUE | {"waiting": [ONE]}) as asked:
        said = await shell.beside("queue", "list", B, "--limit", "1")
        assert f"{'ab' * 16}  ring      1 KiB  for 5 s, expires in 1 h 0 min, sent\n" in said
        assert "and 2 envelopes more: --limit shows them" in said
        assert asked[-1] == {"domain": B, "limit": 1}


async def test_a_peer_is_held_and_released(shell: Shell) -> None:
    async with answering(shell, **{"queue-hold": {"domain": B, "known": True}}):
        said = await shell.beside("queue", "hold", B)
        assert "b.test is held: what is for it waits, until `volly-fed queue release b.test`" in said
        assert "look whether the name is right" not in said
    async with answering(shell, **{"queue-hold": {"domain": B, "known": False}}):
        assert "look whether the name is right" in await shell.beside("queue", "hold", B)
    async with answering(shell, **{"queue-release": {"domain": B, "envelopes": 1}}):
        assert "b.test is held no longer; 1 envelope may leave now." in await shell.beside("queue", "release", B)


async def test_retry_of_one_or_of_all(shell: Shell) -> None:
    answer = {"peers": [{"domain": B, "state": "waiting"}, {"domain": "c.test", "state": "linked"}]}
    async with answering(shell, **{"queue-retry": answer}) as asked:
        said = await shell.beside("queue", "retry")
        assert said == "b.test is dialled now.\nc.test is linked already.\n"
        assert asked == [{"domain": None}]
    async with answering(shell, **{"queue-retry": {"peers": []}}):
        assert "There is nobody to dial" in await shell.beside("queue", "retry")


async def test_nothing_is_dropped_without_a_yes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    monkeypatch.setattr("click.confirm", lambda _text: next(answers))
    async with answering(shell, **{"queue-drop": DROP}) as asked:
        said = await shell.beside("queue", "drop", B, "--all", code=2)
        assert "nothing was dropped for b.test" in said
        assert asked == [{"domain": B, "ids": [], "all": True, "only_ask": True}]
        for text in (
            "3 envelopes (5 KiB) for b.test would be dropped.",
            "  1: the edge node by which it came is told (POLICY)",
            "  2: nobody can be told, the sender goes on believing",
            "  1 of them had been sent before",
            "  4 more: under way on the link",
            f"  {'cd' * 16} does not wait for b.test",
        ):
            assert text in said
        said = await shell.beside("queue", "drop", B, "--id", "ab" * 16)
        assert asked[-1] == {"domain": B, "ids": ["ab" * 16], "all": False}
        assert "3 envelopes (5 KiB) for b.test are dropped." in said


async def test_a_drop_says_what_and_asks_or_is_told_not_to(shell: Shell) -> None:
    async with answering(shell, **{"queue-drop": DROP}) as asked:
        for arguments in ([], ["--all", "--id", "ab" * 16]):
            assert "say which: --id ID, once or more, or --all" in await shell.beside(
                "queue", "drop", B, *arguments, code=2
            )
        assert "give --yes too" in await shell.beside("queue", "drop", B, "--all", "--json", code=2)
        assert asked == []
        assert json.loads(await shell.beside("queue", "drop", B, "--all", "--json", "--yes")) == DROP
        assert len(asked) == 1


# --- drain ---------------------------------------------------------------------------------------------------------

WAITS = {"domain": B, "envelopes": 2, "bytes": 2000, "state": "waiting", "last_error": "nobody \x1b[31mthere\nnote: x"}
REPORT: dict[str, Any] = {
    "draining": True,
    "empty": False,
    "envelopes": 2,
    "bytes": 2000,
    "peers": [WAITS],
    "kept": [{"domain": "c.test", "envelopes": 7, "why": "held"}],
}
EMPTY = REPORT | {"empty": True, "envelopes": 0, "bytes": 0, "peers": []}


@asynccontextmanager
async def drained(shell: Shell, *reports: dict[str, Any], lasts: bool = False) -> AsyncIterator[list[str]]:
    done: list[str] = []

    async def drain(_arguments: Arguments, send: Send) -> None:
        for report in reports:
            await send(report)
        while lasts:
            await trio.sleep(0.01)
            await send(reports[-1])

    async def cancel(_arguments: Arguments) -> dict[str, Any]:
        done.append("cancel")
        return {"was_draining": len(done) == 1}

    async def stop(_arguments: Arguments) -> dict[str, Any]:
        done.append("stop")
        return {}

    server = AdminServer({"drain-cancel": cancel, "stop": stop}, {"drain": drain})
    async with admin_listening(socket_path(shell.config)) as listener, trio.open_nursery() as nursery:
        await nursery.start(server.serve, listener)
        yield done
        nursery.cancel_scope.cancel()


async def test_a_drain_tells_what_waits_and_ends_when_nothing_does(shell: Shell) -> None:
    async with drained(shell, REPORT, REPORT, EMPTY) as done:
        said = await shell.beside("drain")
        assert said.count("2 envelopes still to leave: b.test 2 (waiting: nobody �[31mthere)") == 1
        assert "Nothing waits any more.\n7 envelopes for c.test stay in the store: held.\n" in said
        assert "It takes nothing new until `volly-fed drain --cancel`, or a restart." in said
        assert json.loads(await shell.beside("drain", "--json")) == EMPTY | {"stopped": False}
        assert done == []


async def test_when_time_is_over_it_says_what_is_left_and_stops_nothing(shell: Shell) -> None:
    async with drained(shell, REPORT, lasts=True) as done:
        said = await shell.beside("drain", "--timeout", "0.05", "--stop", code=3)
        assert "Time is over: 2 envelopes still to leave: b.test 2 (waiting" in said
        assert "until `volly-fed drain --cancel`" in said
        assert json.loads(await shell.beside("drain", "--timeout", "0", "--json", code=3))["envelopes"] == 2
        assert done == []


async def test_it_is_taken_back(shell: Shell) -> None:
    async with drained(shell, REPORT, REPORT | {"draining": False}) as done:
        assert "somebody has taken this back" in await shell.beside("drain", code=2)
        assert await shell.beside("drain", "--cancel") == "Everything is taken again.\n"
        assert await shell.beside("drain", "--cancel") == "It was not being drained.\n"
        assert "do not go together" in await shell.beside("drain", "--cancel", "--stop", code=2)
        assert done == ["cancel", "cancel"]


async def test_a_homeserver_that_ends_in_the_middle_is_an_error(shell: Shell) -> None:
    async with drained(shell, REPORT):
        assert "the homeserver has ended meanwhile" in await shell.beside("drain", code=2)
