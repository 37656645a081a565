"""Users who are online and devices that watch, behind a FakeEdge.

in: presence keys, edges; out: announcements; what a watching device says of a user.
Never: knows more than a contact's device: it looks for tags in the filters that come.
"""

import os
import time
from collections.abc import Sequence

import attrs

from interop.fake_edge import FakeEdge
from volly_fed.client.presence import announcement
from volly_fed.client.sightings import Presence, Sightings
from volly_fed.crypto.secret import Secret
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence.bounds import EPOCH
from volly_fed.presence.tags import KEY_BYTES
from volly_fed.wire import messages as wire

KEYS = 3
"""Of one user, each announced for itself: a filter has one key in 1000 by chance, and all three never."""


@attrs.define(eq=False, kw_only=True)
class FakeUser:
    """Somebody at `domain` who lets users of `scopes` see when they are online."""

    domain: DomainName
    scopes: tuple[str, ...]
    keys: tuple[Secret, ...] = attrs.field(repr=False)
    _numbers: list[int] = attrs.field(factory=list, init=False)
    _edge: FakeEdge | None = attrs.field(default=None, init=False)

    @classmethod
    def new(cls, domain: DomainName, *scopes: str) -> "FakeUser":
        """With fresh keys; no scopes: nobody is let see."""
        return cls(domain=domain, scopes=scopes, keys=tuple(Secret(os.urandom(KEY_BYTES)) for _ in range(KEYS)))

    def come(self, edge: FakeEdge) -> None:
        """Be online, in this epoch and the next."""
        self._edge, self._numbers = edge, [edge.number() for _ in self.keys]
        now = int(time.time()) // EPOCH
        for number, key in zip(self._numbers, self.keys, strict=True):
            for epoch in (now, now + 1):
                edge.send(attrs.evolve(announcement(key, epoch, self.scopes), number=number))

    def go(self) -> None:
        """Be online no more."""
        assert self._edge is not None, "it has come"
        for number in self._numbers:
            self._edge.send(wire.Retract(number=number))


@attrs.define(eq=False)
class Watcher:
    """A device behind `edge` that watches the domains of `users`; `watch` it first."""

    edge: FakeEdge
    users: Sequence[FakeUser]
    _sightings: Sightings = attrs.field(init=False)
    _seen: dict[Fingerprint, Presence] = attrs.field(factory=dict, init=False)
    _read: int = attrs.field(default=0, init=False)

    def watch(self) -> None:
        """Ask the homeserver."""
        self._sightings = Sightings(self.edge.call.domain)
        contacts: dict[DomainName, dict[Fingerprint, Secret]] = {}
        for user in self.users:
            contacts.setdefault(user.domain, {}).update({_name(key): key for key in user.keys})
        self._sightings.look_for(contacts)
        self._sightings.connected()
        self._read = len(self.edge.shown)
        for domain in contacts:
            self.edge.send(wire.Watch(domain=domain))

    def unwatch(self) -> None:
        """Watch no more."""
        for domain in self._sightings.domains:
            self.edge.send(wire.Unwatch(domain=domain))

    async def sees(self, user: FakeUser, presence: Presence) -> None:
        """Wait until the device says this of `user`."""
        await self.edge.until(lambda: self.says(user) is presence)

    def says(self, user: FakeUser) -> Presence:
        """What it says now, of what has come."""
        for message in self.edge.shown[self._read :]:
            self._read += 1
            if isinstance(message, wire.Unwatch):
                self._sightings.refused(message.domain, message.text)
            elif not self._sightings.shown(message.domain, message.message, time.time()):
                self.edge.send(wire.Watch(domain=message.domain))
        for sighting in self._sightings.events():
            self._seen[sighting.identity] = sighting.presence
        said = {self._seen.get(_name(key), Presence.UNKNOWN) for key in user.keys}
        return said.pop() if len(said) == 1 else Presence.OFFLINE


def _name(key: Secret) -> Fingerprint:
    return Fingerprint(key.reveal())
