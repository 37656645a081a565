"""Maxima and timers of the operator's HTTP face (volly_fed.daemon.http).

Sizes are bytes and times are seconds unless the name says otherwise.
"""

from typing import Final

# --- connections ---------------------------------------------------------------------------------------------------
CONNECTIONS: Final = 16
"""At once, open and waiting to be read from included: every user of the machine can make some. Further ones wait in
the kernel's queue. A page that is open has one every two seconds, a scraper one in fifteen."""
CONNECTION_TIME: Final = 10.0
"""From accept to close; one request and its answer."""
REQUEST: Final = 16 << 10
"""All that is read from one connection: browsers send 1 to 2 KiB."""
ANSWER_TIME: Final = 8.0
"""For what an answer is made of, before 503; less than CONNECTION_TIME, so that it can still be said."""
ANSWER_MEMORY: Final = 0.5
"""How old a page, a document or metrics may be: what they cost is bounded by this, however many ask."""

# --- what is shown -------------------------------------------------------------------------------------------------
PAGE_REFRESH: Final = 2
"""Whole seconds between two looks of an open page."""
PEERS_DRAWN: Final = 24
"""In the picture; those in trouble first."""
PEERS_LISTED: Final = 200
"""In the page's table; all are in /status.json."""
EDGES_DRAWN: Final = 12

# --- metrics -------------------------------------------------------------------------------------------------------
PEERS_NAMED: Final = 50
"""Peers with time series of their own; the others are summed as "other". A scraper keeps each series for weeks."""
TRACKED_BATCHES: Final = 4096
"""Batches for one peer whose time of acceptance is remembered, in memory; 200 bytes each. Of what is accepted beyond
that, neither the class nor the time to delivery is known once it has been delivered."""
