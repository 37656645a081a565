"""The admin socket: who may ask, what is answered, and what neither side has to put up with."""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from volly_fed import limits, limits_admin
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.admin import client as admin_client
from volly_fed.daemon.admin.server import (
    AdminServer,
    Arguments,
    Handler,
    Send,
    Stream,
    admin_listening,
    text_argument,
)
from volly_fed.daemon.setup import create_homeserver
from volly_fed.errors import LocalError, RemoteError


@pytest.fixture
def config(tmp_path: Path) -> HomeserverConfig:
    return create_homeserver(tmp_path / "volly-fed.toml", {"server.domain": "a.test", "federation.host": "fed.a.test"})


@asynccontextmanager
async def serving(config: HomeserverConfig, **handlers: Handler) -> AsyncIterator[None]:
    async with admin_listening(admin_client.socket_path(config)) as listener, trio.open_nursery() as nursery:
        await nursery.start(AdminServer(handlers).serve, listener)
        yield
        nursery.cancel_scope.cancel()


async def call(config: HomeserverConfig, command: str, **arguments: object) -> dict[str, Any]:
    return await trio.to_thread.run_sync(lambda: admin_client.call(config, command, **arguments))


async def raw(config: HomeserverConfig, request: bytes) -> bytes:
    """What the server answers to these bytes, to the end of the connection."""
    stream = await trio.open_unix_socket(str(admin_client.socket_path(config)))
    async with stream:
        await stream.send_all(request)
        return b"".join([part async for part in stream])


async def echo(arguments: Arguments) -> dict[str, Any]:
    return {"heard": dict(arguments)}


async def refuse(_arguments: Arguments) -> dict[str, Any]:
    raise LocalError("the store is full\nnote: make room")


async def test_a_command_is_answered(config: HomeserverConfig) -> None:
    async with serving(config, echo=echo):
        assert await call(config, "echo", domain="ä.test", count=3, nothing=None) == {
            "heard": {"domain": "ä.test", "count": 3, "nothing": None}
        }
        assert await trio.to_thread.run_sync(admin_client.running, config)
        # asking whether it runs has broken nothing
        assert await call(config, "echo") == {"heard": {}}


async def test_a_refusal_says_what_the_homeserver_said(config: HomeserverConfig) -> None:
    async def remote(_arguments: Arguments) -> dict[str, Any]:
        raise RemoteError("the peer is gone")

    async def check(arguments: Arguments) -> dict[str, Any]:
        return {"domain": text_argument(arguments, "domain"), "number": int(text_argument(arguments, "n", "1") or "")}

    async with serving(config, refuse=refuse, remote=remote, check=check):
        with pytest.raises(LocalError, match=r"^the store is full\nnote: make room$"):
            await call(config, "refuse")
        with pytest.raises(LocalError, match="the peer is gone"):
            await call(config, "remote")
        with pytest.raises(LocalError, match="domain must be text"):
            await call(config, "check", domain=["a"])
        with pytest.raises(LocalError, match="invalid literal"):
            await call(config, "check", n="x")
        assert await call(config, "check") == {"domain": None, "number": 1}
        with pytest.raises(LocalError, match="does not know this command; it knows check, refuse, remote\nnote: "):
            await call(config, "fly")


def test_where_nobody_runs_the_operator_is_told(config: HomeserverConfig) -> None:
    assert not admin_client.running(config)
    with pytest.raises(admin_client.NotRunning, match=r"no homeserver runs with the data in .*\nnote: start it"):
        admin_client.call(config, "echo")


async def test_the_socket_is_private_and_gone_afterwards(config: HomeserverConfig) -> None:
    path = admin_client.socket_path(config)
    before = os.umask(0)
    try:
        async with serving(config, echo=echo):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not path.exists()
    assert not admin_client.running(config)


async def test_what_a_killed_homeserver_left_is_replaced(config: HomeserverConfig) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(admin_client.socket_path(config)))
    left.close()
    assert not admin_client.running(config)
    async with serving(config, echo=echo):
        assert await call(config, "echo") == {"heard": {}}


async def test_nothing_but_a_socket_is_replaced(config: HomeserverConfig) -> None:
    path = admin_client.socket_path(config)
    path.write_text("mine")
    with pytest.raises(LocalError, match="in the way of the admin socket\nnote: move it away"):
        async with admin_listening(path):
            pass
    assert path.read_text() == "mine"


async def test_a_socket_that_somebody_else_made_meanwhile_stays(config: HomeserverConfig) -> None:
    path = admin_client.socket_path(config)
    async with admin_listening(path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


async def test_a_folder_with_a_long_name_will_do(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    config = create_homeserver(folder / "f.toml", {"server.domain": "a.test", "federation.host": "fed.a.test"})
    assert not admin_client.running(config)
    async with serving(config, echo=echo):
        assert await call(config, "echo") == {"heard": {}}
    assert list(folder.rglob("*.sock")) == []


async def test_a_long_name_without_proc_is_refused_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volly_fed.daemon.files._DESCRIPTORS", "/nowhere")
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(LocalError, match="too long for a socket: 107 bytes is the most\nnote: choose a shorter"):
        async with admin_listening(folder / "admin.sock"):
            pass


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"admin socket .*missing/admin.sock cannot be opened: no such file"):
        async with admin_listening(tmp_path / "missing" / "admin.sock"):
            pass


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        (b"hello\n", "one line of JSON"),
        (b"\xff\xfe\n", "one line of JSON"),
        (b"[" * 20000 + b"\n", "one line of JSON"),
        (b"[]\n", 'a request has a "command"'),
        (b'{"command": 3}\n', 'a request has a "command"'),
        (b'{"command": "echo", "arguments": []}\n', 'a request has a "command"'),
        (b'{"command": "echo", "arguments": {}}\nmore\n', ""),
    ],
)
async def test_what_is_no_request_gets_an_answer(config: HomeserverConfig, request_line: bytes, said: str) -> None:
    async with serving(config, echo=echo):
        answer = json.loads(await raw(config, request_line))
        assert said in answer.get("error", "")
        assert await call(config, "echo") == {"heard": {}}


async def test_too_large_a_request_ends_the_connection(config: HomeserverConfig) -> None:
    async with serving(config, echo=echo):
        assert await raw(config, b"x" * (limits.ADMIN_REQUEST + 1)) == b""
        assert await call(config, "echo") == {"heard": {}}


async def test_too_large_an_answer_is_refused(config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADMIN_ANSWER", 1000)

    async def much(_arguments: Arguments) -> dict[str, Any]:
        return {"text": "x" * 1000}

    async with serving(config, much=much):
        with pytest.raises(LocalError, match="larger than 1000 bytes\nnote: ask for less"):
            await call(config, "much")


async def test_several_at_once_and_no_more_than_there_is_room_for(config: HomeserverConfig) -> None:
    waiting, all_there, go = 0, trio.Event(), trio.Event()

    async def wait(_arguments: Arguments) -> dict[str, Any]:
        nonlocal waiting
        waiting += 1
        if waiting == limits.ADMIN_CLIENTS:
            all_there.set()
        await go.wait()
        return {}

    async with serving(config, wait=wait, echo=echo), trio.open_nursery() as nursery:
        for _ in range(limits.ADMIN_CLIENTS):
            nursery.start_soon(raw, config, b'{"command": "wait"}\n')
        await all_there.wait()
        assert b"too many commands at once" in await raw(config, b"")
        go.set()
    assert waiting == limits.ADMIN_CLIENTS


async def test_a_client_that_says_nothing_is_cut_off(
    config: HomeserverConfig, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(config, echo=echo):
        began = trio.current_time()
        assert await raw(config, b'{"command"') == b""
        assert trio.current_time() - began == pytest.approx(limits.ADMIN_TIME)


async def test_a_client_that_goes_while_it_is_served_hurts_nobody(config: HomeserverConfig) -> None:
    gone = trio.Event()

    async def slow(_arguments: Arguments) -> dict[str, Any]:
        await gone.wait()
        return {"text": "x" * (1 << 20)}

    async with serving(config, slow=slow, echo=echo):
        stream = await trio.open_unix_socket(str(admin_client.socket_path(config)))
        await stream.send_all(b'{"command": "slow"}\n')
        await stream.aclose()
        gone.set()
        assert await call(config, "echo") == {"heard": {}}


async def test_another_user_gets_no_answer(config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volly_fed.daemon.admin.server._is_ours", lambda _stream: False)
    async with serving(config, echo=echo):
        with pytest.raises(LocalError, match=r"no answer from the homeserver at .*\nnote: see its log"):
            await call(config, "echo")


async def test_a_server_that_does_not_answer_is_not_waited_for_forever(
    config: HomeserverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ADMIN_TIME", 0.05)
    silent = socket.socket(socket.AF_UNIX)
    with silent:
        silent.bind(str(admin_client.socket_path(config)))
        silent.listen()
        with pytest.raises(LocalError, match=r"no answer from the homeserver at .*: timed out\nnote: "):
            await call(config, "echo")


@pytest.mark.parametrize("answer", [b"", b"[]\n", b'{"result": 3}\n', b'{"result": {}', b"\xff\n"])
async def test_a_server_that_says_something_else(config: HomeserverConfig, answer: bytes) -> None:
    async def odd(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(answer)

    path = admin_client.socket_path(config)
    async with admin_listening(path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, odd, [listener])
        with pytest.raises(LocalError, match="no answer from the homeserver"):
            await call(config, "echo")
        nursery.cancel_scope.cancel()


# --- commands that are followed ------------------------------------------------------------------------------------


@asynccontextmanager
async def telling(config: HomeserverConfig, **streams: Stream) -> AsyncIterator[None]:
    async with admin_listening(admin_client.socket_path(config)) as listener, trio.open_nursery() as nursery:
        await nursery.start(AdminServer({"echo": echo}, streams).serve, listener)
        yield
        nursery.cancel_scope.cancel()


async def follow(config: HomeserverConfig, command: str, **arguments: object) -> list[dict[str, Any]]:
    def run() -> list[dict[str, Any]]:
        with admin_client.following(config, command, **arguments) as documents:
            return list(documents)

    return await trio.to_thread.run_sync(run)


async def count_to(arguments: Arguments, send: Send) -> None:
    for number in range(arguments["most"]):
        await send({"number": number, "text": "x" * 100_000})
    if arguments["most"] > 3:
        raise LocalError("nobody counts that far\nnote: less")


async def test_what_is_said_one_after_the_other_comes_over_one_connection(config: HomeserverConfig) -> None:
    async with telling(config, count=count_to):
        assert [document["number"] for document in await follow(config, "count", most=3)] == [0, 1, 2]
        with pytest.raises(LocalError, match="nobody counts that far\nnote: less"):
            await follow(config, "count", most=4)
        with pytest.raises(LocalError, match="does not know this command; it knows count, echo"):
            await follow(config, "other")
        assert await call(config, "echo") == {"heard": {}}


async def test_nothing_goes_on_for_a_follower_who_has_gone(config: HomeserverConfig) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def wait(_arguments: Arguments, _send: Send) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with telling(config, wait=wait):
        stream = await trio.open_unix_socket(str(admin_client.socket_path(config)))
        await stream.send_all(b'{"command": "wait"}\n')
        await begun.wait()
        await stream.aclose()
        await ended.wait()


async def test_commands_keep_their_room_whoever_follows(config: HomeserverConfig) -> None:
    waiting, all_there = 0, trio.Event()

    async def wait(_arguments: Arguments, _send: Send) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == limits_admin.ADMIN_WATCHERS:
            all_there.set()
        await trio.sleep_forever()

    async with telling(config, wait=wait), trio.open_nursery() as nursery:
        for _ in range(limits_admin.ADMIN_WATCHERS):
            nursery.start_soon(raw, config, b'{"command": "wait"}\n')
        await all_there.wait()
        with pytest.raises(LocalError, match="too many follow this homeserver already"):
            await follow(config, "wait")
        assert await call(config, "echo") == {"heard": {}}
        nursery.cancel_scope.cancel()


async def test_a_follower_who_reads_nothing_is_cut_off(
    config: HomeserverConfig, autojump_clock: trio.testing.MockClock
) -> None:
    ended = trio.Event()

    async def flood(_arguments: Arguments, send: Send) -> None:
        try:
            while True:
                await send({"text": "x" * 100_000})
        finally:
            ended.set()

    async with telling(config, flood=flood):
        began = trio.current_time()
        stream = await trio.open_unix_socket(str(admin_client.socket_path(config)))
        async with stream:
            await stream.send_all(b'{"command": "flood"}\n')
            await ended.wait()
        assert trio.current_time() - began == pytest.approx(limits.ADMIN_TIME)
