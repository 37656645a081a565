"""The peers: one supervised task each, one link at a time, and the queue that outlives them.

in: envelopes on their way to the disk, connections from either direction; out: envelopes at the peer, settled rows.
A peer's RemoteError, DiscoveryError or broken socket costs that peer a back-off and nobody else anything.
Never: gives an envelope up before it is settled or expired; forgets a backlog over a restart.
"""

from collections.abc import Callable
from functools import partial

import attrs
import trio

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, Role, TrustLevel
from volly_fed.daemon.backoff import Attempts, cause_of
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.counted import CountedLink, count_settled, kind_of
from volly_fed.daemon.dialer import Dialer
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.link import End, Link, Pending, Resumption
from volly_fed.daemon.peer import Peer
from volly_fed.daemon.presence_hub import FROM_PEERS, PresenceHub
from volly_fed.daemon.ration import Ration
from volly_fed.daemon.renewal import Renewal
from volly_fed.daemon.store.store import OutboundRow, Store
from volly_fed.errors import DiscoveryError, Refused, RemoteError, StorageError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.observe.log import Log
from volly_fed.observe.tally import Tally
from volly_fed.relay.rate import RateLimit
from volly_fed.relay.receipt import EXPIRED
from volly_fed.session import Received, Session, Settled
from volly_fed.trust import gates
from volly_fed.wire.messages import Message, Refuse

_LEVEL_CHANGED = "the trust level has changed"


@attrs.define(kw_only=True)
class Peers:
    """All peers of one homeserver."""

    own: DomainName
    dialer: Dialer
    store: Store
    log: Log
    attempts: Attempts
    on_refused: Callable[[list[int], list[tuple[int, ErrorCode, str]]], None]
    """(settled rows, refused ones with code and text)."""
    intake: Intake = attrs.field(init=False)
    presence: PresenceHub
    tally: Tally = attrs.field(factory=Tally)
    _peers: dict[DomainName, Peer] = attrs.field(factory=dict, init=False)
    _new: trio.MemorySendChannel[Peer] = attrs.field(init=False)
    _renewal: Renewal = attrs.field(init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _closing: bool = attrs.field(default=False, init=False)
    _level_of: Callable[[DomainName], TrustLevel] | None = attrs.field(default=None, init=False)
    """Since the last reload: what a link must have that was judged before it."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep every peer's task until cancelled, beginning with those we owe something since an earlier run."""
        self._new, new = trio.open_memory_channel[Peer](float("inf"))  # bounded by limits.PEERS
        async with trio.open_nursery() as nursery, new:
            self._renewal = Renewal(dial=self._dial, log=self.log, attempts=self.attempts, nursery=nursery)
            for domain, since in (await self.store.held()).items():
                self._peer(domain).hold(since)
            for queue in await self.store.outbound_peers():
                self._peer(queue.peer).wanted.set()
            task_status.started()
            async for peer in new:
                nursery.start_soon(self._attend, peer)

    def expired(self, rows: list[int]) -> None:
        """`rows` were deleted from the disk, for they have expired: nobody sends them any more."""
        gone = set(rows)
        for peer in self._peers.values():
            peer.expired(gone)
        self.on_refused(rows, [(row, *EXPIRED) for row in rows])

    def takes(self, domain: DomainName) -> bool:
        """Whether `domain` is a peer already, or there is room for one more."""
        return domain in self._peers or len(self._peers) < limits.PEERS

    def enqueue(self, domain: DomainName, keys: range, rows: list[OutboundRow]) -> None:
        """`rows` for `domain` are on their way to the disk, and may leave from here meanwhile."""
        peer = self._peer(domain)
        peer.stored(keys, rows)
        peer.more_work()

    def want(self, domain: DomainName) -> None:
        """Somebody wants to hear of `domain` who is online there."""
        if self.takes(domain):
            self._want(self._peer(domain))

    async def converse(self, connection: Connection, level: TrustLevel) -> End | None:
        """Run the link over `connection`, whoever dialled it, until it ends; how it did, if there was one.

        Raises RemoteError: BUSY where there is no room for a further peer, POLICY where none is allowed since a reload.
        """
        if self._closing:
            return None
        if self._level_of is not None:
            level = self._level_of(connection.outcome.peer)
            if not gates.stay(level, connection.outcome.peer).allowed:
                raise RemoteError(_LEVEL_CHANGED, code=ErrorCode.POLICY)
        if not self.takes(connection.outcome.peer):
            raise RemoteError("too many peers at the moment", code=ErrorCode.BUSY)
        peer = self._peer(connection.outcome.peer)
        session = self._take_over(peer, connection)
        if session is None:
            return None
        handler = _PeerHandler(peers=self, peer=peer)
        link = peer.link = handler.link = CountedLink(connection.socket, session, handler, self.tally)
        peer.judged(level)
        peer.dialled_by_us = connection.outcome.role is Role.DIALLER
        peer.identity = connection.outcome.fingerprint
        peer.group, peer.records_until = connection.negotiated.group, connection.records_until
        peer.renew_at, peer.renewing = self._renewal.first(peer, link, connection.took), False
        peer.changed()
        peer.ration.begin(link)
        self.presence.connected(peer.domain, level, link)
        self.log.link_up(trust=level, **connection.facts)
        self.tally.linked("peer", connection.outcome.role.name.lower(), connection.took)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed, peer)
                nursery.start_soon(self._renewal.keep, peer, link)
                nursery.start_soon(peer.ration.keep, link)
                nursery.start_soon(self.presence.serve, peer.domain, link)
                end = await link.run()
                nursery.cancel_scope.cancel()
        finally:
            if self.presence.lost(peer.domain, link):
                peer.settle([])  # it has done what was wanted of it, which ends a back-off
            if peer.link is link:
                peer.link = None
                self._want(peer)
            peer.changed()
            self._ended.set()
        self.log.link_down(peer=peer.domain, code=end.code.name, reason=end.reason)
        self.tally.ended[(end.code.name,)] += 1
        if end.code is not ErrorCode.NONE:
            peer.note_trouble(f"the link ended: {end.code.name}", end.reason)
        if end.code is ErrorCode.BUSY:  # [session-35]
            await self.attempts.busy(peer.standing, end.retry_after, ours=connection.outcome.role is Role.DIALLER)
        return end

    def judge_again(self, level_of: Callable[[DomainName], TrustLevel]) -> int:
        """After a reload: every link has its peer's new level at once, or ends where that allows none; how many end."""
        ended, self._level_of = 0, level_of
        for peer in self._peers.values():
            level, before = level_of(peer.domain), peer.level  # [trust-12]
            if level is before:
                continue
            peer.judged(level)
            stays = gates.stay(level, peer.domain).allowed  # [router-8]
            if peer.link is not None and not stays:
                peer.link.drain(ErrorCode.POLICY, _LEVEL_CHANGED)  # [trust-13]
                ended += 1
            elif peer.link is None and stays and self._want(peer):
                peer.hurry()  # what its back-off is about may have been the level
        return ended

    def domains(self) -> list[DomainName]:
        """Everybody we have had to do with of late, by name."""
        return sorted(self._peers)

    def renew(self) -> None:
        """What we show has changed: new links take the place of all, little by little, so that every peer sees it."""
        self._renewal.renew(self._peers.values())

    def hold_to(self, domain: DomainName, identity: Fingerprint) -> None:
        """The operator has accepted `identity` of `domain`: a link on another one ends.

        If anything is owed to `domain`, do not wait any longer.
        """
        if (peer := self._peers.get(domain)) is None:
            return
        if peer.link is not None and peer.identity != identity:
            peer.link.drain(ErrorCode.IDENTITY_MISMATCH, "another identity of this name was accepted")
        peer.hurry()

    def drain(self) -> None:
        """This process ends: every link says so and lets what is under way be acknowledged; no new one is made."""
        self._closing = True
        for peer in self._peers.values():
            if peer.link is not None:
                peer.link.drain(ErrorCode.SHUTTING_DOWN, "this server is shutting down")

    def known(self) -> list[Peer]:
        """Everybody we have had to do with of late, by name: to look at."""
        return [peer for _, peer in sorted(self._peers.items())]

    def known_as(self, domain: DomainName) -> Peer | None:
        """What is known of `domain`, if we have had to do with it of late."""
        return self._peers.get(domain)

    def waits_for(self, peer: Peer) -> int:
        """How many envelopes want to leave for `peer`; none while the operator holds it."""
        stored, _ = self.store.outbound_depth(peer.domain)
        return 0 if peer.held else max(peer.unsettled, stored - peer.deleting)

    def hold(self, domain: DomainName, since: float | None) -> None:
        """From `since` on no envelope leaves for `domain`, and it is not dialled for one; None: they leave, at once."""
        peer = self._peer(domain)
        peer.hold(since)
        if since is None and self._want(peer):
            peer.hurry()

    def close_intake(self, closed: bool) -> None:
        """Let nobody hand over anything for now, without a word of reproach: no link has a window. False: they may."""
        self.intake.closed = closed
        for peer in self._peers.values():
            peer.ration.close(closed, peer.link)

    async def wait_idle(self) -> None:
        """Until no peer is connected."""
        while any(peer.link is not None for peer in self._peers.values()):
            self._ended = trio.Event()
            await self._ended.wait()

    # --- one peer --------------------------------------------------------------------------------------------------

    def _peer(self, domain: DomainName) -> Peer:
        peer = self._peers.get(domain)
        if peer is None:
            most = self.intake.limits
            rate = RateLimit(most.peer_envelopes_per_second, most.peer_bytes_per_second, trio.current_time())
            peer = self._peers[domain] = Peer(domain, Ration(domain, self.log, rate, closed=self.intake.closed))
            self._new.send_nowait(peer)
        return peer

    async def _attend(self, peer: Peer) -> None:
        """Everything that is done for one peer, until there is nothing more to do."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._settle, peer)
            nursery.start_soon(self._offer_again, peer)
            await self._keep(peer)
            nursery.cancel_scope.cancel()

    async def _keep(self, peer: Peer) -> None:
        """Have a link whenever there is something to send; forget the peer when there is nothing for a while."""
        while True:
            with trio.move_on_after(limits.PEER_LINGER) as lingering:
                await peer.wait_wanted()
            if lingering.cancelled_caught:
                if peer.link is None and not self._want(peer) and peer.idle:
                    del self._peers[peer.domain]
                    return
                continue
            if self._closing or not await self._is_due(peer):
                continue
            await self.attempts.begin(peer.standing)
            peer.dialling = True
            try:
                await self._dial(peer.domain)
            except (RemoteError, DiscoveryError, StorageError, OSError) as error:
                await self._note_failure(peer, error)
                peer.wanted.set()
            finally:
                peer.dialling = False

    async def _dial(self, domain: DomainName) -> None:
        if not self._closing:
            await self.dialer.dial(domain, self.converse)

    async def _note_failure(self, peer: Peer, error: Exception) -> None:
        standing = peer.standing
        if isinstance(error, RemoteError) and error.code is ErrorCode.BUSY:
            await self.attempts.busy(standing, error.retry_after, ours=True)
        peer.note_trouble(cause_of(error), str(error))
        if isinstance(error, DiscoveryError) and not error.retry:
            self.presence.refuse(peer.domain, ErrorCode.DISCOVERY, str(error))
        elif isinstance(error, Refused) and error.code is ErrorCode.POLICY:
            self.presence.refuse(peer.domain, error.code, f"{peer.domain} refuses us: {error}")
        wait = self.attempts.due_in(standing)
        self.log.dial_failed(peer=peer.domain, reason=str(error), retry_in_s=round(wait, 1))

    def _want(self, peer: Peer) -> bool:
        """See that there is a link if anything is owed; whether there is."""
        if owed := self._owes(peer):
            peer.wanted.set()
        return owed

    def _owes(self, peer: Peer) -> bool:
        return self.waits_for(peer) > 0 or self.presence.wants(peer.domain)

    async def _is_due(self, peer: Peer) -> bool:
        """Wait until the next attempt is due; False if a link has come about meanwhile, or nothing is owed any more."""
        # who accepts a new link may end the old one before the dialler takes the new for made
        await peer.wait_renewed()
        if peer.held and not self._owes(peer):
            return False
        wait = await self.attempts.wait(peer.standing)
        if wait:
            with trio.move_on_after(wait):
                await peer.wait_linked()
            if not self._owes(peer):
                return False
        return peer.link is None

    def _take_over(self, peer: Peer, connection: Connection) -> Session[int] | None:
        """A session on the new connection, in place of the old one's; None if the old one is to stay.

        The newer link wins, since the older may be half-open; but of two that were dialled from both sides at once,
        both sides keep the one that the lesser name dialled.
        """
        old = peer.link
        by_us = connection.outcome.role is Role.DIALLER
        if old is not None:
            simultaneous = (  # [handshake-29]
                by_us is not peer.dialled_by_us and trio.current_time() - old.since < limits.SIMULTANEOUS_DIAL
            )
            if simultaneous and by_us is not (self.own < peer.domain):  # [session-37]
                return None
            old.drain(ErrorCode.REPLACED, "another link has taken over")  # [session-36]
        return Session(peer.outbound, now=trio.current_time(), extra=FROM_PEERS | {Refuse})

    async def _feed(self, peer: Peer) -> None:
        """Offer what lies on the disk as the stream has room for it."""
        while True:
            read = peer.next_read()
            if read is None:
                await peer.wait_room()
                continue
            urgency, after, room = read
            backlog = peer.backlogs[urgency]
            try:
                rows = await self.store.read_outbound(peer.domain, urgency, after, limit=room)
            except BaseException as error:
                backlog.read_failed()
                if not isinstance(error, StorageError):
                    raise
                await trio.sleep(limits.OVERLOAD_RETRY)
                continue
            peer.read(urgency, rows)

    async def _offer_again(self, peer: Peer) -> None:
        """What the peer had no room for, after a pause."""
        while True:
            await peer.wait_later()
            await trio.sleep(limits.OVERLOAD_RETRY)
            peer.offer_later()

    def settled(self, peer: Peer, rows: list[int]) -> None:
        """Have deleted what `peer` has acknowledged: it is not waited for, unless that brings trouble."""
        peer.settled(rows)
        if peer.standing.kept:
            peer.settle(rows)
        else:
            self.store.begin_settling(rows, done=partial(peer.deleted, len(rows)), failed=partial(peer.settle, rows))

    async def _settle(self, peer: Peer) -> None:
        """Delete from the disk what the peer has acknowledged, where that did not pass by itself.

        Only this ends a back-off: a peer that proves itself and takes nothing must not be dialled without pause.
        """
        while True:
            rows = await peer.take_settled()
            try:
                await self.store.settle_outbound(rows)
                if peer.standing.kept:
                    await self.attempts.forget(peer.standing)  # [relay-17]
            except StorageError:
                await trio.sleep(limits.OVERLOAD_RETRY)
                peer.settle(rows)
            else:
                peer.deleted(len(rows))


@attrs.define(kw_only=True)
class _PeerHandler:
    """What comes in on a peer's link; see `link.Handler`."""

    peers: Peers
    peer: Peer
    link: Link[int] = attrs.field(init=False)

    async def opened(self, stream: bytes) -> Resumption:
        return await self.peers.store.cursor(self.peer.domain, stream)

    async def received(self, batch: Received) -> Pending:
        self.peer.ration.note(batch)
        return await self.peers.intake.from_peer(self.peer.domain, lambda: self.peer.level, batch)

    async def settled(self, event: Settled[int]) -> None:
        count_settled(self.peers.tally, self.peer, event)
        self.peers.settled(self.peer, event.keys)  # [relay-22]
        self.peers.on_refused(event.keys, event.refused)  # [relay-23]
        if event.later:
            self.peer.later(event.later)

    async def other(self, message: Message) -> None:
        # [session-2]
        if isinstance(message, Refuse):  # a dialler judges last: it may refuse what the acceptor takes for established
            raise Refused(f"the peer refuses: {message.text or message.code.name}", code=message.code)
        self.peers.tally.presence["in", kind_of(message)] += 1
        await self.peers.presence.from_peer(self.peer.domain, self.link, message)
