"""A DNS of our own: a root, a top-level domain and any number of zones below, really signed, in memory.

in: zone-file lines and, for tests, flaws; out: answers (`respond`), zone files, and the trust anchor as text.
Never: shares anything with the real DNS; its root is its own. Keys come from a seed, so anchors survive a restart.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import attrs
import dns.message
import dns.name
import dns.rdata
import dns.zone
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdtypes.ANY.DS import DS

from volly_fed.testing.world_answer import Responder, ZoneView
from volly_fed.testing.world_flaws import TRAP_ALGORITHM, plant, spoil, strip_ds
from volly_fed.testing.world_flaws import Flaw as Flaw
from volly_fed.testing.world_server import Datagrams as Datagrams
from volly_fed.testing.world_server import Later as Later
from volly_fed.testing.world_server import Reply, Response, settled
from volly_fed.testing.world_server import WorldServer as WorldServer
from volly_fed.testing.world_sign import Nsec3 as Nsec3
from volly_fed.testing.world_sign import Window, ZoneKeys, sign_zone

Hook: TypeAlias = Callable[[dns.message.Message, dns.message.Message, bool], Reply]
"""(query, the right response, over UDP) -> what the server does instead; `world_faults` has ready-made ones."""

Algorithms: TypeAlias = int | tuple[int, ...]
"""DNSSEC algorithm numbers: 5, 7, 8, 10, 13, 14, 15, 16, 18, or several of them for a zone that has keys of each."""

_HOUR: Final = 3600
_WEEK: Final = 7 * 24 * _HOUR
_LIFETIME: Final = 30 * 24 * _HOUR
_TTL: Final = 3600
_SOA: Final = "{server} hostmaster.{server} {serial} 3600 600 86400 300"
_PRIVATE_ALGORITHM: Final = 253  # RFC 4034 §A.1.1: nobody supports it
_UNASSIGNED_DIGEST: Final = 250


@attrs.define(kw_only=True)
class _Zone:
    origin: dns.name.Name
    lines: list[str]
    keys: ZoneKeys | None
    nsec3: Nsec3 | None
    flaws: Flaw
    digests: tuple[int, ...]
    serial: int = 1
    signed: dns.zone.Zone | None = None

    def delegation(self) -> list[dns.rdata.Rdata]:
        """The DS set that the parent shows."""
        if self.keys is None or Flaw.NO_DS in self.flaws:
            return []
        digests = (DSDigest.SHA1,) if Flaw.SHA1_DIGEST in self.flaws else self.digests
        return [self._misled(ds) for digest in digests for ds in self.keys.ds_set(DSDigest.make(digest))]

    def _misled(self, ds: DS) -> dns.rdata.Rdata:
        if Flaw.WRONG_DS in self.flaws:
            return ds.replace(digest=ds.digest[::-1])
        if Flaw.UNKNOWN_ALGORITHM in self.flaws:
            return ds.replace(algorithm=_PRIVATE_ALGORITHM)
        if Flaw.UNKNOWN_DIGEST in self.flaws:
            return ds.replace(digest_type=_UNASSIGNED_DIGEST)
        return ds


class World:
    """Zones under one private root. Add zones, then `sign`; `update` changes and re-signs one at run time."""

    def __init__(
        self,
        tld: str = "test",
        *,
        seed: bytes = b"",
        algorithm: Algorithms = Algorithm.ECDSAP256SHA256,
        nsec3: bool = False,
    ) -> None:
        """`seed` makes keys repeatable; without it they are new. `algorithm` and `nsec3` are defaults for all zones."""
        self._seed = seed or os.urandom(32)
        self._algorithm = algorithm
        self._nsec3 = Nsec3() if nsec3 else None
        self._zones: dict[dns.name.Name, _Zone] = {}
        self._hooks: dict[dns.name.Name, Hook] = {}
        self._responder = Responder([])
        self._now = 0.0
        self.zone(".")
        self.zone(tld)

    def zone(
        self,
        origin: str,
        records: Iterable[str] = (),
        *,
        signed: bool = True,
        nsec3: Nsec3 | None = None,
        algorithm: Algorithms | None = None,
        flaws: Flaw = Flaw.NONE,
        digests: tuple[int, ...] = (DSDigest.SHA256,),
    ) -> None:
        """Add or replace a zone; it is served after the next `sign`.

        `records` are zone-file lines; names without a final dot are relative to `origin`. SOA, NS, the delegation in
        the parent zone and its DS come by themselves; `signed=False` makes an unsigned delegation. With several
        algorithms the zone is signed by keys of each. It has a DS for each of them with each of `digests` (RFC 4034
        §A.2). ValueError for an unknown algorithm.
        """
        name = dns.name.from_text(origin)
        chosen = TRAP_ALGORITHM if Flaw.KEY_TRAP in flaws else algorithm or self._algorithm
        keys = ZoneKeys.derive(self._seed, name, chosen) if signed else None
        hashing = (nsec3 or self._nsec3) if signed else None
        self._zones[name] = _Zone(
            origin=name, lines=list(records), keys=keys, nsec3=hashing, flaws=flaws, digests=digests
        )

    def sign(self, now: float | None = None) -> None:
        """Build and sign every zone as of `now` (seconds since 1970, the clock's if left out), valid for 30 days."""
        self._now = time.time() if now is None else now
        for zone in self._zones.values():
            self._build(zone)
        self._publish()

    def update(self, origin: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Change the lines of one zone and sign it again, as of the same time; KeyError for a zone that is not there.

        `remove` takes lines exactly as they were given; one that is not there is a ValueError.
        """
        zone = self._zones[dns.name.from_text(origin)]
        for line in remove:
            zone.lines.remove(line)
        zone.lines.extend(add)
        zone.serial += 1
        self._build(zone)
        self._publish()

    def hook(self, name: str, hook: Hook | None) -> None:
        """Let `hook` see, change or withhold every response at or below `name`; None removes it."""
        owner = dns.name.from_text(name)
        if hook is None:
            self._hooks.pop(owner, None)
        else:
            self._hooks[owner] = hook

    @property
    def origins(self) -> list[str]:
        """The zones' names, in canonical order, root first."""
        return [name.to_text() for name in sorted(self._zones)]

    @property
    def anchor_text(self) -> str:
        """The private root's trust anchor, as DS lines of a zone file."""
        return self.anchor_of(".")

    def anchor_of(self, origin: str) -> str:
        """A trust anchor for a signed zone, whatever its parent says: its DS lines. KeyError where there is none."""
        name = dns.name.from_text(origin)
        keys = self._zones[name].keys
        if keys is None:
            raise KeyError(origin)
        return "".join(f"{name} {_TTL} IN DS {ds.to_text()}\n" for ds in keys.ds_set())

    def zone_text(self, origin: str) -> str:
        """The signed zone as a zone file with absolute names; KeyError before `sign`."""
        signed = self._zones[dns.name.from_text(origin)].signed
        if signed is None:
            raise KeyError(origin)
        return signed.to_text(sorted=True, relativize=False)

    def respond(self, query: dns.message.Message, *, udp: bool = True) -> Response:
        """What `query` gets from a server of this world in the end, hooks applied."""
        return settled(self.reply(query, udp=udp))

    def truth(self, query: dns.message.Message) -> dns.message.Message:
        """The right response to `query`: what hooks get to see."""
        return self._responder.respond(query)

    def reply(self, query: dns.message.Message, *, udp: bool = True) -> Reply:
        """What a server of this world does about `query`, hooks applied: those of the closest name at or above it."""
        response = self.truth(query)
        name = query.question[0].name
        while name not in self._hooks:
            if name == dns.name.root:
                return response
            name = name.parent()
        return self._hooks[name](query, response, udp)

    def _build(self, zone: _Zone) -> None:
        zone.signed = dns.zone.from_text(
            self._unsigned_text(zone), origin=zone.origin, relativize=False, check_origin=True
        )
        if zone.keys is not None and Flaw.NOT_SIGNED not in zone.flaws:
            plant(zone.signed, zone.flaws, zone.keys)
            sign_zone(zone.signed, zone.keys, self._window(zone.flaws), zone.nsec3)
            spoil(zone.signed, zone.flaws)
        for child in self._children(zone):
            if Flaw.STRIPPED_DS in child.flaws:
                strip_ds(zone.signed, child.origin)

    def _unsigned_text(self, zone: _Zone) -> str:
        server = dns.name.from_text("ns", zone.origin).to_text()
        lines = [
            f"$TTL {_TTL}",
            f"@ IN SOA {_SOA.format(server=server, serial=zone.serial)}",
            f"@ IN NS {server}",
            f"{server} IN A 127.0.0.1",
        ]
        for child in self._children(zone):
            below = dns.name.from_text("ns", child.origin).to_text()
            lines += [f"{child.origin} IN NS {below}", f"{below} IN A 127.0.0.1"]
            lines += [f"{child.origin} IN DS {ds.to_text()}" for ds in child.delegation()]
        return "\n".join([*lines, *zone.lines]) + "\n"

    def _children(self, zone: _Zone) -> list[_Zone]:
        return [child for child in self._zones.values() if self._parent(child) is zone]

    def _parent(self, zone: _Zone) -> _Zone | None:
        name = zone.origin
        while name != dns.name.root:
            name = name.parent()
            if name in self._zones:
                return self._zones[name]
        return None

    def _window(self, flaws: Flaw) -> Window:
        now = int(self._now)
        if Flaw.EXPIRED in flaws:
            return Window(inception=now - _LIFETIME, expiration=now - _WEEK)
        if Flaw.NOT_YET_VALID in flaws:
            return Window(inception=now + _WEEK, expiration=now + _LIFETIME)
        return Window(inception=now - _HOUR, expiration=now + _LIFETIME)

    def _publish(self) -> None:
        self._responder = Responder(ZoneView(zone.signed, zone.nsec3) for zone in self._zones.values() if zone.signed)
