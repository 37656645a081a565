"""The HTTP face: who may ask, for what, how much that may cost, and what it says of a homeserver's health."""

import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, NamedTuple

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import LogTap
from volly_fed import limits_http
from volly_fed.config.model import Http
from volly_fed.config.values import HostName, HostPort, Listen
from volly_fed.daemon.http.health import Health
from volly_fed.daemon.http.page import document
from volly_fed.daemon.http.start import http_listening, serve_http
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.errors import StorageError
from volly_fed.observe.log import Log

ANYWHERE = Listen(HostPort("127.0.0.1", 0))


@attrs.define
class FakeFace:
    """Counts how often it is asked; `error` is raised instead of an answer."""

    health: Health = attrs.field(factory=Health)
    asked: int = 0
    error: Exception | None = None
    size: int = 0
    takes: float = 0

    async def status(self) -> dict[str, Any]:
        self.asked += 1
        await trio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return {"padding": "x" * self.size}

    def page(self, status: dict[str, Any]) -> str:
        return document("title", f"<h1>{len(status['padding'])}</h1>")

    async def troubles(self) -> list[str]:
        return self.health.troubles()

    async def metrics(self) -> bytes:
        return b"volly_fed_info 1\n"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@attrs.define
class Served:
    face: FakeFace
    log: LogTap
    port: int

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def raw(self, request: bytes) -> bytes:
        async with await self.connect() as stream:
            await stream.send_all(request)
            return b"".join([part async for part in stream])

    async def get(self, path: str = "/", method: str = "GET", host: str = "localhost:9223") -> Reply:
        answer = await self.raw(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = [line.partition(": ") for line in lines]
        assert len({name for name, _, _ in fields}) == len(fields), "no header comes twice"
        return Reply(int(first.split()[1]), {name.lower(): value for name, _, value in fields}, body)


@asynccontextmanager
async def serving(hosts: tuple[str, ...] = (), listen: Listen = ANYWHERE) -> AsyncIterator[Served]:
    http, face, log = Http(listen=listen, hosts=tuple(map(HostName, hosts))), FakeFace(), LogTap()
    async with http_listening(http) as listeners, trio.open_nursery() as nursery:
        await nursery.start(serve_http, http, listeners, face, Log("debug", "json", log))
        yield Served(face, log, listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


# --- who, and for what ---------------------------------------------------------------------------------------------


async def test_five_addresses_and_no_more() -> None:
    async with serving() as served:
        served.face.health.listening = True
        kinds = {path: (await served.get(path)).headers["content-type"] for path in ("/", "/status.json", "/metrics")}
        assert kinds == {
            "/": "text/html; charset=utf-8",
            "/status.json": "application/json",
            "/metrics": "text/plain; version=0.0.4; charset=utf-8",
        }
        assert json.loads((await served.get("/status.json")).body) == {"padding": ""}
        assert (await served.get("/healthz")).body == b"ok\n"
        assert (await served.get("/readyz")).body == b"ready\n"
        assert (await served.get("/?x=1")).status == 200
        for path in ("/favicon.ico", "//", "/metrics/", "/../etc/passwd", "http://localhost/", "*"):
            assert (await served.get(path)).status in {400, 404}, path


async def test_nothing_can_be_changed_and_nothing_is_kept_in_browsers() -> None:
    async with serving() as served:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
            reply = await served.get("/", method)
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
        page, head = await served.get("/"), await served.get("/", "HEAD")
        assert head.body == b""
        assert head.headers["content-length"] == page.headers["content-length"] == str(len(page.body))
        assert "set-cookie" not in page.headers
        assert "server" not in page.headers
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:9223", "[::1]:9223", "[::1]")),
        *((host, True) for host in ("127.9.9.9", "status.a.test:80", "192.0.2.7", "[2001:db8::7]:80")),
        *((host, False) for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "::1")),
        *((host, False) for host in ("192.0.2.8", "a.test", "localhost:x", "[::1", "[::1]x", "2130706433", "0")),
    ],
)
async def test_only_names_that_are_ours_are_answered_to(host: str, ours: bool) -> None:
    async with serving(hosts=("status.a.test", "192.0.2.7", "2001:db8::7")) as served:
        for path in ("/", "/healthz", "/metrics"):
            reply = await served.get(path, host=host)
            assert reply.status in ({200} if ours else {400, 421}), path
            assert ours or b"volly_fed" not in reply.body
        assert ours == bool(served.face.asked)


async def test_without_a_host_or_with_two_nobody_is_answered() -> None:
    async with serving() as served:
        assert b" 200 " not in await served.raw(b"GET / HTTP/1.1\r\n\r\n")
        assert b" 421 " in await served.raw(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 200 " not in await served.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert served.face.asked == 0


async def test_the_page_needs_nothing_else_and_may_load_nothing_else() -> None:
    async with serving() as served:
        page = await served.get("/")
    text, policy = page.body.decode(), page.headers["content-security-policy"]
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert f"'sha256-{b64encode(sha256(inside.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href|url|@import)\s*[=(]?\s*["']?(https?:)?//""", text)
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text), "the policy would stop it"


# --- what it may cost ----------------------------------------------------------------------------------------------


async def test_many_who_ask_cost_as_much_as_one(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        async with trio.open_nursery() as nursery:
            for _ in range(2 * limits_http.CONNECTIONS):
                nursery.start_soon(served.get)
        assert served.face.asked == 1
        await trio.sleep(limits_http.ANSWER_MEMORY)
        await served.get()
        assert served.face.asked == 2


async def test_a_client_that_says_nothing_gives_way(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        idle = [await served.connect() for _ in range(limits_http.CONNECTIONS)]
        began = trio.current_time()
        assert (await served.get("/healthz")).status == 200
        assert 1 < trio.current_time() - began <= limits_http.CONNECTION_TIME + 1, "until then, others wait"
        for stream in idle:
            await stream.aclose()


async def not_reading(served: Served) -> trio.SocketStream:
    """A client that asks for more than the buffers on the way hold."""
    served.face.size = 8 << 20
    stream = await served.connect()
    await stream.send_all(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return stream


async def test_clients_that_read_nothing_give_way(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        deaf = [await not_reading(served) for _ in range(limits_http.CONNECTIONS)]
        with trio.fail_after(limits_http.CONNECTION_TIME + 1):
            assert (await served.get("/healthz")).status == 200
        for stream in deaf:
            await stream.aclose()


async def test_a_client_that_reads_nothing_does_not_delay_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        stream = await not_reading(served)
        while not served.face.asked:  # noqa: ASYNC110 - a fake has no event
            await trio.sleep(0.01)
        ending = trio.current_time()
    assert trio.current_time() - ending < 1
    await stream.aclose()


async def test_an_answer_that_takes_too_long_is_none(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        served.face.takes = 3600
        reply = await served.get("/")
        assert (reply.status, b"takes too long" in reply.body) == (503, True)


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * (64 << 10), b"\x16\x03\x01" + bytes(99), b"x\r\n\r\n"],
)
async def test_what_is_too_large_or_no_http_ends_the_connection(request_: bytes) -> None:
    async with serving() as served:
        with trio.fail_after(limits_http.CONNECTION_TIME / 2):
            try:
                answer = await served.raw(request_)
            except trio.BrokenResourceError:
                answer = b""
        assert b" 200 " not in answer
        assert (await served.get("/healthz")).status == 200


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
async def test_another_protocol_is_of_no_use(upgrade: str) -> None:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nHTTP2-Settings: AAMAAABk\r\n"
    request = f"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n{key}\r\n"
    async with serving() as served:
        with trio.move_on_after(1):
            assert b"<h1>" not in await served.raw(request.encode())
        assert served.face.asked == 0


async def test_a_bug_in_what_is_shown_is_said_and_nothing_else_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        served.face.error = KeyError("secret")
        assert (await served.get("/")).status == 500
        (line,) = served.log.all("http_failed")
        assert (line["subject"], line["level"]) == ("/", "error")
        served.face.error = StorageError("the disk cannot be read\nnote: look at it")
        reply = await served.get("/")
        assert (reply.status, reply.body) == (503, b"the disk cannot be read\nnote: look at it\n")
        assert (await served.get("/healthz")).status == 200


async def test_without_an_address_nothing_listens() -> None:
    http = Http()
    async with http_listening(http) as listeners, trio.open_nursery() as nursery:
        assert listeners == []
        await nursery.start(serve_http, http, listeners, FakeFace(), Log("debug", "json", LogTap()))


def test_a_process_that_serves_no_http_loads_none_of_it() -> None:
    program = (
        "import sys, volly_fed.daemon.homeserver, volly_fed.daemon.edge_node; "
        "sys.exit(any(name.partition('.')[0] in {'hypercorn', 'h2', 'prometheus_client'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- health --------------------------------------------------------------------------------------------------------


async def test_ready_means_listening_with_a_store_and_records_that_name_us() -> None:
    async with serving() as served:
        health = served.face.health
        starting = await served.get("/readyz")
        assert (starting.status, starting.body) == (503, b"not listening: it is starting, or stopping\n")
        health.listening = True
        assert (await served.get("/readyz")).status == 200

        health.note_outage(StorageError("the disk is full; nothing was written\nnote: free space"))
        full = await served.get("/readyz")
        assert (full.status, full.body) == (503, b"the store takes nothing: the disk is full; nothing was written\n")
        health.note_outage(None)

        health.checked(
            [Finding(subject="a record", verdict=Verdict.UNKNOWN), Finding(subject="x", verdict=Verdict.WARNING)]
        )
        assert (await served.get("/readyz")).status == 200, "what could not be asked is no reason"
        health.checked([Finding(subject="the identity record", verdict=Verdict.FAILED, reason="peers refuse us")])
        wrong = await served.get("/readyz")
        assert (wrong.status, wrong.body) == (503, b"the identity record: peers refuse us\n")
        assert (await served.get("/healthz")).status == 200, "it lives all the same"


async def test_an_outage_has_a_beginning_and_an_end(autojump_clock: trio.testing.MockClock) -> None:
    health = Health()
    health.note_outage(StorageError("full"))
    began = health.outage_since
    await trio.sleep(5)
    health.note_outage(StorageError("still full"))
    assert health.outage_since == began
    health.note_outage(None)
    assert health.outage_since is None
