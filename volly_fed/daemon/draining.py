"""Making a homeserver empty before it is upgraded or moved: nothing new comes in, what waits for peers leaves.

in: the operator's word; out: reports of what waits still, until nothing does or somebody takes it back.
Never: ends a link, loses or refuses what was accepted, or waits for what cannot leave: peers that are held, or whose
level lets nothing out. It ends with the process: after a restart everything is taken again.

Devices that submit are told OVERLOADED, as when the disk takes nothing: they may try again. Peers are not refused
anything: their window is closed, so that what they have stays with them. Deliveries to devices, receipts and presence
go on. What lies in mailboxes stays in the store; devices may be away for days.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from volly_fed import limits_admin
from volly_fed.daemon.admin.server import Arguments, Handler, Send, Stream
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.peers import Peers
from volly_fed.daemon.store.store import Store
from volly_fed.names import DomainName
from volly_fed.observe.log import Log
from volly_fed.router import may_leave
from volly_fed.trust.policy import Ruling


@attrs.define(kw_only=True)
class Draining:
    """Of one homeserver. `stop` ends the process."""

    peers: Peers
    store: Store
    log: Log
    ruling: Callable[[DomainName], Ruling]
    stop: Callable[[str], None]
    _told_empty: bool = attrs.field(default=False, init=False)

    def handlers(self) -> Mapping[str, Handler]:
        """By name."""
        return {"drain-cancel": self.cancel, "stop": self.end}

    def streams(self) -> Mapping[str, Stream]:
        """By name."""
        return {"drain": self.follow}

    async def follow(self, _arguments: Arguments, send: Send) -> None:
        """Begin, if that was not done yet, and report until nothing waits any more."""
        self._begin()
        told = -math.inf
        while True:
            report = self._report()
            done, now = report["empty"] or not report["draining"], trio.current_time()
            if done or now >= told + limits_admin.DRAIN_TOLD:
                told = now
                await send(report)
            if done:
                break
            await trio.sleep(limits_admin.DRAIN_LOOK)
        if report["draining"] and not self._told_empty:
            self._told_empty = True
            self.log.drained(verdict="empty")

    async def cancel(self, _arguments: Arguments) -> dict[str, Any]:
        """Take everything again; whether anything had to be taken back."""
        was = self.peers.intake.closed
        if was:
            self.peers.close_intake(False)
            self.log.drained(verdict="cancelled")
        return {"was_draining": was}

    async def end(self, _arguments: Arguments) -> dict[str, Any]:
        """End the process as SIGTERM does."""
        self.stop("volly-fed drain --stop")
        return {}

    def _begin(self) -> None:
        if self.peers.intake.closed:
            return
        self._told_empty = False
        self.peers.close_intake(True)
        self.log.draining()
        for peer in self.peers.known():
            if peer.link is None and self.peers.waits_for(peer):
                peer.hurry()

    def _report(self) -> dict[str, Any]:
        waiting, kept = [], []
        for peer in self.peers.known():
            envelopes, size = self.store.outbound_depth(peer.domain)
            if peer.held or not may_leave(peer.domain, self.ruling(peer.domain).level):
                if envelopes:
                    why = "held" if peer.held else "its level lets nothing out"
                    kept.append({"domain": peer.domain, "envelopes": envelopes, "why": why})
            elif self.peers.waits_for(peer):
                waiting.append(self._waiting(peer, size))
        return {
            "draining": self.peers.intake.closed,
            "empty": not waiting,
            "envelopes": sum(one["envelopes"] for one in waiting),
            "bytes": sum(one["bytes"] for one in waiting),
            "peers": waiting,
            "kept": kept,
        }

    def _waiting(self, peer: Peer, size: int) -> dict[str, Any]:
        return {
            "domain": peer.domain,
            "envelopes": self.peers.waits_for(peer),
            "bytes": size,
            "state": peer.state,
            "last_error": peer.standing.last_error,
        }
