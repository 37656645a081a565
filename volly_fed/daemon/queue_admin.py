"""The queues of peers in the operator's hands: what waits, for whom, how long; held, released, dropped, tried now.

in: commands of the admin socket; out: what JSON can say. A hold is on the disk before it is in force, and outlives
the process; what is dropped is off the disk before anybody is told.
Never: names a mailbox; says that somebody is told who is not; drops what is under way on a link.

What senders see of a drop is a RECEIPT with POLICY, as far as it is known by which edge an envelope came and that edge
is still connected: of the last limits.RECEIPT_MEMORY envelopes of this process. All others are not told anything.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from volly_fed import limits, limits_admin
from volly_fed.codepoints import EnvelopeClass
from volly_fed.daemon.admin.server import Arguments, Handler, text_argument
from volly_fed.daemon.edges import EdgeLinks
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.peers import Peers
from volly_fed.daemon.receipts import Submitters
from volly_fed.daemon.store.rows import PeerQueue, Waiting
from volly_fed.daemon.store.store import Store
from volly_fed.errors import LocalError
from volly_fed.names import DomainName, parse_domain
from volly_fed.observe.log import Log
from volly_fed.relay.receipt import DROPPED, DROPPED_LATE
from volly_fed.wire.messages import Outcome

_ID_BYTES = 16


@attrs.define(kw_only=True)
class QueueAdmin:
    """Of one homeserver. `clock`: Unix time."""

    peers: Peers
    edges: EdgeLinks
    submitters: Submitters
    store: Store
    log: Log
    clock: Callable[[], float] = time.time
    _cutting: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def handlers(self) -> Mapping[str, Handler]:
        """By name."""
        return {
            "queue": self.show,
            "queue-hold": self.hold,
            "queue-release": self.release,
            "queue-drop": self.drop,
            "queue-retry": self.retry,
        }

    # --- looking ---------------------------------------------------------------------------------------------------

    async def show(self, arguments: Arguments) -> dict[str, Any]:
        """What waits for every peer, and which are held; or the envelopes for the one that is asked for."""
        name = text_argument(arguments, "domain")
        queues = {queue.peer: queue for queue in await self.store.outbound_peers()}
        classes = await self.store.outbound_classes()
        if name is None:
            wanted = [peer for peer in self.peers.known() if peer.held or peer.domain in queues]
            return {"peers": [self._queue(peer, queues.get(peer.domain), classes) for peer in wanted]}
        peer = self._known(parse_domain(name))
        waiting = await self.store.waiting(peer.domain, _limit(arguments))
        sent, now = peer.outbound.under_way, self.clock()
        queue = self._queue(peer, queues.get(peer.domain), classes)
        return queue | {"waiting": [_envelope(one, now, sent=one.row in sent) for one in waiting]}

    def _queue(
        self,
        peer: Peer,
        queue: PeerQueue | None,
        classes: Mapping[tuple[DomainName, EnvelopeClass], tuple[int, int]],
    ) -> dict[str, Any]:
        now = self.clock()
        counts = {urgency: classes.get((peer.domain, urgency), (0, 0)) for urgency in EnvelopeClass}
        return {
            "domain": peer.domain,
            "state": peer.state,
            "held_s": held_for(peer, now),
            "envelopes": queue.envelopes if queue else 0,
            "bytes": queue.bytes if queue else 0,
            "oldest_s": max(0, round(now - queue.oldest)) if queue and queue.oldest is not None else 0,
            "classes": {
                urgency.name.lower(): {"envelopes": count, "bytes": size} for urgency, (count, size) in counts.items()
            },
        }

    # --- holding ---------------------------------------------------------------------------------------------------

    async def hold(self, arguments: Arguments) -> dict[str, Any]:
        """Send nothing to a domain from now on, over restarts too. Raises StorageError: nothing is held."""
        domain = _domain(arguments)
        known = self.peers.known_as(domain)
        if known is None and not self.peers.takes(domain):
            raise LocalError("there are too many peers to remember one more\nnote: `volly-fed trust set` can refuse it")
        self.peers.hold(domain, await self.store.hold(domain))
        self.log.queue_held(peer=domain)
        return {"domain": domain, "known": known is not None}

    async def release(self, arguments: Arguments) -> dict[str, Any]:
        """Let what waits for a domain leave again, at once. Raises StorageError: it stays held."""
        peer = self._known(_domain(arguments))
        if not peer.held:
            raise LocalError(f"{peer.domain} is not held\nnote: `volly-fed queue list` shows who is")
        await self.store.release(peer.domain)
        self.peers.hold(peer.domain, None)
        self.log.queue_released(peer=peer.domain)
        return {"domain": peer.domain, "envelopes": self.peers.waits_for(peer)}

    async def retry(self, arguments: Arguments) -> dict[str, Any]:
        """Dial a domain now, or all that something waits for, whatever pause they were to have."""
        if text_argument(arguments, "domain") is None:
            peers = [peer for peer in self.peers.known() if peer.link is None and self.peers.waits_for(peer)]
        else:
            peers = [peer := self._known(_domain(arguments))]
            refuse_held(peer)
        for peer in peers:
            if peer.link is None:
                peer.hurry()
        return {"peers": [{"domain": peer.domain, "state": peer.state} for peer in peers]}

    # --- dropping --------------------------------------------------------------------------------------------------

    async def drop(self, arguments: Arguments) -> dict[str, Any]:
        """Delete what waits for a domain: all of it, or some ids; with `only_ask`, say what that would do.

        `told`: whose edge is told; `untold`: of whom nobody knows any more by which edge they came; `sent`: among
        both, sent before, so that they may arrive all the same; `under_way`: left, for they are being sent.
        Raises LocalError: there is no such envelope; StorageError: nothing was dropped.
        """
        peer, ids = self._known(_domain(arguments)), _ids(arguments)
        if arguments.get("only_ask"):
            found = await self.store.waiting(peer.domain, limits.QUEUE_ENVELOPES, ids)
            sent = peer.outbound.under_way
            cut = [one for one in found if peer.link is None or one.row not in sent]
            told = sum(len(them) for link, them in self._notices(cut, sent).items() if self.edges.connected(link))
        else:
            found, cut, sent = await self._cut(peer, ids)
            told = sum(self.edges.notify(link, them) for link, them in self._notices(cut, sent).items())
            if cut:
                self.log.queue_dropped(peer=peer.domain, count=len(cut), size=sum(one.size for one in cut))
        if not found:
            raise LocalError(
                f"nothing of that waits for {peer.domain}\nnote: `volly-fed queue list {peer.domain}` shows what does"
            )
        return {
            "domain": peer.domain,
            "envelopes": len(cut),
            "bytes": sum(one.size for one in cut),
            "told": told,
            "untold": len(cut) - told,
            "sent": sum(one.row in sent for one in cut),
            "under_way": len(found) - len(cut),
            "unknown": sorted(one.hex() for one in (ids or set()) - {one.id for one in found}),
        }

    async def _cut(self, peer: Peer, ids: set[bytes] | None) -> tuple[list[Waiting], list[Waiting], set[int]]:
        """What was found, what of it is deleted now, and the rows that had been sent before."""
        async with self._cutting:
            linked, sent, cut = peer.link is not None, peer.begin_cut(), list[Waiting]()
            try:
                cut = await self.store.cut_outbound(peer.domain, ids, sent if linked else ())
            finally:
                peer.end_cut({one.row for one in cut})
            left = await self.store.waiting(peer.domain, limits.QUEUE_ENVELOPES, ids) if linked else []
        return [*cut, *(one for one in left if one.row in sent)], cut, sent

    def _notices(self, cut: list[Waiting], sent: set[int]) -> dict[int, list[Outcome]]:
        return self.submitters.notices(
            [(one.row, *(DROPPED_LATE if one.row in sent else DROPPED)) for one in cut]  # [relay-23]
        )

    def _known(self, domain: DomainName) -> Peer:
        peer = self.peers.known_as(domain)
        if peer is None:
            raise LocalError(
                f"nothing waits for {domain}, and nothing has passed of late\nnote: `volly-fed peers` lists those"
            )
        return peer


def held_for(peer: Peer, now: float) -> int | None:
    """Seconds since the operator has held `peer`; None: it is not held."""
    return None if peer.held_since is None else max(0, round(now - peer.held_since))


def refuse_held(peer: Peer) -> None:
    """Raises LocalError where `peer` is held: trying now what must not leave would do nothing."""
    if peer.held:
        raise LocalError(
            f"{peer.domain} is held\nnote: `volly-fed queue release {peer.domain}` lets its envelopes leave"
        )


def _envelope(one: Waiting, now: float, *, sent: bool) -> dict[str, Any]:
    return {
        "id": one.id.hex(),
        "class": one.urgency.name.lower(),
        "bytes": one.size,
        "age_s": max(0, round(now - one.queued)),
        "expires_in_s": max(0, round(one.expiry - now)),
        "sent": sent,
    }


def _domain(arguments: Arguments) -> DomainName:
    return parse_domain(text_argument(arguments, "domain") or "")


def _limit(arguments: Arguments) -> int:
    limit = arguments.get("limit", limits_admin.QUEUE_SHOWN)
    if not isinstance(limit, int) or not 0 < limit <= limits_admin.QUEUE_SHOWN_MOST:
        raise LocalError(f"limit must be a number from 1 to {limits_admin.QUEUE_SHOWN_MOST}")
    return limit


def _ids(arguments: Arguments) -> set[bytes] | None:
    """The ids that are named; None: all. Raises LocalError: neither, or both, or no ids."""
    named, everything = arguments.get("ids") or [], bool(arguments.get("all"))
    if not isinstance(named, list) or bool(named) is everything or len(named) > limits_admin.DROP_IDS:
        raise LocalError(f"name up to {limits_admin.DROP_IDS} envelopes by their ids, or all\nnote: --id ID, or --all")
    return None if everything else {_id(one) for one in named}


def _id(text: object) -> bytes:
    try:
        identity = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        identity = b""
    if len(identity) != _ID_BYTES:
        raise LocalError("an id has 32 hexadecimal digits\nnote: `volly-fed queue list PEER` shows them")
    return identity
