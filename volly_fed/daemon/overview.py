"""What an operator is told of a homeserver that runs: itself, its peers and what waits for them, its edge nodes.

in: the running parts; out: what JSON can say, for the admin socket.
Never: names a mailbox, a user or a secret; asks the network; changes anything, except that `retry` ends a pause.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import trio

from volly_fed import __version__
from volly_fed.daemon.admin.server import Arguments, Handler, text_argument
from volly_fed.daemon.credentials import Credentials
from volly_fed.daemon.edges import EdgeLinks
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.peers import Peers
from volly_fed.daemon.presence_hub import PresenceHub, PresenceStanding
from volly_fed.daemon.queue_admin import held_for, refuse_held
from volly_fed.daemon.store.rows import PeerQueue
from volly_fed.daemon.store.store import Store
from volly_fed.errors import LocalError, StorageError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text, parse_domain
from volly_fed.trust.policy import Ruling


@attrs.define(kw_only=True)
class Overview:
    """Of one homeserver. `clock`: unix time."""

    domain: DomainName
    credentials: Callable[[], Credentials]
    ruling: Callable[[DomainName], Ruling]
    enrolled: Callable[[], Iterable[tuple[DomainName, Fingerprint]]]
    """The edge nodes, from the disk; blocks."""
    outage: Callable[[], StorageError | None]
    peers: Peers
    edges: EdgeLinks
    presence: PresenceHub
    store: Store
    clock: Callable[[], float] = time.time
    _since: float = attrs.field(factory=trio.current_time, init=False)

    def handlers(self) -> Mapping[str, Handler]:
        """`status`, `peers` and `retry`, by name."""
        return {"status": self.status, "peers": self.list_peers, "retry": self.retry}

    async def status(self, _arguments: Arguments) -> dict[str, Any]:
        """The homeserver in a few lines; `problems` are what somebody should look into, in words."""
        peers, edges = (await self.list_peers({}))["peers"], await self._edges()
        keys, outage = self.credentials().keys, self.outage()
        envelopes, size = self.store.outbound_total()
        problems = {"store": f"the store takes nothing: {_line(outage)}"} if outage else {}
        if draining := self.peers.intake.closed:
            problems["draining"] = "nothing new is taken until `volly-fed drain --cancel`, or a restart"
        if all(edge["linked_s"] is None for edge in edges):
            problems["edges"] = "no edge node is connected: nothing can be delivered to devices, or come from them"
        problems |= {peer["domain"]: _problem(peer) for peer in peers if _is_stuck(peer)}
        return {
            "domain": self.domain,
            "version": __version__,
            "up_s": round(trio.current_time() - self._since, 1),
            "identity": fingerprint_text(keys.fingerprint),
            "tls_spki_sha256": keys.tls.key.spki_sha256.hex(),
            "peers": {"known": len(peers), "linked": sum(peer["state"] == "linked" for peer in peers)},
            "edges": edges,
            "queue": {
                "envelopes": envelopes,
                "bytes": size,
                "oldest_s": max((peer["queue"]["oldest_s"] for peer in peers), default=0),
            },
            "held": [peer["domain"] for peer in peers if peer["held_s"] is not None],
            "draining": draining,
            "problems": [*problems.values()],
            "problem_subjects": [*problems],
        }

    async def _edges(self) -> list[dict[str, Any]]:
        """Those that are enrolled, whether connected or not."""
        names = await trio.to_thread.run_sync(lambda: sorted(name for name, _ in self.enrolled()))
        since, now = dict(self.edges.linked()), trio.current_time()
        return [
            {
                "name": name,
                "linked_s": round(now - since[name], 1) if name in since else None,
                "gone_s": _ago(self.edges.left.get(name)) if name not in since else None,
            }
            for name in names
        ]

    async def list_peers(self, arguments: Arguments) -> dict[str, Any]:
        """Every domain we have had to do with of late, or the one that is asked for."""
        name = text_argument(arguments, "domain")
        wanted = None if name is None else parse_domain(name)
        queues = {queue.peer: queue for queue in await self.store.outbound_peers()}
        seen = {standing.domain: standing for standing in self.presence.standing()}
        shown = [
            self._peer(peer, queues.get(peer.domain), seen.get(peer.domain))
            for peer in self.peers.known()
            if wanted in {None, peer.domain}
        ]
        if wanted is not None and shown:
            pin = await self.store.pin(wanted)
            shown[0]["pinned"] = fingerprint_text(pin.fingerprint) if pin else None
        return {"peers": shown}

    async def retry(self, arguments: Arguments) -> dict[str, Any]:
        """Dial a domain now, whatever pause it was to have."""
        domain = parse_domain(text_argument(arguments, "domain") or "")
        peer = next((peer for peer in self.peers.known() if peer.domain == domain), None)
        if peer is None:
            raise LocalError(f"nothing waits for {domain}\nnote: `volly-fed peers` lists those of late")
        refuse_held(peer)
        if peer.link is None:
            peer.hurry()
        return {"domain": domain, "state": peer.state}

    def _peer(self, peer: Peer, queue: PeerQueue | None, seen: PresenceStanding | None) -> dict[str, Any]:
        ruling, standing, now, linked = self.ruling(peer.domain), peer.standing, self.clock(), peer.link is not None
        oldest = now if queue is None or queue.oldest is None else queue.oldest
        wait = self.peers.attempts.due_in(standing)
        return {
            "domain": peer.domain,
            "level": str(ruling.level),
            "rule": ruling.rule,
            "state": peer.state,
            "held_s": held_for(peer, now),
            "linked_s": round(trio.current_time() - peer.link.since, 1) if peer.link is not None else None,
            "dialled_by": ("us" if peer.dialled_by_us else "them") if linked else None,
            "identity": fingerprint_text(peer.identity) if linked and peer.identity is not None else None,
            "group": peer.group if linked else None,
            "records_s": None if peer.records_until is None else round(peer.records_until - now),
            "queue": {
                "envelopes": queue.envelopes if queue else 0,
                "bytes": queue.bytes if queue else 0,
                "oldest_s": max(0, round(now - oldest)),
            },
            "failures": standing.failures if not linked else 0,
            "next_attempt_s": round(wait, 1) if not linked and standing.failures else None,
            "last_error": standing.last_error,
            "last_cause": standing.last_cause,
            "last_error_s": max(0, round(now - standing.last_error_at)) if standing.last_error else None,
            "trouble_s": _ago(peer.trouble_since),
            "latency_s": None if peer.underway.last is None else round(peer.underway.last, 4),
            "presence": {"shown": seen.showing, "seen": seen.viewing, "watching_edges": seen.watchers}
            if seen
            else None,
        }


def _ago(when: float | None) -> float | None:
    return None if when is None else round(trio.current_time() - when, 1)


def _line(text: object) -> str:
    return str(text).partition("\n")[0]


def _presence(seen: PresenceStanding) -> dict[str, Any]:
    return {"shown": seen.showing, "seen": seen.viewing, "watching_edges": seen.watchers}


def _is_stuck(peer: Mapping[str, Any]) -> bool:
    """Something waits, and the last attempt failed: one that is under way for the first time is no problem yet."""
    return (
        peer["state"] != "linked"
        and peer["held_s"] is None
        and bool(peer["last_error"])
        and peer["queue"]["envelopes"] > 0
    )


def _problem(peer: Mapping[str, Any]) -> str:
    waiting, reason = peer["queue"]["envelopes"], _line(peer["last_error"])
    return f"{waiting} envelope{'s'[: waiting != 1]} for {peer['domain']}, which cannot be reached: {reason}"
