"""New links in the place of old ones: daily, and after a reload that changed what peers are shown.

in: a peer and its link; out: a new link, dialled while the old one carries on.
Never: ends a link. Whether one may stay is for the policy to say, on both sides, and for the operator.
"""

import math
import random
from collections.abc import Awaitable, Callable, Iterable

import attrs
import trio

from volly_fed import limits
from volly_fed.daemon.backoff import Attempts, pause
from volly_fed.daemon.link import Link
from volly_fed.daemon.peer import Peer
from volly_fed.errors import DiscoveryError, RemoteError, StorageError
from volly_fed.names import DomainName
from volly_fed.observe.log import Log


@attrs.define(kw_only=True)
class Renewal:
    """One per homeserver. `dial` makes a link and runs it to its end."""

    dial: Callable[[DomainName], Awaitable[None]]
    log: Log
    attempts: Attempts
    nursery: trio.Nursery
    """Where new links live: they outlive those that they take over from."""
    _shown_since: float = attrs.field(default=-math.inf, init=False)
    """Since when we show what we show now; a link that was begun before shows the peer something else."""

    def renew(self, peers: Iterable[Peer]) -> None:
        """What we show has changed: new links take the place of all, little by little, so that every peer sees it.

        Also of those that the peer dialled: we dial ourselves.
        """
        self._shown_since = trio.current_time()
        linked = [(peer, peer.link) for peer in peers if peer.link is not None]
        spread = min(limits.RENEW_WITHIN, limits.RENEW_EACH * len(linked))  # [handshake-30]
        for peer, link in linked:
            peer.renew(peer.may_be_replaced(link) + random.uniform(0, spread))  # noqa: S311 - spreads load

    def first(self, peer: Peer, link: Link[int], took: float) -> float:
        """When a new link is due in the place of `link`: in its time, if we dialled it, or soon, if it is dated."""
        if trio.current_time() - took < self._shown_since:
            return peer.may_be_replaced(link)
        if not peer.dialled_by_us:
            return math.inf
        # [session-38]
        return link.since + limits.LINK_AGE * random.uniform(*limits.LINK_AGE_JITTER)  # noqa: S311 - spreads load

    async def keep(self, peer: Peer, link: Link[int]) -> None:
        """Have a new link in the place of `link` when that is due. While there is none, `link` stays, whatever happens.

        Returns when another link has taken over.
        """
        failures = 0
        while True:
            await peer.wait_renewal()
            if peer.link is not link:
                return
            ended = trio.Event()
            self.nursery.start_soon(self._replace, peer, link, ended)
            await ended.wait()
            if peer.link is not link:
                return
            failures += 1
            wait = pause(failures, self.attempts.cap) * random.uniform(*limits.BACKOFF_JITTER)  # noqa: S311 - spreads load
            peer.renew(trio.current_time() + wait)

    async def _replace(self, peer: Peer, link: Link[int], ended: trio.Event) -> None:
        """Dial a link that takes over from `link`, and run it to its end."""
        peer.renewing = True
        try:
            await self.dial(peer.domain)
        except (RemoteError, DiscoveryError, StorageError, OSError) as error:
            if peer.link is link:
                self.log.renewal_failed(peer=peer.domain, reason=str(error))
        finally:
            peer.renewing = False
            peer.changed()
            ended.set()
