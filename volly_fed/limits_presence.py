"""Maxima and timers of presence between device, edge and homeserver (volly_fed.presence.bounds has those of a filter).

Sizes are bytes and times are seconds unless the name says otherwise.
"""

from typing import Final

# --- edge nodes ----------------------------------------------------------------------------------------------------
ANNOUNCED_TAGS_PER_EDGE: Final = 1 << 18
"""With their scopes, of all epochs; some 400 bytes each. 65 000 users with two scopes and two epochs."""
ANNOUNCE_BURST: Final = 32
"""ANNOUNCE and RETRACT of one connection at once: two epochs, and a key that was replaced a few times."""
ANNOUNCE_EACH: Final = 10.0
"""Seconds that each further one takes; one epoch wants one."""
WATCHED_PER_EDGE: Final = 4096
"""Domains; further ones are not answered."""
WATCHED_PER_DEVICE: Final = 256
WATCHES_PER_EDGE: Final = 1 << 18
"""Pairs of a connection and a domain: about 100 MiB."""
WATCH_BURST: Final = 512
"""WATCH and UNWATCH of one connection at once: everything, twice."""
WATCH_EACH: Final = 2.0
"""Seconds that each further one takes: each may cost a filter of 2 MiB."""
VIEW_BYTES_PER_EDGE: Final = 256 << 20
"""Filters as they are, as they come in, and as they are handed to devices: up to four times a filter's size."""
VIEW_STEPS: Final = 1024
"""Changes kept after a filter for devices that have not read so far; then the filter is made anew."""
VIEW_STALE: Final = 60.0
"""Without a homeserver, before watching devices are told that nothing is known; it may just be starting again."""
VIEW_RETRY: Final = 60.0
"""Before a domain is asked for again whose filter could not be used."""
REFUSED_RETRY: Final = 60
"""Seconds that a device is asked to wait where one of these is used up."""

# --- devices -------------------------------------------------------------------------------------------------------
HOME_LOOK: Final = 5.0
"""Between two looks at the device's folder, which other commands change: keys that came, contacts that went."""
HAND_OVER_RETRY: Final = 600.0
"""Before a presence key is sent again to a contact whose homeserver did not take it."""
HAND_OVER_LINGER: Final = 5.0
"""How long a refusal by the contact's homeserver is waited for, before the key counts as handed over."""
ASK_AGAIN: Final = 86400
"""Before a contact is asked once more for the key that we do not have."""
ANNOUNCE_SPREAD: Final = 900.0
"""After an epoch's beginning, at most, the tags of the next one are announced: not by all devices at once."""
VIEW_WAIT: Final = 10.0
"""Without a word about a domain, before its contacts are called unknown."""
WATCH_AGAIN: Final = 60.0
"""Before a domain is asked for again that was refused, or whose filter could not be used."""

# --- who is online -------------------------------------------------------------------------------------------------
ANNOUNCERS: Final = 900_000
"""Connections that have announced somebody, in all: so many find room in the largest filter."""
EDGE_HOLD: Final = 5.0
"""What came through an edge's link holds so long after it: the edge, or another, brings most of it again."""
RETRACTED_AT_ONCE: Final = 16
"""Of those who do not come back, between two turns of everybody else: each may concern every peer."""
RESTORE_HOLD: Final = 10.0
"""After a start, before a filter of the last run goes on: devices come back one by one."""

# --- who watches ---------------------------------------------------------------------------------------------------
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
