"""What an operator may do to a running homeserver, beyond looking at it: its queues, draining it, following it.

in: the overview, which knows the parts; out: handlers and streams for the admin socket.
Never: does anything itself.
"""

from collections.abc import Callable
from typing import NamedTuple

from volly_fed.daemon.admin.server import Handler, Stream
from volly_fed.daemon.draining import Draining
from volly_fed.daemon.overview import Overview
from volly_fed.daemon.queue_admin import QueueAdmin
from volly_fed.daemon.receipts import Submitters
from volly_fed.daemon.watching import Watching
from volly_fed.observe.log import Log


class Operations(NamedTuple):
    """By name."""

    handlers: dict[str, Handler]
    streams: dict[str, Stream]


def operations(overview: Overview, *, submitters: Submitters, log: Log, stop: Callable[[str], None]) -> Operations:
    """For the homeserver of `overview`; `stop` ends it."""
    peers, store = overview.peers, overview.store
    queue = QueueAdmin(peers=peers, edges=overview.edges, submitters=submitters, store=store, log=log)
    draining = Draining(peers=peers, store=store, log=log, ruling=overview.ruling, stop=stop)
    return Operations(
        {**queue.handlers(), **draining.handlers()}, {**draining.streams(), **Watching(overview).streams()}
    )
