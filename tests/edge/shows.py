"""A homeserver's side of what a domain shows, for tests of edges and devices: a Show, and its messages as SHOWN."""

import os

import attrs

from volly_fed.names import DomainName
from volly_fed.presence import Pace, Show, bounds, epoch_of
from volly_fed.wire import Message, encode_message
from volly_fed.wire.presence import PresenceDelta, PresenceRequest, PresenceWithdraw, Shown


@attrs.define
class Showing:
    """What `domain` shows to one link that watches it. `wall` says which epoch it is, and is the Show's clock too."""

    domain: DomainName
    wall: float
    show: Show = attrs.field(init=False)
    tags: set[bytes] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.show = Show(pace=Pace.PROMPT, random=os.urandom, now=self.wall)
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
