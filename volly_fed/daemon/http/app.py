"""The HTTP application: five addresses, GET and HEAD, no state.

in: ASGI requests of anybody who can reach the socket; out: pages, JSON, metrics, and plain errors.
Never: changes anything, sets a cookie, takes a body, or answers to a name that is not ours: a page of somebody else's,
whose name was made to point at us, would be told everything (DNS rebinding).
Source: RFC 9110; RFC 9112 §3.2 (Host).
"""

import ipaddress
import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final

import attrs
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from volly_fed import limits_http
from volly_fed.config.model import Http
from volly_fed.config.values import ANY_HOST
from volly_fed.daemon.http import assets
from volly_fed.daemon.http.face import Face
from volly_fed.errors import VollyFedError
from volly_fed.observe.log import Log

PLAIN: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_FIXED: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", assets.POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@attrs.frozen
class Answer:
    """What is sent back."""

    body: bytes
    kind: str = PLAIN
    status: HTTPStatus = HTTPStatus.OK
    more: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def words(cls, status: HTTPStatus, *lines: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> "Answer":
        """A few lines of text."""
        return cls("".join(f"{line}\n" for line in lines).encode(), status=status, more=more)


@attrs.define
class App:
    """Answers for `face` under the names that `names` has, in lower case; see `names_of`."""

    face: Face
    names: frozenset[str]
    log: Log
    _made: dict[str, tuple[float, Answer]] = attrs.field(factory=dict, init=False)
    _making: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def __call__(self, scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """ASGI. WebSockets are refused by returning."""
        if scope["type"] == "http":
            answer = await self._answer(scope)
            headers = [
                (b"content-type", answer.kind.encode()),
                (b"content-length", str(len(answer.body)).encode()),
                *_FIXED,
                *answer.more,
            ]
            body = b"" if scope["method"] == "HEAD" else answer.body
            await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _answer(self, scope: HTTPScope) -> Answer:
        if not self._is_ours(scope):
            return Answer.words(
                HTTPStatus.MISDIRECTED_REQUEST, "This name is not one of ours; [http] hosts has those that are."
            )
        routes: dict[str, Callable[[], Awaitable[Answer]]] = {
            "/": partial(self._remembered, "page", self._page),
            "/status.json": partial(self._remembered, "status", self._status),
            "/healthz": self._alive,
            "/readyz": self._ready,
            "/metrics": partial(self._remembered, "metrics", self._metrics),
        }
        route = routes.get(scope["path"])
        if route is None:
            return Answer.words(HTTPStatus.NOT_FOUND, f"There is {', '.join(routes)}.")
        if scope["method"] not in {"GET", "HEAD"}:
            return Answer.words(
                HTTPStatus.METHOD_NOT_ALLOWED, "Nothing can be changed here.", more=((b"allow", b"GET, HEAD"),)
            )
        try:
            with trio.fail_after(limits_http.ANSWER_TIME):
                return await route()
        except trio.TooSlowError:
            return Answer.words(
                HTTPStatus.SERVICE_UNAVAILABLE, "This takes too long; the disk or the processor is busy."
            )
        except VollyFedError as error:
            return Answer.words(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception as error:  # a bug of what shows things is no reason to stop what works
            self.log.http_failed(subject=scope["path"], reason=f"{type(error).__name__}: {error}")
            return Answer.words(HTTPStatus.INTERNAL_SERVER_ERROR, "This is a bug; the log has more.")

    def _is_ours(self, scope: HTTPScope) -> bool:
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        return len(hosts) == 1 and _host_of(hosts[0].decode("latin-1")) in self.names

    async def _remembered(self, name: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `make` makes, or has made a moment ago: asking all the time costs no more than asking now and then."""
        async with self._making:
            at, answer = self._made.get(name, (-math.inf, None))
            if answer is None or trio.current_time() - at >= limits_http.ANSWER_MEMORY:
                answer = await make()
                self._made[name] = trio.current_time(), answer
        return answer

    async def _page(self) -> Answer:
        return Answer(self.face.page(await self.face.status()).encode(), HTML)

    async def _status(self) -> Answer:
        document = json.dumps(await self.face.status(), ensure_ascii=False, allow_nan=False, indent=1)
        return Answer(document.encode() + b"\n", JSON)

    async def _alive(self) -> Answer:
        return Answer.words(HTTPStatus.OK, "ok")

    async def _ready(self) -> Answer:
        troubles = await self.face.troubles()
        return Answer.words(HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK, *(troubles or ["ready"]))

    async def _metrics(self) -> Answer:
        return Answer(await self.face.metrics(), METRICS)


def names_of(http: Http) -> frozenset[str]:
    """The hosts of URLs that lead to us: those of loopback, the address we listen on, and the configured ones."""
    found: set[str] = {"localhost", "::1", *map(_plain, http.hosts)}
    if http.listen is not None and http.listen.host != ANY_HOST:
        found.add(_plain(http.listen.host))
    return frozenset(found)


def _host_of(header: str) -> str:
    """The host of a Host header, without its port, as `names_of` writes it; "" for what is none."""
    host = header.strip().lower()
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not _is_port(rest)):
            return ""
    else:
        host, colon, port = host.partition(":")
        if colon and not _is_port(f":{port}"):
            return ""
    return _plain(host.removesuffix("."))


def _is_port(text: str) -> bool:
    return text[0] == ":" and ((text[1:].isascii() and text[1:].isdigit()) or text == ":")


def _plain(host: str) -> str:
    """Addresses in one spelling; every address of loopback as 127.0.0.1's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return "::1" if address.is_loopback else str(address)
