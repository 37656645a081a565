"""Every maximum, size and timer of presence, with the reason where it is a choice (volly_fed.limits has the others).

Sizes are bytes and times are seconds unless the name says otherwise.
"""

from typing import Final

from volly_fed.codepoints import FilterClass

# --- geometry: the same for everybody, so that no peer can choose it -------------------------------------------------
SLICES: Final = 8
"""Bits of a tag, one in each slice."""
BITS_PER_TAG: Final = 2
"""In each slice: a full filter has 39 % of its bits set, and 5.7 of 10 000 strangers look like members."""
CAPACITY: Final = {size: 4096 << (2 * size) for size in FilterClass}
"""Tags: real ones and dummies together there are always so many."""
MAX_FILL: Final = 0.45
"""Of its bits. One that is filled to its capacity has 39.3 %, give or take 0.1 in the smallest class; in one where
everything is set everybody would be online."""
COUNTER_MAX: Final = 15
"""What a counter of four bits holds; the mean is one half. Whoever knows the key can make tags that meet in one bit:
what is beyond is kept elsewhere."""

# --- time ----------------------------------------------------------------------------------------------------------
EPOCH: Final = 1800
"""A key, a filter and everybody's tag live so long: what a peer can follow of bits that belong together ends here."""
EPOCH_GRACE: Final = 120
"""A filter may be followed so long after its epoch: not all peers get the new one in the same second."""
TICK: Final = 2.0
PROMPT: Final = 0.005
"""Between two messages, where changes leave at once: what comes in between leaves together."""
PROMPTS_PER_TICK: Final = 16
"""Beyond it the next tick is waited for: when thousands come back after an edge's restart, this is no storm."""

# --- what is sent --------------------------------------------------------------------------------------------------
TICK_CHANGES: Final = 4
"""So many tags come and so many go with each tick, at least, dummies included."""
PROMPT_CHANGES: Final = 2
"""The same with what leaves at once: their number does not tell whether somebody came or went. That something happened
is to be seen; and mostly that somebody went, if that user was there from the beginning."""
SNAPSHOT_PIECE: Final = 64 << 10
"""Of a filter in one message: envelopes pass between two of them."""
SNAPSHOT_PAUSE: Final = 10.0
"""Between two filters for the same peer because it asked: a request costs nothing, a filter up to 2 MiB."""
MIN_DELTA: Final = 64
MAX_DELTA: Final = 256 << 10
"""Coded changes of one step; a tick of a million users has 24 KiB."""
HISTORY: Final = 32
"""Steps kept for a peer that comes back: a minute of ticks."""
HISTORY_BYTES: Final = 64 << 10

# --- dummies -------------------------------------------------------------------------------------------------------
RECENT_SHARE: Final = 16
"""Of the capacity (1/16) are recent dummies when a filter is made. There are as many however many users there are: the
ROOM leaves twice that."""
OLD_SHARE: Final = 16
"""Of those that leave one in 16 is to have been there from the beginning: 225 in an epoch of ticks in which little
happens, and the smallest class has at least 256 dummies for that."""
FIRST_SLICES: Final = 4
"""Of the filter as it was at the beginning, kept to see who was there: half of it, for memory."""
AWAY: Final = 60.0
"""Where changes leave in ticks: if one is overdue for longer when the peer comes back, it gets a filter with a new key.
The size of a step with all that has collected would tell how much that is; less is worth the filter's bytes."""

# --- classes -------------------------------------------------------------------------------------------------------
ROOM: Final = 7 / 8
"""Of a class's capacity may be real when a filter is made: the rest are the dummies that changes are padded with."""
SHRINK: Final = 5 / 8
"""Of the smaller class's capacity: only then a smaller one is taken, so that classes do not flap."""
WAITING_SHARE: Final = 4
"""Changes that wait for a peer that is away, as a share of the capacity (1/4); beyond it a new filter is cheaper."""

# --- what is taken -------------------------------------------------------------------------------------------------
SNAPSHOTS_PER_EPOCH: Final = 16
"""Taken from one peer: each goes on to all devices that watch it."""
MAX_RECORD: Final = (6 << 20) + (256 << 10)
"""What is kept on disk for one peer: the largest filter, four bytes for each recent dummy if all are, the history and a
little more."""

# --- how it is done ------------------------------------------------------------------------------------------------
ONE_BY_ONE: Final = 12
"""Up to so many tags plain Python is faster than setting up vector operations."""
