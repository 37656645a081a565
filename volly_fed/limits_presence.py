"""Maxima and timers of presence between device, edge and homeserver (volly_fed.presence.bounds has those of a filter).

Sizes are bytes and times are seconds unless the name says otherwise.
"""

from typing import Final

# --- who is online -------------------------------------------------------------------------------------------------
ANNOUNCERS: Final = 900_000
"""Connections that have announced somebody, in all: so many find room in the largest filter."""
ANNOUNCED_TAGS_PER_EDGE: Final = 1 << 18
"""With their scopes, of all epochs; some 400 bytes each. 65 000 users with two scopes and two epochs."""
EDGE_HOLD: Final = 5.0
"""What came through an edge's link holds so long after it: the edge, or another, brings most of it again."""
RETRACTED_AT_ONCE: Final = 16
"""Of those who do not come back, between two turns of everybody else: each may concern every peer."""
RESTORE_HOLD: Final = 10.0
"""After a start, before a filter of the last run goes on: devices come back one by one."""

# --- who watches ---------------------------------------------------------------------------------------------------
WATCHED_PER_EDGE: Final = 4096
"""Domains; further ones are not answered."""
VIEW_BYTES: Final = 512 << 20
"""Filters of peers in memory; what a peer shows beyond it is not taken."""
UNWATCHED_LINGER: Final = 10.0
"""So long a domain that nobody watches any more counts as watched: devices move from connection to connection."""
STEPS_WAITING: Final = 64
"""Changes of one domain that wait for an edge; beyond it the whole filter is sent instead."""

PROMPTS_PER_SECOND: Final = 1000
"""Changes that leave at once, for all peers together; some 0.2 ms each. Beyond it they wait, and more go into one."""
PROMPTS_AT_ONCE: Final = 200
"""So many peers hear of a change with no wait at all, the last having been some time ago."""

# --- the hub -------------------------------------------------------------------------------------------------------
PRESENCE_SWEEP: Final = 10.0
"""Between two looks at what is over: epochs, filters, peers that are away."""
PRESENCE_SAVE: Final = 60.0
"""Between two writings of what peers show, for the case of a crash; else it is written when a link ends."""
PRESENCE_PROVED: Final = 60.0
"""A link that has lasted so long, and has brought what was asked for, ends a back-off."""
PRESENCE_RECORDS: Final = 10_000
"""Peers whose filters are remembered on the disk; as many as there are peers."""
