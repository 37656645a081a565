"""Maxima and timers of what an operator asks of a running homeserver (`limits` has those of the admin socket).

Times are seconds.
"""

from typing import Final

ADMIN_WATCHERS: Final = 4
"""Who may follow a running homeserver at once: some of limits.ADMIN_CLIENTS must stay for commands."""
WATCH_EACH: Final = 1.0
"""Between two looks that somebody is shown who follows."""
WATCH_EACH_PEER: Final = 0.001
"""Added to it for each peer: looking at ten thousand of them takes a good part of a second."""
QUEUE_SHOWN: Final = 1000
"""Envelopes of a queue that are listed, unless more are asked for."""
QUEUE_SHOWN_MOST: Final = 20_000
"""The same at most: as many fit into one answer twice."""
DROP_IDS: Final = 256
"""Envelopes named in one command; a request has room for more, a command line hardly."""
DRAIN_LOOK: Final = 0.1
"""Between two looks whether anything waits still."""
DRAIN_TOLD: Final = 0.5
"""Between two reports of what waits still."""
DRAIN_PATIENCE: Final = 60.0
"""How long `drain` waits, unless it is told otherwise; what waits after that waits for a peer that is away."""
STOP_WAIT: Final = 30.0
"""For a process that was told to end: longer than it takes to drain its links and close its store."""
