"""Two fakes on loopback: one has called the other, and a test leads both."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from interop.fake_peer import Peer, Persona, Target, calling, listening
from volly_fed.names import DomainName

A, B = DomainName("a.test"), DomainName("b.test")
Play = Callable[[], Awaitable[object]]


@functools.cache
def persona(domain: str) -> Persona:
    return Persona.create(domain)


@attrs.frozen
class Two:
    dialler: Peer
    listener: Peer

    async def secure(self) -> None:
        await both(self.dialler.secure, self.listener.secure)

    async def upgrade(self) -> None:
        await self.secure()
        await both(self.dialler.upgrade, self.listener.upgrade)

    async def shake(self) -> None:
        await self.upgrade()
        await both(self.dialler.shake, self.listener.shake)

    async def begin(self) -> None:
        await self.shake()
        await both(self.dialler.begin, self.listener.begin)


@asynccontextmanager
async def two() -> AsyncIterator[Two]:
    """A TCP connection from a fake a.test to a fake b.test; its layers are the test's."""
    async with listening(persona(B)) as door:
        target = Target(domain=B, host=persona(B).host, address="127.0.0.1", port=door.port)
        async with calling(persona(A), target, source="127.0.0.7") as dialler, door.caller(A) as listener:
            for peer in (dialler, listener):
                peer.patience = 5.0
            yield Two(dialler, listener)


async def both(*plays: Play) -> None:
    """All of these at the same time; a failure of one comes out as itself."""
    failures: list[Exception] = []

    async def run(play: Play) -> None:
        try:
            await play()
        except Exception as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for play in plays:
            nursery.start_soon(run, play)
    if failures:
        raise failures[0]
