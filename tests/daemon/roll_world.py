"""What a roll of the TLS key has around it: a zone, its servers, a clock and a homeserver."""

import attrs
import dns.rdata

from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import records_of
from volly_fed.daemon import material
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.upkeep import roll, roll_steps
from volly_fed.daemon.upkeep.authoritative import View
from volly_fed.daemon.upkeep.publish import federation_tlsa
from volly_fed.daemon.upkeep.roll import Look, Shown, judge, observe
from volly_fed.errors import LocalError

NOW = 1_800_000_000.0
TTL = 300
NEW = b"n" * 32
VALUES = {"server.domain": "a.test", "federation.host": "fed.a.test"}


def tlsa(config: HomeserverConfig) -> tuple[object, ...]:
    """The records as a server would show them."""
    records = federation_tlsa(config, records_of(config, material.load_published(config)))
    return tuple(dns.rdata.from_text("IN", "TLSA", record.data) for record in records)


@attrs.define
class World:
    """A clock, what the zone's servers show, and a homeserver that may refuse to reload."""

    config: HomeserverConfig
    now: float = NOW
    silent: bool = False
    published: tuple[object, ...] = ()
    reloads: int = 0
    refuses: bool = False

    def clock(self) -> float:
        return self.now

    def publish(self) -> None:
        self.published = tlsa(self.config)

    def reload(self, _: HomeserverConfig) -> None:
        self.reloads += 1
        if self.refuses:
            raise LocalError("the file is bad")

    async def look(self, config: HomeserverConfig, _: object, now: float) -> Look:
        state = roll.load(config)
        views = [
            View(server="ns1.test", address="192.0.2.1", rdatas=self.published, ttl=TTL),  # type: ignore[arg-type]  # rdatas
            View(server="ns2.test", address="192.0.2.2", rdatas=self.published, ttl=TTL)  # type: ignore[arg-type]  # rdatas
            if not self.silent
            else View(server="ns2.test", address="192.0.2.2", error="does not answer"),
        ]
        servers = tuple(judge(views, state.new))
        state = observe(state, servers, now)
        roll.save(config, state)
        return Look(roll=state, servers=servers, validated=Shown(server="v", shows=servers[0].shows, reason="as ns1"))

    async def finish(self, *, emergency: bool = False) -> roll_steps.Step:
        resolver = Resolver([("127.0.0.1", 1)])
        return await roll_steps.finish(self.config, resolver, self.clock, emergency=emergency, reload=self.reload)
