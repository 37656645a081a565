"""A stranger that misbehaves, row by row: a connection as deep as a row wants it, and the honest one afterwards.

in: a Stage, rows of a table; out: all rows that failed, by name, in one Failed.
Never: lets one row hide another: each has connections of its own, and what it leaves is looked at by an honest peer.
"""

import enum
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from interop.cast import new_source
from interop.fake_edge import FakeEdge
from interop.fake_peer import Door, Peer, Persona, Target, calling, listening
from interop.fake_tls import HONEST, TlsHabits
from interop.scenario import Failed
from interop.server import Server
from interop.stage import Stage, Stranger
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import Envelope, encode_envelope
from volly_fed.wire.messages import Ack, Batch, Close

_BETWEEN: Final = 4
"""Rows of one stranger between two honest conversations: unproved claims are counted, and a proof wipes them."""


class Depth(enum.IntEnum):
    """How far a connection is led honestly before a row has it."""

    TCP = 0
    TLS = 1
    OPEN = 2
    HELLOS = 3
    PROVED = 4
    BEGUN = 5


@attrs.define(eq=False, kw_only=True)
class Rogue:
    """One stranger of a stage. `calling` and `called` give a connection in either role."""

    server: Server
    stranger: Stranger
    persona: Persona
    door: Door
    edge: FakeEdge | None = None
    owed: int = 0
    """Envelopes that the server has for it and that it has not settled."""
    cursors: dict[bytes, int] = attrs.field(factory=dict)
    """Of the server's streams to it."""

    @property
    def domain(self) -> DomainName:
        """Its name."""
        return self.persona.domain

    @property
    def target(self) -> Target:
        """The server under test."""
        site = self.server.site
        return Target(domain=site.domain, host=site.host, address=site.federation[0], port=site.federation[1])

    @asynccontextmanager
    async def calling(
        self, depth: Depth, habits: TlsHabits = HONEST, *, source: str = "", **hello: Any
    ) -> AsyncIterator[Peer]:
        """A connection to the server; `hello` are arguments of `Hands.hello`."""
        async with calling(self.persona, self.target, source=source or self.stranger.source) as peer:
            peer.cursors = self.cursors
            await _lead(peer, depth, habits, hello)
            yield peer

    @asynccontextmanager
    async def called(self, depth: Depth, habits: TlsHabits = HONEST, **hello: Any) -> AsyncIterator[Peer]:
        """A connection from the server, which is given a reason to call."""
        await self.be_wanted()
        async with self.door.caller(self.server.site.domain) as peer:
            peer.cursors = self.cursors
            await _lead(peer, depth, habits, hello)
            yield peer

    async def be_wanted(self, *, urgency: EnvelopeClass = EnvelopeClass.SIGNAL, again: bool = False) -> None:
        """See that the server has an envelope for us."""
        if self.owed and not again:
            return
        assert self.edge is not None, "somebody has to submit"
        outcomes = await self.edge.submit(letter(self.domain, urgency=urgency))
        if outcomes != [None]:
            raise Failed(f"the server does not take an envelope for {self.domain}: {outcomes}")
        self.owed += 1

    # --- the honest conversations afterwards -------------------------------------------------------------------------

    async def call_honestly(self) -> None:
        """Call, hand over an envelope, see it settled, and leave in order."""
        async with self.calling(Depth.BEGUN) as peer:
            await peer.send(Batch(stream=peer.stream, first=1, envelopes=[letter(self.server.site.domain)]))
            while (ack := await peer.expect(Ack)).cursor != 1:
                pass
            if [code for _, code, _ in ack.refusals] != [ErrorCode.UNDELIVERABLE]:
                raise peer.dialogue.mismatch("an envelope for nobody was to be UNDELIVERABLE")
            await leave(peer)

    async def be_called_honestly(self) -> None:
        """Be called, take what comes, and leave in order."""
        async with self.called(Depth.BEGUN) as peer:
            await self.take_all(peer)
            await leave(peer)

    async def take_all(self, peer: Peer) -> list[bytes]:
        """Settle all that the server has for us, on a link whose streams have begun."""
        taken: list[bytes] = []
        while self.owed:
            batch = await peer.expect(Batch)
            taken += batch.envelopes
            self.owed -= len(batch.envelopes)
            self.cursors[batch.stream] = batch.first + len(batch.envelopes) - 1
            await peer.send(Ack(stream=batch.stream, cursor=self.cursors[batch.stream]))
        return taken


async def _lead(peer: Peer, depth: Depth, habits: TlsHabits, hello: dict[str, Any]) -> None:
    if depth >= Depth.TLS:
        await peer.secure(habits)
    if depth >= Depth.OPEN:
        await peer.upgrade()
        peer.hold_hands()
    if depth >= Depth.PROVED and not hello:
        await peer.shake()
    elif depth >= Depth.HELLOS:
        await peer.exchange_hellos(**hello)
    if depth >= Depth.BEGUN:
        await peer.begin()


async def leave(peer: Peer) -> None:
    """End an established link in order: CLOSE from both ends, then the WebSocket."""
    peer.allow(Ack)
    await peer.send(Close(code=ErrorCode.NONE, text=""))
    close = await peer.expect(Close)
    if close.code is not ErrorCode.NONE:
        raise peer.dialogue.mismatch("the answer to a planned CLOSE was to be a planned one")
    await peer.hang_up()


def letter(
    domain: DomainName | str,
    *,
    mailbox: bytes = bytes(32),
    capability: bytes = bytes(16),
    expiry: float | None = None,
    urgency: EnvelopeClass = EnvelopeClass.SIGNAL,
    body: int = 1024,
) -> bytes:
    """An envelope that nobody has sealed."""
    return encode_envelope(
        Envelope(
            mailbox=MailboxId(mailbox),
            domain=DomainName(domain),
            id=os.urandom(16),
            expiry=int(time.time() + 3600 if expiry is None else expiry),
            urgency=urgency,
            capability=capability,
            body=os.urandom(body),
        )
    )


async def rogue(stage: Stage, label: str = "rogue", *, edge: FakeEdge | None = None, **options: Any) -> Rogue:
    """A stranger that the server trusts fully unless `options`, those of `Stage.stranger`, say otherwise."""
    stranger = await stage.stranger(label, **options)
    persona = Persona(domain=stranger.domain, identity=stranger.keys.identity, tls=stranger.keys.shown)
    door = await stage.nursery.start(_keep_door, persona, stranger.address)
    return Rogue(server=stage.servers[0], stranger=stranger, persona=persona, door=door, edge=edge)


async def _keep_door(
    persona: Persona, address: tuple[str, int], *, task_status: trio.TaskStatus[Door] = trio.TASK_STATUS_IGNORED
) -> None:
    async with listening(persona, *address) as door:
        task_status.started(door)
        await trio.sleep_forever()


# --- tables ----------------------------------------------------------------------------------------------------------

Play = Callable[[Rogue], Awaitable[None]]
Rows = Iterable[tuple[str, Play]]


async def play_calling(stage: Stage, rows: Rows, *, strangers: int = 3) -> None:
    """Play each of `rows`, in which strangers call, and see each time that an honest one gets through afterwards."""
    rogues = [await rogue(stage) for _ in range(strangers)]
    await _play(rogues, rows, Rogue.call_honestly, _BETWEEN)


async def play_called(stage: Stage, rows: Rows, *, strangers: int = 8) -> None:
    """As `play_calling`, with the server as the one who calls; it comes again after each row."""
    edge = await stage.edge(stage.servers[0])
    rogues = [await rogue(stage, edge=edge) for _ in range(strangers)]
    await _play(rogues, rows, Rogue.be_called_honestly, 1)


async def _play(rogues: Sequence[Rogue], rows: Rows, honestly: Play, between: int) -> None:
    waiting, failed = iter(list(rows)), list[str]()

    async def work(rogue: Rogue) -> None:
        names: list[str] = []
        for name, play in waiting:
            names.append(name)
            await _attempt(name, play, rogue, failed)
            if len(names) == between:
                await _attempt(f"an honest peer after {', '.join(names)}", honestly, rogue, failed)
                names.clear()
        if names:
            await _attempt(f"an honest peer after {', '.join(names)}", honestly, rogue, failed)

    async with trio.open_nursery() as nursery:
        for each in rogues:
            nursery.start_soon(work, each)
    if failed:
        raise Failed("\n\n".join([f"{len(failed)} rows failed", *failed]))


async def _attempt(name: str, play: Play, rogue: Rogue, failed: list[str]) -> None:
    try:
        await play(rogue)
    except Exception as error:  # whatever it is, the other rows are played too
        failed += [f"row {name!r}: {type(leaf).__name__}: {leaf}" for leaf in _leaves(error)]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def other_source() -> str:
    """An address from which nobody has called."""
    return new_source()
