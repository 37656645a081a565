"""Showing presence to one peer, and viewing what one peer shows, as tables.

Triggers are message classes that cross the wire, Redrawn and Appeared. A missing entry is a protocol error.
"""

import enum
from typing import Final

import attrs

from volly_fed.codepoints import FilterClass
from volly_fed.machine import Transitions
from volly_fed.wire.messages import (
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
)


class Pace(enum.StrEnum):
    """When changes leave."""

    TICK = "tick"
    """Every bounds.TICK seconds, whether anything has changed or not: the time of a message says nothing."""
    PROMPT = "prompt"
    """At once. That something has changed is to be seen then; what it was is not."""


@attrs.frozen
class Redrawn:
    """Trigger, on the showing side: there is another filter than the peer has, or none."""


@attrs.frozen(kw_only=True)
class Appeared:
    """Event, on the viewing side: the peer shows another filter. What devices need is all here."""

    epoch: int
    key: bytes = attrs.field(repr=False)
    size: FilterClass
    sequence: int
    bits: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Changed:
    """Event: these bits of the filter have changed (presence.delta), which makes it the one at `sequence`."""

    sequence: int
    changes: bytes = attrs.field(repr=False)


@attrs.frozen
class Gone:
    """Event: the peer shows nothing any more, or its filter is out of date."""


class Showing(enum.Enum):
    """What we know of the peer's copy of our filter."""

    AWAY = enum.auto()
    """There is no link."""
    SILENT = enum.auto()
    """The peer has not asked for anything, and gets nothing."""
    OWING = enum.auto()
    """The peer waits for a filter."""
    FOLLOWING = enum.auto()
    """The peer has, or there is on its way to it, the filter at our sequence number."""


class Viewing(enum.Enum):
    """What we may expect of the peer."""

    AWAY = enum.auto()
    """There is no link; what the peer has shown last is kept until its epoch is over."""
    ASKING = enum.auto()
    """We have asked for a filter. Changes may still come in of one that we no longer want."""
    RECEIVING = enum.auto()
    """Pieces of a filter come in."""
    FOLLOWING = enum.auto()
    """We have a filter; its changes come in, or another filter."""


SHOWING: Final = Transitions(
    {
        Showing.AWAY: {Redrawn: Showing.AWAY},
        Showing.SILENT: {  # [presence-17]
            PresenceResume: Showing.OWING,
            PresenceRequest: Showing.OWING,
            Redrawn: Showing.SILENT,
        },
        Showing.OWING: {
            PresenceSnapshot: Showing.FOLLOWING,
            PresenceDelta: Showing.FOLLOWING,
            PresenceRequest: Showing.OWING,
            PresenceWithdraw: Showing.OWING,
            Redrawn: Showing.OWING,
        },
        Showing.FOLLOWING: {
            PresenceDelta: Showing.FOLLOWING,
            PresenceRequest: Showing.OWING,
            PresenceWithdraw: Showing.OWING,
            Redrawn: Showing.OWING,
        },
    }
)
"""A peer resumes once, at the beginning of a link; later it can only ask anew."""

VIEWING: Final = Transitions(
    {
        Viewing.AWAY: {PresenceResume: Viewing.FOLLOWING, PresenceRequest: Viewing.ASKING, Gone: Viewing.AWAY},
        Viewing.ASKING: {
            PresenceSnapshot: Viewing.RECEIVING,
            PresenceDelta: Viewing.ASKING,
            PresenceWithdraw: Viewing.ASKING,
            PresenceRequest: Viewing.ASKING,
            Gone: Viewing.ASKING,
        },
        Viewing.RECEIVING: {  # [presence-16]
            PresenceSnapshot: Viewing.RECEIVING,
            Appeared: Viewing.FOLLOWING,
            Gone: Viewing.RECEIVING,
            PresenceWithdraw: Viewing.ASKING,
            PresenceRequest: Viewing.ASKING,
        },
        Viewing.FOLLOWING: {
            PresenceDelta: Viewing.FOLLOWING,
            PresenceSnapshot: Viewing.RECEIVING,
            Gone: Viewing.ASKING,
            PresenceWithdraw: Viewing.ASKING,
            PresenceRequest: Viewing.ASKING,
        },
    }
)
"""PresenceResume and PresenceRequest are sent here, the other messages received."""
