"""What an edge node's registry wants done: the daemon carries it out, in order.

in: nothing; out: the kinds of action.
"""

from typing import NamedTuple, TypeAlias

from volly_fed.codepoints import ErrorCode
from volly_fed.wire.message import Message


class ToDevice(NamedTuple):
    """Send `message` on this connection."""

    connection: int
    message: Message


class ToHomeserver(NamedTuple):
    """Send `message` on the link to the homeserver."""

    message: Message


class HangUp(NamedTuple):
    """End this connection, and tell the device why (`Registry.disconnect` is called as for any end)."""

    connection: int
    code: ErrorCode
    text: str


class Offer(NamedTuple):
    """Offer these to the session's outbound stream: (key, envelope); later call `Registry.settled` with the keys."""

    items: list[tuple[int, bytes]]


class Feed(NamedTuple):
    """`Presence.next_shown` has something for this connection, for when nothing else waits to be sent there."""

    connection: int


class Speak(NamedTuple):
    """`Presence.next_owed` has something for the homeserver, for when its link has room."""


Action: TypeAlias = ToDevice | ToHomeserver | HangUp | Offer | Feed | Speak
