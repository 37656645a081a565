"""Who of one's contacts is online, as far as their domains show it: the watching device's own look into the filters.

in: contacts' domains and presence keys, SHOWN and UNWATCH of the edge, time; out: what has changed for whom.
A contact is looked for under two tags of the filter's epoch, that of our own domain and that of "*". Each is found by
chance in 5.7 of 10 000 filters in which it is not: at any moment one in 880 contacts who are away looks online, until
those bits of the filter change, or the epoch ends.
Never: asks anybody about a contact, or says "offline" where nothing is known.
"""

import enum
from collections.abc import Mapping

import attrs

from volly_fed import limits_presence
from volly_fed.crypto.secret import Secret
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence import View, presence_tag
from volly_fed.presence.state import Viewing
from volly_fed.trust.gates import EVERYBODY
from volly_fed.wire import Message, parse_message
from volly_fed.wire.presence import PresenceSnapshot


class Presence(enum.StrEnum):
    """What is to be said of a contact."""

    ONLINE = "online"
    OFFLINE = "offline"
    UNKNOWN = "unknown"
    """Their domain shows nothing at the moment, or we do not hear it."""


@attrs.frozen(kw_only=True)
class Sighting:
    """A contact has come, gone, or got out of sight; `reason` is the edge's or homeserver's word for the last."""

    domain: DomainName
    identity: Fingerprint
    presence: Presence
    reason: str = ""


@attrs.define(eq=False)
class _Domain:
    contacts: dict[Fingerprint, Secret] = attrs.field(repr=False)
    view: View = attrs.field(factory=View)
    epoch: int = -1
    """Of `tags`."""
    tags: dict[Fingerprint, tuple[bytes, ...]] = attrs.field(factory=dict, repr=False)
    seen: dict[Fingerprint, Presence] = attrs.field(factory=dict)
    """What was said last."""
    reason: str = ""
    """Why nothing is known of any of them, as far as that was said."""
    asked_at: float | None = None
    """When `tick` saw first that nothing had been said."""

    def begin(self) -> None:
        """Nothing has come since we asked. What was said stays said until something comes, or too much time passes."""
        self.view = View()
        self.view.connected()


class Sightings:
    """All contacts of one device. `wall` is unix time."""

    def __init__(self, own: DomainName) -> None:
        self._own = own
        self._domains: dict[DomainName, _Domain] = {}
        self._events: list[Sighting] = []
        self._lost_at: float | None = None

    @property
    def domains(self) -> list[DomainName]:
        """What to watch."""
        return list(self._domains)

    def look_for(self, contacts: Mapping[DomainName, Mapping[Fingerprint, Secret]]) -> None:
        """Look for these from now on, and for nobody else; whom it knows already it goes on with."""
        for domain in [known for known in self._domains if known not in contacts]:
            del self._domains[domain]
        for domain, keys in contacts.items():
            if domain not in self._domains:
                self._domains[domain] = made = _Domain({})
                made.begin()
            known = self._domains[domain]
            if known.contacts != keys:
                known.contacts, known.epoch = dict(keys), -1
                known.seen = {identity: seen for identity, seen in known.seen.items() if identity in keys}
                if known.view.filter is not None:
                    self._look(domain)

    def connected(self) -> None:
        """There is a connection, and everything will be asked for on it."""
        self._lost_at = None
        for known in self._domains.values():
            known.begin()

    def lost(self, wall: float) -> None:
        """There is none any more."""
        self._lost_at = self._lost_at if self._lost_at is not None else wall

    def shown(self, domain: DomainName, encoded: bytes, wall: float) -> bool:
        """Take the message in a SHOWN. False: it does not follow the last one, or is useless: ask again."""
        known = self._domains.get(domain)
        if known is None:
            return True  # no longer looked for
        try:
            message = parse_message(encoded)
            if _late(message, known.view):
                return True
            self._receive(known, message, wall)
        except RemoteError:
            known.begin()
            self._say_unknown(domain, "")
            return False
        if known.view.events() or known.view.filter is None:
            self._look(domain)
        return True

    def refused(self, domain: DomainName, reason: str) -> None:
        """The edge shows nothing of `domain`."""
        if domain in self._domains:
            self._domains[domain].begin()
            self._say_unknown(domain, reason)

    def tick(self, wall: float) -> None:
        """Let time pass: filters end with their epoch, and what is said of somebody with the connection."""
        stale = self._lost_at is not None and wall >= self._lost_at + limits_presence.VIEW_STALE
        for domain, known in self._domains.items():
            known.view.tick(wall)
            if not known.seen and known.asked_at is None:
                known.asked_at = wall
            silent = known.asked_at is not None and wall >= known.asked_at + limits_presence.VIEW_WAIT
            if stale or known.view.events() or (silent and not known.seen):
                self._say_unknown(domain, "")

    def events(self) -> list[Sighting]:
        """What has changed since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _receive(self, known: _Domain, message: Message, wall: float) -> None:
        try:
            known.view.receive(message, wall)
        except RemoteError:
            if not (isinstance(message, PresenceSnapshot) and not message.offset):
                raise
            known.begin()  # a filter that is older than ours: the homeserver has lost some, and so it is the one
            known.view.receive(message, wall)

    def _look(self, domain: DomainName) -> None:
        """Look for everybody in the filter as it is now."""
        known = self._domains[domain]
        shown = known.view.filter
        if shown is None:  # [presence-54]
            if known.view.state is Viewing.ASKING:
                self._say_unknown(domain, "")
            return
        if known.epoch != known.view.epoch:
            known.epoch = epoch = known.view.epoch
            known.tags = {
                identity: tuple(presence_tag(key, epoch, scope) for scope in (self._own, EVERYBODY))  # [presence-53]
                for identity, key in known.contacts.items()
            }
        known.reason = ""
        for identity, tags in known.tags.items():
            found = any(tag in shown for tag in tags)
            self._say(domain, identity, Presence.ONLINE if found else Presence.OFFLINE, "")

    def _say_unknown(self, domain: DomainName, reason: str) -> None:
        known = self._domains[domain]
        if reason and reason != known.reason:
            known.seen.clear()  # it is said once more, now with the reason
            known.reason = reason
        for identity in known.contacts:
            self._say(domain, identity, Presence.UNKNOWN, reason)

    def _say(self, domain: DomainName, identity: Fingerprint, presence: Presence, reason: str) -> None:
        seen = self._domains[domain].seen
        if seen.get(identity) is not presence:
            seen[identity] = presence
            self._events.append(Sighting(domain=domain, identity=identity, presence=presence, reason=reason))


def _late(message: Message, view: View) -> bool:
    """Whether it is the rest of a filter that came for an earlier question."""
    return isinstance(message, PresenceSnapshot) and bool(message.offset) and view.state is Viewing.ASKING
