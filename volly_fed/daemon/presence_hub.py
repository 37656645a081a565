"""Presence at a homeserver: who of ours is online goes out to peers, what peers show goes out to edges that watch.

in: announcements and wishes to watch, from edges; links to peers and what comes on them; the policy; time; the disk.
out: presence messages on peers' links (daemon.presence_peer), SHOWN, or UNWATCH with a reason, on edges' links
(daemon.presence_watchers).
Never: asks or hears a peer while nobody watches it, writes a tag, a scope or a connection's number to a log, or lets a
link that is lost for a moment look like everybody going and coming.
Our own domain is a peer like any other, over no link at all: its messages come back to us.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from volly_fed import limits, limits_presence
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.presence_peer import PresencePeer, Shared, Terms, Way
from volly_fed.daemon.presence_watchers import NO_ROOM, TOO_MANY, EdgeWay, Watcher
from volly_fed.daemon.store.presence import PresenceRecords
from volly_fed.errors import StorageError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName
from volly_fed.presence import Appeared, Changed, Gone, Pace, bounds, epoch_of
from volly_fed.presence.placement import filter_bytes, parse_class
from volly_fed.presence.roster import Change, Roster
from volly_fed.trust.policy import Policy
from volly_fed.wire import Message
from volly_fed.wire.messages import (
    Announce,
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
    Retract,
    Unwatch,
    Watch,
)

FROM_PEERS: frozenset[type[Message]] = frozenset(
    {PresenceRequest, PresenceResume, PresenceSnapshot, PresenceDelta, PresenceWithdraw}
)
"""What passes on a peer's link beside the streams."""
FROM_EDGES: frozenset[type[Message]] = frozenset({Announce, Retract, Watch, Unwatch})
"""What comes on an edge's link for us."""
_RETRACT_EVERY = limits_presence.RETRACTED_AT_ONCE


class Records(Protocol):
    """What of the store is used (daemon.store.presence)."""

    async def presence(self, peer: DomainName) -> PresenceRecords:
        """What was kept last about `peer`."""
        ...

    def begin_keep_presence(self, peer: DomainName, records: PresenceRecords) -> None:
        """Keep these instead."""
        ...

    def begin_forget_presence(self) -> None:
        """Delete what is of no use any more."""
        ...


@attrs.frozen(kw_only=True)
class PresenceStanding:
    """Numbers only: how it stands with one domain."""

    domain: DomainName
    watchers: int
    """Edges."""
    showing: str
    viewing: str
    epoch_shown: int | None
    epoch_viewed: int | None


@attrs.define(kw_only=True)
class PresenceHub:
    """One per homeserver. `policy` gives the one that holds now, `clock` unix time."""

    own: DomainName
    store: Records
    policy: Callable[[], Policy]
    clock: Callable[[], float] = time.time
    random: RandomSource = os.urandom
    want_link: Callable[[DomainName], None] = attrs.field(default=lambda _: None)
    """Is told that somebody watches a peer that has no link."""
    _roster: Roster = attrs.field(factory=Roster, init=False)
    _peers: dict[DomainName, PresencePeer] = attrs.field(factory=dict, init=False)
    _watchers: dict[int, Watcher] = attrs.field(factory=dict, init=False)
    _lost: deque[tuple[float, int]] = attrs.field(factory=deque, init=False)
    """(until when its announcements hold, edge link), in order."""
    _edge_lost: trio.Event = attrs.field(factory=trio.Event, init=False)
    _shared: Shared = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        restore_at = trio.current_time() + limits_presence.RESTORE_HOLD
        self._shared = Shared(roster=self._roster, clock=self.clock, random=self.random, restore_at=restore_at)

    async def run(self) -> None:
        """Whatever time brings, and showing ourselves to our own edges; until cancelled."""
        own = self._peer(self.own)
        loop = _Loop(self, own)
        own.loaded = True
        own.connected(loop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own.run, loop)
            nursery.start_soon(self._retract_lost)
            while True:
                await trio.sleep(limits_presence.PRESENCE_SWEEP)
                self.sweep()

    # --- edges: who is online ---

    async def from_edge(self, link: int, message: Message) -> None:
        """Take a message of FROM_EDGES that came on edge `link`."""
        match message:
            case Announce():
                self._announce(link, message)
            case Retract():
                self._retract(link, message.number)
            case Watch():
                await self._watch(link, message.domain)
            case Unwatch():
                self._unwatch(link, message.domain)
            case _:
                raise AssertionError(f"{type(message).__name__} is not for the hub")

    def _announce(self, link: int, message: Announce) -> None:
        oldest, newest = self._epochs()
        if not oldest <= message.epoch <= newest:  # [presence-52]
            return
        change = self._roster.announce((link, message.number), message.epoch, dict(message.tags))
        if change is not None:
            self._change(change)

    def _retract(self, link: int, number: int) -> None:
        for change in self._roster.retract((link, number)):
            self._change(change)

    def _change(self, change: Change) -> None:
        now, domains = trio.current_time(), change.domains
        for peer in self._peers.values() if domains is None else self._known(domains):
            peer.change(change, now)

    def _known(self, domains: Iterable[str]) -> list[PresencePeer]:
        found = (self._peers.get(DomainName(domain)) for domain in domains)
        return [peer for peer in found if peer is not None]

    def _epochs(self) -> tuple[int, int]:
        """The oldest epoch that may still be shown to somebody, and the newest that devices may hand over already."""
        wall = self.clock()
        return epoch_of(wall - bounds.EPOCH_GRACE), epoch_of(wall + limits.CLOCK_SKEW) + 1

    # --- edges: who watches ---

    def edge_up(self, link: int, way: EdgeWay) -> Watcher:
        """An edge has a link; `run` of the result sends what it watches."""
        watcher = self._watchers[link] = Watcher(way, self._pieces)
        return watcher

    def edge_down(self, link: int) -> None:
        """It has none any more. Whom it announced stays online for a moment: it, or another, may be back soon."""
        for domain in self._watchers.pop(link).domains:
            self._leave(link, domain)
        self._lost.append((trio.current_time() + limits_presence.EDGE_HOLD, link))  # [presence-51]
        self._edge_lost.set()

    async def _watch(self, link: int, domain: DomainName) -> None:
        watcher = self._watchers[link]
        if domain not in self._peers and len(self._peers) >= limits.PEERS:
            watcher.refuse(domain, ErrorCode.BUSY, TOO_MANY)
            return
        peer = self._peer(domain)
        await self._load(peer)
        if self._watchers.get(link) is watcher and watcher.watch(domain):
            peer.watchers.add(link)
            self._ask(peer)
            self._turn_away(peer)

    def _unwatch(self, link: int, domain: DomainName) -> None:
        if self._watchers[link].unwatch(domain):
            self._leave(link, domain)

    def _leave(self, link: int, domain: DomainName) -> None:
        peer = self._peers[domain]
        peer.watchers.discard(link)
        if not peer.watchers:
            peer.unwatched_at = trio.current_time()

    def refuse(self, domain: DomainName, code: ErrorCode, reason: str) -> None:
        """Nothing of `domain` is to be had until somebody does something about it: whoever watches it hears why."""
        peer = self._peers.get(domain)
        for link in list(peer.watchers) if peer is not None else ():
            self._watchers[link].refuse(domain, code, reason)
            self._leave(link, domain)

    def _turn_away(self, peer: PresencePeer) -> None:
        """Whoever watches `peer`, if we may not or cannot take what it shows."""
        if not peer.hears:
            self.refuse(peer.domain, ErrorCode.POLICY, f"presence of {peer.domain} is not taken: {peer.terms.level}")
        elif peer.deaf:
            self.refuse(peer.domain, ErrorCode.OVERLOADED, NO_ROOM)

    def _ask(self, peer: PresencePeer) -> None:
        if peer.way is not None:
            peer.ask()
        elif self.wants(peer.domain):
            self.want_link(peer.domain)

    def _pieces(self, domain: DomainName) -> Sequence[PresenceSnapshot]:
        peer = self._peers.get(domain)
        return peer.view.pieces() if peer is not None else ()

    # --- peers ---

    def wants(self, domain: DomainName) -> bool:
        """Whether a link to `domain` is wanted, because somebody watches it and we may hear it."""
        peer = self._peers.get(domain)
        return peer is not None and peer.hears and self._watched(peer) and domain != self.own  # [presence-31]

    def _watched(self, peer: PresencePeer) -> bool:
        return bool(peer.watchers) or trio.current_time() < peer.unwatched_at + limits_presence.UNWATCHED_LINGER

    def connected(self, domain: DomainName, level: TrustLevel, way: Way) -> None:
        """There is a link to `domain`, on this level; it takes the place of any other."""
        peer = self._peer(domain)
        self._judge(peer, Terms(level, Pace(self.policy().pace_of(domain))))
        peer.connected(way)

    async def serve(self, domain: DomainName, way: Way) -> None:
        """Show and ask over a link that is `connected` until it is over, or another has taken its place."""
        peer = self._peer(domain)
        await self._load(peer)
        if self._watched(peer):
            peer.ask()
        await peer.run(way)

    async def from_peer(self, domain: DomainName, way: Way, message: Message) -> None:
        """Take a message of FROM_PEERS. Raises RemoteError: the link is to end, and what the peer shows stays."""
        peer = self._peers.get(domain)
        if peer is None:
            return
        await self._load(peer)
        if peer.way is way:  # else another link has taken over
            self.take(peer, message)

    def take(self, peer: PresencePeer, message: Message) -> None:
        """A message on the link of `peer`."""
        if isinstance(message, PresenceSnapshot) and message.offset == 0:
            peer.deaf = not self._has_room(peer, filter_bytes(parse_class(message.size)))
            self._turn_away(peer)
        self._tell(peer, message, peer.receive(message))

    def _has_room(self, peer: PresencePeer, size: int) -> bool:
        views = [other.view for other in self._peers.values() if other is not peer]
        held = sum(filter_bytes(view.filter.placement.size) for view in views if view.filter is not None)
        return held + size <= limits_presence.VIEW_BYTES

    def _tell(self, peer: PresencePeer, message: Message, events: Sequence[Appeared | Changed | Gone]) -> None:
        """Tell those who watch `peer` what came of `message`."""
        for event in events:
            for link in peer.watchers:
                watcher = self._watchers[link]
                match event:
                    case Appeared():
                        watcher.show_filter(peer.domain)
                    case Changed():
                        watcher.show(peer.domain, message)
                    case Gone():
                        watcher.show(peer.domain, PresenceWithdraw())

    def lost(self, domain: DomainName, way: Way) -> bool:
        """The link is over. Whether we have followed the peer on it for a while, as we wished to."""
        peer = self._peers.get(domain)
        if peer is None or peer.way is not way:
            return False
        proved = peer.follows and trio.current_time() - peer.linked_at > limits_presence.PRESENCE_PROVED
        peer.lost()
        self._keep(peer)
        return proved

    def _peer(self, domain: DomainName) -> PresencePeer:
        peer = self._peers.get(domain)
        if peer is None:
            jitter = 0.0 if domain == self.own else bounds.EPOCH_GRACE / 2
            peer = self._peers[domain] = PresencePeer(domain, self._terms(domain), self._shared, jitter=jitter)
        return peer

    # --- the policy ---

    def judge_again(self) -> None:
        """The policy has changed: what it takes away is gone at once."""
        for peer in self._peers.values():
            self._judge(peer, self._terms(peer.domain))
            if self._watched(peer):
                self._ask(peer)

    def _judge(self, peer: PresencePeer, terms: Terms) -> None:
        if terms != peer.terms:
            gone = peer.judge(terms)
            self._turn_away(peer)
            self._tell(peer, PresenceWithdraw(), gone)

    def _terms(self, domain: DomainName) -> Terms:
        if domain == self.own:
            return Terms(TrustLevel.FULL, Pace.PROMPT)
        policy = self.policy()
        return Terms(policy.level_of(domain)[0], Pace(policy.pace_of(domain)))

    # --- time and disk ---

    def sweep(self) -> None:
        """Forget what is over."""
        wall, now = self.clock(), trio.current_time()
        self._roster.expire(self._epochs()[0])
        for peer in list(self._peers.values()):
            peer.view.tick(wall)
            self._tell(peer, PresenceWithdraw(), peer.view.events())
            away = peer.way is None and now - peer.away_since > limits.PEER_LINGER
            if away and not self._watched(peer):
                del self._peers[peer.domain]
                continue
            if peer.show.epoch not in {None, epoch_of(wall)}:
                peer.wake()  # its epoch may be over: the wall clock can be set
            if peer.way is not None and now - peer.kept_at >= limits_presence.PRESENCE_SAVE:
                self._keep(peer)
        with suppress(StorageError):
            self.store.begin_forget_presence()

    async def _retract_lost(self) -> None:
        """Let those go whose edge has not come back in time."""
        while True:
            await self._edge_lost.wait()
            self._edge_lost = trio.Event()
            while self._lost:
                until, link = self._lost[0]
                await trio.sleep_until(until)
                for count, number in enumerate(self._roster.numbers(link), 1):
                    self._retract(link, number)
                    if count % _RETRACT_EVERY == 0:
                        await trio.lowlevel.checkpoint()
                self._roster.forget_link(link)
                self._lost.popleft()

    async def _load(self, peer: PresencePeer) -> None:
        """Read what was kept of the last run, once."""
        if peer.loaded:
            return
        async with peer.loading:
            if peer.loaded:
                return
            try:
                records = await self.store.presence(peer.domain)
            except StorageError:
                records = PresenceRecords()
            peer.use(records)

    def _keep(self, peer: PresencePeer) -> None:
        if peer.loaded and peer.domain != self.own:
            with suppress(StorageError):  # closed: this process ends
                self.store.begin_keep_presence(peer.domain, peer.records())

    # --- for the operator ---

    def standing(self) -> list[PresenceStanding]:
        """How it stands with every domain that has a link or is watched, by name."""
        return [
            PresenceStanding(
                domain=domain,
                watchers=len(peer.watchers),
                showing=peer.show.state.name.lower(),
                viewing=peer.view.state.name.lower(),
                epoch_shown=peer.show.epoch,
                epoch_viewed=peer.view.epoch if peer.view.filter is not None else None,
            )
            for domain, peer in sorted(self._peers.items())
        ]


@attrs.frozen(eq=False)
class _Loop:
    """The way to ourselves."""

    hub: PresenceHub
    peer: PresencePeer

    def send(self, message: Message) -> bool:
        self.hub.take(self.peer, message)
        return True

    async def wait_extra_room(self, spare: int = 0) -> None:  # noqa: ARG002 - there always is
        await trio.lowlevel.checkpoint()
