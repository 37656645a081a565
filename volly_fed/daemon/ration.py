"""What a peer may hand over: its window is closed while it has sent too much too fast, or nothing is taken at all.

in: batches as they come in, word of the operator; out: grants on the link, and a line in the log.
Never: refuses or drops anything, or forgets the debt because the peer comes back on another link.
"""

import math

import attrs
import trio

from volly_fed import limits
from volly_fed.daemon.link import Link
from volly_fed.names import DomainName
from volly_fed.observe.log import Log
from volly_fed.relay.rate import RateLimit
from volly_fed.session import Received


@attrs.define
class Ration:
    """One per peer; it outlives links."""

    domain: DomainName
    log: Log
    rate: RateLimit
    closed: bool = False
    """Nothing is taken from anybody."""
    _exceeded: trio.Event = attrs.field(factory=trio.Event, init=False)
    _told: float = attrs.field(default=-math.inf, init=False)

    def begin(self, link: Link[int]) -> None:
        """A link is about to run: grant what may come now."""
        if self.rate.wait(trio.current_time()):
            self._exceeded.set()
        self._grant(link)

    def close(self, closed: bool, link: Link[int] | None) -> None:
        """Take nothing from now on, or something again."""
        self.closed = closed
        if link is not None:
            self._grant(link)

    def note(self, batch: Received) -> None:
        """`batch` came."""
        if self.rate.take(len(batch.envelopes), sum(map(len, batch.envelopes)), trio.current_time()):
            self._exceeded.set()

    async def keep(self, link: Link[int]) -> None:
        """Close the window of `link` while too much has come, and open it again; until cancelled."""
        while True:
            await self._exceeded.wait()
            self._exceeded = trio.Event()
            self._tell()
            self._grant(link)
            wait = self.rate.wait(trio.current_time())
            while wait:  # what was under way when the window was closed adds to it
                await trio.sleep(wait)
                wait = self.rate.wait(trio.current_time())
            self._grant(link)

    def _grant(self, link: Link[int]) -> None:
        if self.closed or self.rate.wait(trio.current_time()):
            link.grant(0, 0)
        else:
            link.grant(self.rate.window, self.rate.window_bytes)

    def _tell(self) -> None:
        now = trio.current_time()
        if now >= self._told + limits.RATE_NOTICE:
            self._told = now
            self.log.peer_slowed(peer=self.domain, wait_s=round(self.rate.wait(now), 3))
