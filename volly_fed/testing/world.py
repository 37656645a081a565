"""A DNS of our own: a root, a top-level domain and any number of zones below, really signed, in memory.

in: zone-file lines and, for tests, flaws; out: answers (`respond`), zone files, and the trust anchor as text.
Never: shares anything with the real DNS; its root is its own. Keys come from a seed, so anchors survive a restart.
"""

import enum
import os
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import attrs
import dns.message
import dns.name
import dns.rdata
import dns.rdataset
import dns.zone
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType

from volly_fed.testing.world_answer import Responder, ZoneView
from volly_fed.testing.world_server import WorldServer as WorldServer
from volly_fed.testing.world_sign import Nsec3 as Nsec3
from volly_fed.testing.world_sign import Window, ZoneKeys, sign_zone

Hook: TypeAlias = Callable[[dns.message.Message, dns.message.Message, bool], dns.message.Message | bytes | None]
"""(query, the right response, over UDP) -> what to send instead: a message, raw bytes, or None for silence."""

_HOUR: Final = 3600
_WEEK: Final = 7 * 24 * _HOUR
_LIFETIME: Final = 30 * 24 * _HOUR
_TTL: Final = 3600
_SOA: Final = "{server} hostmaster.{server} {serial} 3600 600 86400 300"
_PRIVATE_ALGORITHM: Final = 253  # RFC 4034 §A.1.1: nobody supports it


class Flaw(enum.Flag):
    """What is wrong with a zone."""

    NONE = 0
    EXPIRED = enum.auto()
    """All its signatures ended a week ago: beyond the tolerance of any validator."""
    NOT_YET_VALID = enum.auto()
    """All its signatures begin in a week."""
    BAD_SIGNATURE = enum.auto()
    """The last byte of every signature, except those over keys, is changed."""
    NO_SIGNATURES = enum.auto()
    """Signatures are stripped although the parent has a DS."""
    NO_DS = enum.auto()
    """Signed, but the parent proves that there is no DS: insecure."""
    WRONG_DS = enum.auto()
    """The parent's DS is of a key that the zone does not have."""
    UNKNOWN_ALGORITHM = enum.auto()
    """The parent's DS names an algorithm that nobody supports: insecure."""


@attrs.define(kw_only=True)
class _Zone:
    origin: dns.name.Name
    lines: list[str]
    keys: ZoneKeys | None
    nsec3: Nsec3 | None
    flaws: Flaw
    serial: int = 1
    signed: dns.zone.Zone | None = None

    def delegation(self) -> list[dns.rdata.Rdata]:
        if self.keys is None or Flaw.NO_DS in self.flaws:
            return []
        ds = self.keys.ds
        if Flaw.WRONG_DS in self.flaws:
            return [ds.replace(digest=ds.digest[::-1])]
        if Flaw.UNKNOWN_ALGORITHM in self.flaws:
            return [ds.replace(algorithm=_PRIVATE_ALGORITHM)]
        return [ds]


class World:
    """Zones under one private root. Add zones, then `sign`; `update` changes and re-signs one at run time."""

    def __init__(
        self, tld: str = "test", *, seed: bytes = b"", algorithm: int = Algorithm.ECDSAP256SHA256, nsec3: bool = False
    ) -> None:
        """`seed` makes keys repeatable; without it they are new. `nsec3` is the default for all zones."""
        self._seed = seed or os.urandom(32)
        self._algorithm = Algorithm(algorithm)
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
        algorithm: int | None = None,
        flaws: Flaw = Flaw.NONE,
    ) -> None:
        """Add or replace a zone; it is served after the next `sign`.

        `records` are zone-file lines; names without a final dot are relative to `origin`. SOA, NS, the delegation in
        the parent zone and its DS come by themselves; `signed=False` makes an unsigned delegation.
        """
        name = dns.name.from_text(origin)
        chosen = Algorithm(algorithm) if algorithm else self._algorithm
        keys = ZoneKeys.derive(self._seed, name, chosen) if signed else None
        hashing = (nsec3 or self._nsec3) if signed else None
        self._zones[name] = _Zone(origin=name, lines=list(records), keys=keys, nsec3=hashing, flaws=flaws)

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
        keys = self._zones[dns.name.root].keys
        assert keys is not None
        return f". {_TTL} IN DS {keys.ds.to_text()}\n"

    def zone_text(self, origin: str) -> str:
        """The signed zone as a zone file with absolute names; KeyError before `sign`."""
        signed = self._zones[dns.name.from_text(origin)].signed
        if signed is None:
            raise KeyError(origin)
        return signed.to_text(sorted=True, relativize=False)

    def respond(self, query: dns.message.Message, *, udp: bool = True) -> dns.message.Message | bytes | None:
        """What a server of this world says to `query`, hooks applied."""
        response = self._responder.respond(query)
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
        if zone.keys is not None:
            sign_zone(zone.signed, zone.keys, self._window(zone.flaws), zone.nsec3)
            _spoil(zone.signed, zone.flaws)

    def _unsigned_text(self, zone: _Zone) -> str:
        server = dns.name.from_text("ns", zone.origin).to_text()
        lines = [
            f"$TTL {_TTL}",
            f"@ IN SOA {_SOA.format(server=server, serial=zone.serial)}",
            f"@ IN NS {server}",
            f"{server} IN A 127.0.0.1",
        ]
        for child in self._zones.values():
            if child is not zone and self._parent(child) is zone:
                below = dns.name.from_text("ns", child.origin).to_text()
                lines += [f"{child.origin} IN NS {below}", f"{below} IN A 127.0.0.1"]
                lines += [f"{child.origin} IN DS {ds.to_text()}" for ds in child.delegation()]
        return "\n".join([*lines, *zone.lines]) + "\n"

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


def _spoil(zone: dns.zone.Zone, flaws: Flaw) -> None:
    for node in zone.nodes.values():
        signatures = [rdataset for rdataset in node.rdatasets if rdataset.rdtype == RdataType.RRSIG]
        for rdataset in signatures:
            if Flaw.NO_SIGNATURES in flaws:
                node.rdatasets.remove(rdataset)
            elif Flaw.BAD_SIGNATURE in flaws and rdataset.covers != RdataType.DNSKEY:
                node.rdatasets.remove(rdataset)
                changed = [rdata.replace(signature=_changed(rdata.signature)) for rdata in rdataset]
                node.rdatasets.append(dns.rdataset.from_rdata_list(rdataset.ttl, changed))


def _changed(signature: bytes) -> bytes:
    return signature[:-1] + bytes([signature[-1] ^ 1])
