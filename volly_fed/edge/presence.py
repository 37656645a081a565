"""Presence at an edge node: what devices announce, and what they watch, each on connections of its own.

in: messages of devices and of the homeserver, connections that end, links, time; out: actions, and what is owed.
An edge sees which tags a connection announces, and which domains another one watches; it cannot compute a tag, place
one in a filter that was drawn for somebody else, or tell whom a device looks for. Neither goes with a mailbox.
Never: tells the homeserver which connection watches, or links the number of an announcement with anything else.
"""

from volly_fed.edge.actions import Action, Speak
from volly_fed.edge.announcers import Announcers
from volly_fed.edge.watches import Watches
from volly_fed.wire import Message
from volly_fed.wire.presence import Announce, Retract, Shown, Unwatch, Watch


class Presence:
    """One per edge node."""

    def __init__(self) -> None:
        self.announcers = Announcers()
        self.watches = Watches()

    def __contains__(self, connection: int) -> bool:
        """Whether this connection announces or watches anything."""
        return connection in self.announcers or connection in self.watches

    def receive_device(
        self, connection: int, message: Announce | Retract | Watch | Unwatch, now: float
    ) -> list[Action]:
        """What follows from a device's message; `now` is the wall clock. Raises RemoteError: end its connection."""
        if isinstance(message, Announce | Retract):
            self.announcers.take(connection, message, now)
            return self._and_speak([])
        return self._and_speak(self.watches.take(connection, message, now))

    def receive_homeserver(self, message: Shown | Unwatch, now: float) -> list[Action]:
        """What follows from a message on the link; `now` is the wall clock."""
        if isinstance(message, Shown):
            return self._and_speak(self.watches.shown(message, now))
        return self.watches.refused(message)

    def disconnect(self, connection: int) -> list[Action]:
        """It is gone."""
        self.announcers.gone(connection)
        self.watches.gone(connection)
        return self._and_speak([])

    def tick(self, now: float) -> list[Action]:
        """Let time pass (a clock that does not run backwards)."""
        return self._and_speak(self.watches.tick(now))

    def link_up(self) -> None:
        """There is a link: everything is owed on it (`next_owed`)."""
        self.announcers.link_up()
        self.watches.link_up()

    def link_down(self) -> None:
        """There is none; connections and what they have said stay."""
        self.announcers.link_down()
        self.watches.link_down()

    @property
    def owes(self) -> bool:
        """Whether `next_owed` may have something."""
        return self.announcers.owes or self.watches.owes

    def next_owed(self) -> Message | None:
        """What the homeserver is to be told next, when the link has room; None: it knows everything."""
        return self.announcers.next_owed() or self.watches.next_owed()

    def next_shown(self, connection: int) -> bytes | None:
        """The next frame for a device that watches, when it can take one; None: it has been given everything."""
        return self.watches.next_shown(connection)

    def _and_speak(self, actions: list[Action]) -> list[Action]:
        return [*actions, Speak()] if self.owes else actions
