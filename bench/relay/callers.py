"""Fake peers that call a homeserver: many quiet domains, each with a link of its own and one envelope at a time.

in: the peers' seeds, whom to call, mailboxes there; out: how long linking took, and how long envelopes did.
A peer whose call is refused or fails calls again as a homeserver would: after limits.BACKOFF_FIRST, then twice that.
"""

import os
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from bench.relay.envelopes import RUN_SHIFT, Press, Target, Tickets
from bench.relay.link import Line, any_key, confirmed
from bench.relay.peer_keys import PeerSeed
from volly_fed import limits
from volly_fed.channel import FEDERATION
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.tls import make_context
from volly_fed.errors import VollyFedError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire.messages import STREAM_BYTES, Ack, Open


@attrs.frozen(kw_only=True)
class Whom:
    """The homeserver that is called."""

    domain: DomainName
    host: str
    port: int
    fingerprint: Fingerprint


@attrs.frozen(kw_only=True)
class Quiet:
    """What became of envelopes that were sent singly."""

    settled: int
    refused: int
    seconds: float
    took_ms: list[float] = attrs.field(repr=False)
    """From sending to the acknowledgement."""


@attrs.define
class _Link:
    line: Line
    stream: bytes = attrs.field(factory=lambda: os.urandom(STREAM_BYTES))
    sent: int = 0
    sent_at: int = 0


class Callers:
    """See worker.Generator."""

    def __init__(self, peers: list[PeerSeed], whom: Whom, to: list[Target], body_bytes: int, key: bytes) -> None:
        self._whom = whom
        self._press = Press(to, body_bytes, Tickets(key))
        self._plans = [(peer.address, self._plan(peer)) for peer in peers]
        self._open: dict[int, _Link] = {}
        self._jobs, self._to_do = trio.open_memory_channel[Callable[[], Awaitable[None]]](len(peers))
        self._until = 0.0
        self._number = 0
        self._refused = 0
        self._took: list[float] = []
        self._changed = trio.Event()

    def _plan(self, peer: PeerSeed) -> Dialled:
        keys = peer.keys()

        async def unused(_: Connection) -> None:
            raise AssertionError("each call brings its own")

        return Dialled(
            context=make_context(FEDERATION, server=False, identity=keys.tls_identity()),
            party=keys.party,
            host=self._whom.host,
            wanted=self._whom.domain,
            expected=frozenset({self._whom.fingerprint}),
            check_key=any_key,
            confirm=confirmed,
            use=unused,
        )

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the links that `connect` opens."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for job in self._to_do:
                nursery.start_soon(job)

    # --- calls -----------------------------------------------------------------------------------------------------

    async def connect(self, at_once: int) -> list[float]:
        """Link every peer, so many at once; seconds from now until each was linked."""
        began, linked = trio.current_time(), []
        limiter = trio.CapacityLimiter(at_once)

        async def link(number: int) -> None:
            wait = limits.BACKOFF_FIRST
            while True:
                async with limiter:
                    if await self._call(number):
                        linked.append(trio.current_time() - began)
                        return
                await trio.sleep(wait * random.uniform(*limits.BACKOFF_JITTER))
                wait = min(wait * limits.BACKOFF_GROWTH, limits.BACKOFF_CAP)

        async with trio.open_nursery() as nursery:
            for number in range(len(self._plans)):
                nursery.start_soon(link, number)
        return linked

    async def quiet(self, run: int, seconds: float) -> Quiet:
        """Every peer sends one envelope, and the next when that is acknowledged."""
        self._number, self._refused, self._took = run << RUN_SHIFT, 0, []
        began = trio.current_time()
        self._until = began + seconds
        for link in list(self._open.values()):
            await self._send(link)
        await trio.sleep(seconds)
        took = trio.current_time() - began
        settled = list(self._took)
        while any(link.sent_at for link in self._open.values()):
            self._changed = trio.Event()
            await self._changed.wait()
        return Quiet(settled=len(settled), refused=self._refused, seconds=took, took_ms=settled)

    async def sent(self, run: int) -> int:
        """Envelopes of the last run, those included that were acknowledged after its end."""
        return self._number - (run << RUN_SHIFT)

    async def wait_gone(self) -> None:
        """Until no peer is linked."""
        while self._open:
            self._changed = trio.Event()
            await self._changed.wait()

    # --- one peer --------------------------------------------------------------------------------------------------

    async def _call(self, number: int) -> bool:
        """Whether the peer is linked now."""
        settled = trio.Event()

        async def serve() -> None:
            try:
                await self._converse(number, settled.set)
            except (VollyFedError, OSError, trio.TooSlowError):
                settled.set()

        await self._jobs.send(serve)
        await settled.wait()
        return number in self._open

    async def _converse(self, number: int, linked: Callable[[], object]) -> None:
        address, plan = self._plans[number]
        with trio.fail_after(limits.CONNECT):
            stream = await trio.open_tcp_stream("127.0.0.1", self._whom.port, local_address=address)
        await dial(stream, attrs.evolve(plan, use=partial(self._use, number, linked)))

    async def _use(self, number: int, linked: Callable[[], object], connection: Connection) -> None:
        link = _Link(Line(connection.socket))
        await link.line.say(Open(stream=link.stream))
        try:
            async for message in link.line.messages():
                assert isinstance(message, Ack), message
                if number not in self._open:
                    self._open[number] = link
                    linked()
                elif message.cursor == link.sent:
                    await self._acknowledged(link, message)
        finally:
            self._open.pop(number, None)
            self._changed.set()

    async def _acknowledged(self, link: _Link, message: Ack) -> None:
        self._took.append((time.monotonic_ns() - link.sent_at) / 1e6)
        self._refused += len(message.refusals)
        link.sent_at = 0
        if trio.current_time() < self._until:
            await self._send(link)
        else:
            self._changed.set()

    async def _send(self, link: _Link) -> None:
        link.sent += 1
        link.sent_at = time.monotonic_ns()
        data = self._press.batch(link.stream, link.sent, self._number, [link.sent_at])
        self._number += 1
        await link.line.send(data)
