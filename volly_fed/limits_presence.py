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
