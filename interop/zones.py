"""The DNS of a run: signed zones that come and go while it is served.

in: domains with their records; out: answers, for a `WorldServer`, and the trust anchor.
Never: keeps a zone of which nobody is left.
"""

import os
from collections.abc import Iterable
from typing import Final

import attrs
import dns.message

from volly_fed.names import DomainName
from volly_fed.testing.world import Flaw, World
from volly_fed.testing.world_server import Reply

TLD: Final = "test"


@attrs.frozen
class _Zone:
    records: tuple[str, ...]
    signed: bool
    flaws: Flaw


class Zones:
    """Signed zones below `test.`. `world` is what is served now; it is made anew when a zone comes or goes."""

    def __init__(self) -> None:
        """No zone but the root and the top-level domain."""
        self._seed = os.urandom(32)
        self._zones: dict[DomainName, _Zone] = {}
        self.world = self._signed()

    @property
    def anchors(self) -> str:
        """The root's, as DS lines; the same all the time."""
        return self.world.anchor_text

    def reply(self, query: dns.message.Message, *, udp: bool) -> Reply:
        """What to do about `query`: see `WorldServer`."""
        return self.world.reply(query, udp=udp)

    def publish(
        self, domain: DomainName, records: Iterable[str], *, signed: bool = True, flaws: Flaw = Flaw.NONE
    ) -> None:
        """Serve these lines, relative to `domain`, from now on. Resolvers may hold older ones for an hour."""
        self._zones[domain] = zone = _Zone(tuple(records), signed, flaws)
        self.world.zone(domain, zone.records, signed=signed, flaws=flaws)
        self.world.update(TLD)  # its delegation; all others stay as they are signed
        self.world.update(domain)

    def withdraw(self, *domains: DomainName) -> None:
        """There are no such zones any more."""
        gone = [domain for domain in domains if self._zones.pop(domain, None) is not None]
        if gone:
            self.world = self._signed()

    def _signed(self) -> World:
        world = World(TLD, seed=self._seed)
        for domain, zone in self._zones.items():
            world.zone(domain, zone.records, signed=zone.signed, flaws=zone.flaws)
        world.sign()
        return world
