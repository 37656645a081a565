"""Unbound's validator in this process: the library of Debian's libunbound8 through ctypes, driven by trio.

in: questions, resolvers, trust anchors; out: Answers with Unbound's verdict and its reason.
Never: blocks the event loop; a thread of the library's own asks and validates, a pipe says when there is something.
Source: libunbound(3).
"""

import ctypes
import ctypes.util
import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import dns.rcode
import trio

from volly_fed import limits
from volly_fed.daemon.dns.transport import Server
from volly_fed.daemon.dns.vouched import vouched
from volly_fed.discovery.anchors import Anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.dnssec import Answer, failed
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Question, parse_response
from volly_fed.errors import BadMessage, Bogus, ConfigError, Indeterminate, LocalError

_NAMES: Final = ("libunbound.so.8", "libunbound.8.dylib")
_OLDEST: Final = (1, 13)
"""Whose results have the fields below."""
_CLASS_IN: Final = 1
_OPTIONS: Final = {
    "do-not-query-localhost:": "no",  # a forwarder on this machine is the usual case
    "edns-buffer-size:": str(limits.DNS_UDP_PAYLOAD),
    "val-nsec3-keysize-iterations:": f"1024 {limits.DNS_NSEC3_ITERATIONS} 4096 {limits.DNS_NSEC3_ITERATIONS}",
    "val-sig-skew-min:": str(limits.DNS_CLOCK_SKEW),
    "val-sig-skew-max:": str(limits.DNS_CLOCK_SKEW),
    "cache-max-ttl:": str(limits.DNS_MAX_TTL),
    "cache-max-negative-ttl:": str(limits.DNS_MAX_NEGATIVE_TTL),
    "val-bogus-ttl:": "1",  # how long failures are remembered is decided here, not there
    "infra-keep-probing:": "yes",
}


class _Result(ctypes.Structure):
    """struct ub_result."""

    _fields_ = (
        ("qname", ctypes.c_char_p),
        ("qtype", ctypes.c_int),
        ("qclass", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_void_p),
        ("canonname", ctypes.c_char_p),
        ("rcode", ctypes.c_int),
        ("answer_packet", ctypes.c_void_p),
        ("answer_len", ctypes.c_int),
        ("havedata", ctypes.c_int),
        ("nxdomain", ctypes.c_int),
        ("secure", ctypes.c_int),
        ("bogus", ctypes.c_int),
        ("why_bogus", ctypes.c_char_p),
        ("was_ratelimited", ctypes.c_int),
        ("ttl", ctypes.c_int),
    )


_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Result))
_CONTEXT: Final = ctypes.c_void_p
_TEXT: Final = ctypes.c_char_p
_FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "ub_version": (_TEXT, ()),
    "ub_strerror": (_TEXT, (ctypes.c_int,)),
    "ub_ctx_create": (_CONTEXT, ()),
    "ub_ctx_delete": (None, (_CONTEXT,)),
    "ub_ctx_async": (ctypes.c_int, (_CONTEXT, ctypes.c_int)),
    "ub_ctx_set_option": (ctypes.c_int, (_CONTEXT, _TEXT, _TEXT)),
    "ub_ctx_set_fwd": (ctypes.c_int, (_CONTEXT, _TEXT)),
    "ub_ctx_add_ta": (ctypes.c_int, (_CONTEXT, _TEXT)),
    "ub_ctx_zone_remove": (ctypes.c_int, (_CONTEXT, _TEXT)),
    "ub_fd": (ctypes.c_int, (_CONTEXT,)),
    "ub_process": (ctypes.c_int, (_CONTEXT,)),
    "ub_cancel": (ctypes.c_int, (_CONTEXT, ctypes.c_int)),
    "ub_resolve_free": (None, (ctypes.POINTER(_Result),)),
    "ub_resolve_async": (
        ctypes.c_int,
        (_CONTEXT, _TEXT, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, _Callback, ctypes.POINTER(ctypes.c_int)),
    ),
}


def load_library(names: Sequence[str] = _NAMES) -> Any:
    """The library, its functions declared. Raises LocalError where it is missing or too old."""
    note = 'note: install it (Debian: apt-get install libunbound8), or set [dns] validate = "self"'
    found = ctypes.util.find_library("unbound") if names is _NAMES else None
    for name in filter(None, (*names, found)):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        for function, (result, arguments) in _FUNCTIONS.items():
            declared = getattr(library, function)
            declared.restype, declared.argtypes = result, arguments
        version = library.ub_version().decode("ascii", "replace")
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
            raise LocalError(
                f"libunbound {version} is too old: {_OLDEST[0]}.{_OLDEST[1]} is the first that will do\n{note}"
            )
        return library
    raise LocalError(f"libunbound is not installed, and [dns] validate asks for it\n{note}")


@attrs.frozen(kw_only=True)
class _Found:
    """What the library said, copied out of its memory."""

    rcode: int
    secure: bool
    bogus: str | None
    """Why, if it is."""
    packet: bytes


@attrs.define
class _Waiting:
    done: trio.Event = attrs.field(factory=trio.Event)
    found: _Found | None = None
    error: str = ""


class Libunbound:
    """Unbound's verdicts. Its own cache is emptied by `forget`."""

    def __init__(self, servers: Sequence[Server], anchors: Anchors, clock: Callable[[], float]) -> None:
        """Raises LocalError where the library is missing, ConfigError for resolvers that it cannot ask."""
        self._library = load_library()
        self._anchors = anchors
        self._clock = clock
        self.use(servers)

    def use(self, servers: Sequence[Server]) -> None:
        """Ask these from now on. Raises ConfigError for one that has a name.

        Builds of the library that cannot check names, Debian's among them, would ignore it, and say so on stderr only.
        """
        named = ", ".join(str(server) for server in servers if server.name)
        if named:
            problem = f"dns.resolvers: libunbound cannot make sure that it talks to {named}"
            raise ConfigError([f'{problem}\nnote: leave the name out, or set [dns] validate = "self"'])
        self._servers = tuple(servers)
        self.forget()

    def forget(self) -> None:
        """Begin with an empty cache. Questions under way are still answered."""
        self._context: _Context | None = None

    async def ask(self, question: Question, budget: Budget | None = None) -> Answer:
        """The Answer; parsing it is paid from `budget`. Raises nothing: failures are in its status."""
        try:
            found = await self._resolve(question)
            message = parse_response(found.packet, question, budget)
        except (Bogus, Indeterminate) as error:
            return failed(question, error, self._clock())
        except BadMessage as error:
            return failed(question, Indeterminate(f"{question}: {error}"), self._clock())
        reason = "" if found.secure else "libunbound: the zone is not signed, or not in a way that it can validate"
        return vouched(question, message, Status.SECURE if found.secure else Status.INSECURE, self._clock(), reason)

    async def _resolve(self, question: Question) -> _Found:
        if not self._servers:
            raise Indeterminate(f"{question}: no resolver is configured")
        if self._context is None:
            self._context = _Context(self._library, self._servers, self._anchors)
        found = await self._context.resolve(question)
        if found.bogus is not None:
            raise Bogus(f"{question}: {found.bogus}")
        if found.rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise Indeterminate(f"{question}: libunbound answers {dns.rcode.to_text(dns.rcode.Rcode(found.rcode))}")
        return found


class _Context:
    """One ub_ctx: a configuration, a cache, a thread."""

    def __init__(self, library: Any, servers: Sequence[Server], anchors: Anchors) -> None:
        self._library = library
        self._pump: trio.CancelScope | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._keys = itertools.count(1)
        self._callback = _settle(library, self._waiting)
        self._context = library.ub_ctx_create()
        if self._context is None:  # and the library does not look before it uses it
            raise Indeterminate("libunbound: it cannot be set up: no memory, or no open files, are left")
        # with the context its thread goes; the callback must not go before
        weakref.finalize(self, _delete, library, self._context, self._callback)
        self._configure(servers, anchors)

    def _configure(self, servers: Sequence[Server], anchors: Anchors) -> None:
        library, context = self._library, self._context
        self._check(library.ub_ctx_async(context, 1))
        for option, value in _OPTIONS.items():
            self._check(library.ub_ctx_set_option(context, option.encode(), value.encode()))
        for server in servers:
            self._check(library.ub_ctx_set_fwd(context, f"{server.host}@{server.port}".encode()))
        for zone, ds_set in anchors.items():
            for ds in ds_set:
                self._check(library.ub_ctx_add_ta(context, f"{zone.to_text()} IN DS {ds.to_text()}".encode()))
        # Unbound answers for it itself (RFC 6761 §6.2). A test network's root may have it, and the real one proves that
        # it does not exist. This must come last: after it no option can be set
        self._check(library.ub_ctx_zone_remove(context, b"test."))

    def _check(self, code: int) -> None:
        if code:
            raise Indeterminate(f"libunbound: {self._library.ub_strerror(code).decode('ascii', 'replace')}")

    async def resolve(self, question: Question) -> _Found:
        """What the library finds. Raises Indeterminate where it fails; gives up the search when it is cancelled."""
        key, ident = next(self._keys), ctypes.c_int()
        name, rdtype = question.name.to_text().encode(), int(question.rdtype)
        waiting = self._waiting[key] = _Waiting()
        try:
            self._check(
                self._library.ub_resolve_async(
                    self._context, name, rdtype, _CLASS_IN, key, self._callback, ctypes.byref(ident)
                )
            )
            self._start_pump()
            await waiting.done.wait()
        finally:
            if self._waiting.pop(key, None) is not None:
                self._library.ub_cancel(self._context, ident)
            if not self._waiting:
                self._stop_pump()
        if waiting.found is None:
            raise Indeterminate(f"{question}: libunbound: {waiting.error}")
        return waiting.found

    def _start_pump(self) -> None:
        if self._pump is None:
            self._pump = trio.CancelScope()
            # whoever asks may be cancelled while others wait: the pump is nobody's child, and stops with the last one
            trio.lowlevel.spawn_system_task(self._process, self._pump)

    def _stop_pump(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None

    async def _process(self, scope: trio.CancelScope) -> None:
        descriptor = self._library.ub_fd(self._context)
        with scope:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                code = self._library.ub_process(self._context)
                if code:
                    for key in list(self._waiting):
                        waiting = self._waiting.pop(key)
                        waiting.error = self._library.ub_strerror(code).decode("ascii", "replace")
                        waiting.done.set()


def _settle(library: Any, table: dict[int, _Waiting]) -> Any:
    """The callback: takes what came out of the library's memory, and wakes who waits for it."""

    def settle(key: int, error: int, result: Any) -> None:
        waiting = table.pop(key, None)
        if waiting is not None:
            if error or not result:
                waiting.error = library.ub_strerror(error).decode("ascii", "replace")
            else:
                waiting.found = _copy(result.contents)
            waiting.done.set()
        if result:
            library.ub_resolve_free(result)

    return _Callback(settle)


def _copy(result: _Result) -> _Found:
    packet = ctypes.string_at(result.answer_packet, result.answer_len) if result.answer_packet else b""
    why = (result.why_bogus or b"no reason given").decode("utf-8", "replace").strip()
    return _Found(rcode=result.rcode, secure=bool(result.secure), bogus=why if result.bogus else None, packet=packet)


def _delete(library: Any, context: int, _callback: object) -> None:
    library.ub_ctx_delete(context)
