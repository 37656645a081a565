"""A showing machine and what it sends, for its tests."""

from tests.presence.helpers import source, tags
from volly_fed.presence import Pace, Show, bounds
from volly_fed.presence.state import Showing
from volly_fed.wire import Message
from volly_fed.wire.messages import (
    PresenceDelta,
    PresenceRequest,
)

TICK = bounds.TICK


def made(pace: Pace = Pace.TICK, members: int = 100, seed: int = 1) -> Show:
    show = Show(pace=pace, random=source(seed), now=0.0)
    show.begin(7, tags(members), 0.0)
    return show


def drain(show: Show, now: float) -> list[Message]:
    messages = []
    while (message := show.next_message(now)) is not None:
        messages.append(message)
    return messages


def following(pace: Pace = Pace.TICK, members: int = 100) -> Show:
    show = made(pace, members)
    show.connected()
    show.receive(PresenceRequest(), 0.0)
    drain(show, 0.0)
    assert show.state is Showing.FOLLOWING
    return show


def only_delta(show: Show, now: float) -> PresenceDelta:
    (message,) = drain(show, now)
    assert isinstance(message, PresenceDelta)
    return message


def name(show: Show) -> bytes:
    return show._require_shown().filter_id
