"""A homeserver's side of what a domain shows, for tests of edges and devices: a Show, and its messages as SHOWN."""

import random
import time

import attrs

from volly_fed.codepoints import ErrorCode
from volly_fed.names import DomainName
from volly_fed.presence import Pace, Show, bounds, epoch_of
from volly_fed.wire import Message, encode_message
from volly_fed.wire.presence import (
    Announce,
    PresenceDelta,
    PresenceRequest,
    PresenceWithdraw,
    Retract,
    Shown,
    Unwatch,
    Watch,
)

SEEDED = random.Random(20)
"""Filters of real chance have a stranger look online once in some hundred runs."""


@attrs.define
class Showing:
    """What `domain` shows to one link that watches it. `wall` says which epoch it is, and is the Show's clock too."""

    domain: DomainName
    wall: float
    show: Show = attrs.field(init=False)
    tags: set[bytes] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.show = Show(pace=Pace.PROMPT, random=SEEDED.randbytes, now=self.wall)
        self.show.connected()

    def watched(self) -> list[Shown]:
        """The answer to WATCH: a filter in pieces, even if there was one before."""
        self.show.lost()
        self.show.connected()
        self.show.receive(PresenceRequest(), self.wall)
        self.show.begin(epoch_of(self.wall), self.tags, self.wall)
        return self.said()

    def join(self, *tags: bytes) -> list[Shown]:
        """Somebody is online from now on."""
        for tag in tags:
            self.tags.add(tag)
            self.show.join(tag, self.wall)
        return self.said()

    def leave(self, *tags: bytes) -> list[Shown]:
        """Somebody no longer is."""
        for tag in tags:
            self.tags.remove(tag)
            self.show.leave(tag, self.wall)
        return self.said()

    def withdraw(self) -> Shown:
        """Nothing is shown any more."""
        return self.shown(PresenceWithdraw())

    def said(self) -> list[Shown]:
        """What there is to be said once the changes may leave."""
        self.wall += bounds.TICK
        messages = []
        while (message := self.show.next_message(self.wall)) is not None:
            messages.append(self.shown(message))
        return messages

    def shown(self, message: Message) -> Shown:
        """`message` as an edge gets it."""
        return Shown(domain=self.domain, message=encode_message(message))

    def gap(self) -> Shown:
        """A change that follows nothing."""
        return self.shown(PresenceDelta(filter=bytes(8), sequence=99, changes=bytes(64)))


@attrs.define
class Hub:
    """A homeserver, as far as one edge's presence goes; shows its own domain, and others not at all."""

    domain: DomainName
    deny: frozenset[DomainName] = frozenset()
    announced: dict[tuple[int, int], dict[str, bytes]] = attrs.field(factory=dict)
    watched: set[DomainName] = attrs.field(factory=set)
    own: Showing = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.own = Showing(self.domain, time.time())

    def receive(self, message: Message, wall: float) -> list[Shown | Unwatch]:
        """What follows from a message of the edge."""
        match message:
            case Announce():
                self.announced[message.number, message.epoch] = dict(message.tags)
                return self._follow(wall)
            case Retract():
                self.announced = {key: tags for key, tags in self.announced.items() if key[0] != message.number}
                return self._follow(wall)
            case Watch():
                if message.domain in self.deny:
                    return [Unwatch(domain=message.domain, code=ErrorCode.POLICY, text="it is not heard")]
                self.watched.add(message.domain)
                return [*self.own.watched()] if message.domain == self.domain else []
            case Unwatch():
                self.watched.remove(message.domain)
        return []

    def _follow(self, wall: float) -> list[Shown | Unwatch]:
        """The tags of this epoch, as the own domain sees them."""
        scopes = (self.domain, "*")
        tags = {
            next(tags[scope] for scope in scopes if scope in tags)
            for (_, epoch), tags in self.announced.items()
            if epoch == epoch_of(wall) and tags.keys() & set(scopes)
        }
        if self.own.show.epoch is None or self.domain not in self.watched:
            self.own.tags = tags
            return []
        gone, come = self.own.tags - tags, tags - self.own.tags
        return [*self.own.leave(*gone), *self.own.join(*come)] if gone or come else []
