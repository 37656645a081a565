"""A peer whose identity changes, before a judge with a clock that is set."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from tests.daemon.sites import A, B, Site, endpoint, material, sites
from volly_fed.codepoints import Role
from volly_fed.daemon.identities import Acceptance
from volly_fed.daemon.material import Material
from volly_fed.errors import RemoteError
from volly_fed.handshake import Outcome
from volly_fed.names import DomainName, Fingerprint
from volly_fed.trust import make_statement
from volly_fed.trust.pins import Standing

NOW = time.time()
DAY = 86400.0
OLD, NEW, EVIL = material(B), material("b.test, later"), material("b.test, so says a thief")


def signed(old: Material = OLD, new: Material = NEW, *, domain: DomainName = B, **changes: int) -> bytes:
    facts: dict[str, int] = {"sequence": int(NOW), "not_before": int(NOW), "not_after": int(NOW + 90 * DAY)}
    return make_statement(domain=domain, old=old.identity, new=new.identity, **(facts | changes))


@attrs.define
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@attrs.define
class World:
    """One homeserver that judges b.test, with a clock of its own."""

    site: Site
    clock: Clock

    def publish(self, current: Material, following: Material | None = None) -> None:
        found = attrs.evolve(
            endpoint(B, 1),
            identity=current.fingerprint,
            identity_next=None if following is None else following.fingerprint,
            expires=self.clock.now + 3600,
        )
        self.site.resolver.known = {B: found}

    async def meet(self, keys: Material, statement: bytes = b"", role: Role = Role.ACCEPTOR) -> str:
        """b.test proves to hold `keys`: "" if it gets a link, else what it is told."""
        judge = self.site.server.judge
        _, evidence = await judge.look_up(B)
        proved = Outcome(
            peer=B,
            identity=keys.identity.public,
            fingerprint=keys.fingerprint,
            version=1,
            extensions={},
            role=role,
            statement=statement,
        )
        try:
            await judge.establish(proved, evidence)
        except RemoteError as error:
            return f"{error} [{error.code.name}]"
        return ""

    async def standing(self) -> Standing:
        return await self.site.store.standing(B)

    def events(self) -> list[str]:
        names = ("pinned", "identity_changed", "identity_announced", "identity_withdrawn", "identity_replaced")
        return [line["event"] for line in self.site.log.lines if line["event"] in names]

    async def accept(self, wanted: Fingerprint | None = None, *, only_ask: bool = False) -> Acceptance:
        return await self.site.server.judge.register.accept(B, wanted, only_ask=only_ask)


@asynccontextmanager
async def judging(folder: Path, clock: Clock | None = None) -> AsyncIterator[World]:
    (a,) = sites(folder, A)
    async with a.running(listening=False):
        world = World(a, clock or Clock())
        a.server.judge.clock = world.clock
        yield world


@asynccontextmanager
async def acquainted(folder: Path) -> AsyncIterator[World]:
    """Pinned to OLD already."""
    async with judging(folder) as world:
        world.publish(OLD)
        assert await world.meet(OLD) == ""
        assert world.events() == ["pinned"]
        world.site.log.lines.clear()
        yield world
