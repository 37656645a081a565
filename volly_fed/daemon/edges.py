"""This homeserver's edge nodes: their links, the claims that come through them, what is delivered and deleted.

in: proved connections of enrolled edges, rows that were stored for mailboxes; out: deliveries, submissions, deletions.
Never: takes an edge's word for a mailbox: edge.claims judges every proof and every acknowledgement.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import Negotiated
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.edge_streams import EdgeStreams
from volly_fed.daemon.intake import Intake
from volly_fed.daemon.link import End, Link, Pending, Resumption
from volly_fed.daemon.presence_hub import FROM_EDGES, PresenceHub
from volly_fed.daemon.store.store import Store
from volly_fed.edge.claim import ClaimedMailbox
from volly_fed.edge.claims import Action, Claims, Delete, Read, Register, Rejected, ToEdge
from volly_fed.edge.delivery import Row
from volly_fed.errors import RemoteError, StorageError
from volly_fed.handshake import Claimed, Outcome
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.observe.log import Log
from volly_fed.observe.tally import UNKNOWN, Tally
from volly_fed.relay.receipt import receipts
from volly_fed.session import Outbound, Received, Session, Settled
from volly_fed.wire import Message
from volly_fed.wire import messages as wire
from volly_fed.wire.messages import Outcome as Refused
from volly_fed.wire.messages import Refusal

EXTRA: frozenset[type[Message]] = frozenset(
    {
        wire.Claim,
        wire.Challenge,
        wire.Proof,
        wire.Claimed,
        wire.NotClaimed,
        wire.Acknowledge,
        wire.Release,
        wire.Receipt,
        wire.Deliver,
        wire.Shown,
        *FROM_EDGES,
    }
)
"""What passes on an edge link beside the stream of submissions."""
_BUSY = limits.EXTRA_MESSAGES - 2
"""Deliveries wait here while a link's writer has more to do: so they leave in as few messages as hold them all."""


@attrs.define(kw_only=True)
class EdgeLinks:
    """All edge links of one homeserver."""

    domain: DomainName
    enrolled: Callable[[], Iterable[tuple[DomainName, Fingerprint]]]
    store: Store
    log: Log
    presence: PresenceHub
    tally: Tally = attrs.field(factory=Tally)
    intake: Intake = attrs.field(init=False)
    left: dict[DomainName, float] = attrs.field(factory=dict, init=False)
    """When edges' last links ended, on trio's clock; those that were enrolled at the time, so there are few."""
    streams: EdgeStreams = attrs.field(factory=EdgeStreams, init=False)
    _claims: Claims = attrs.field(init=False)
    _links: dict[int, "_EdgeLink"] = attrs.field(factory=dict, init=False)
    _last: int = attrs.field(default=0, init=False)
    _undeleted: list[int] = attrs.field(factory=list, init=False, repr=False)
    """Rows that could not be deleted, and are to be."""
    _to_delete: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._claims = Claims(self.domain)

    async def admit(self, claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:  # noqa: ARG002 - AUTH signs the TLS key
        """The identity that the claimed edge is enrolled with; raises RemoteError POLICY when it is not."""
        return frozenset({await self._enrolment(claimed.domain)})

    async def confirm(self, outcome: Outcome) -> None:
        """As `admit`: it may have been revoked since, for how long a handshake takes is the edge's choice."""
        if await self._enrolment(outcome.peer) != outcome.fingerprint:  # [edge-2]
            raise self._not_enrolled(outcome.peer)

    async def _enrolment(self, name: DomainName) -> Fingerprint:
        enrolled = dict(await trio.to_thread.run_sync(lambda: list(self.enrolled())))
        if name not in enrolled:  # [edge-1]
            raise self._not_enrolled(name)
        return enrolled[name]

    def _not_enrolled(self, name: DomainName) -> RemoteError:
        self.log.edge_refused(edge=name, code="POLICY", reason="not enrolled")
        return RemoteError(
            "this edge is not enrolled; note: run `volly-fed edges enrol` on the homeserver", code=ErrorCode.POLICY
        )

    async def serve(self, connection: Connection) -> None:
        """Run one edge's link until it ends."""
        name = connection.outcome.peer
        self._last += 1
        edge = _EdgeLink(number=self._last, name=name, fingerprint=connection.outcome.fingerprint, links=self)
        session = Session(Outbound[int](os.urandom), now=trio.current_time(), extra=EXTRA)
        edge.link = Link(connection.socket, session, edge)
        for former in self._links.values():
            if former.name == name:  # one process, one link: the older is half-open, or an edge that hoards them
                former.link.drain(ErrorCode.REPLACED, "another link has taken over")  # [edge-4]
        self._claims.add_link(edge.number, connection.outcome.fingerprint)
        self._links[edge.number] = edge
        watcher = self.presence.edge_up(edge.number, edge.link)
        self.log.edge_up(edge=name)
        self.tally.linked("edge", "acceptor", connection.took)
        end = End(ErrorCode.UNEXPECTED, "stopped")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._dispatch, edge)
                nursery.start_soon(self._read, edge)
                nursery.start_soon(watcher.run)
                end = await edge.link.run()
                nursery.cancel_scope.cancel()
        finally:
            del self._links[edge.number]
            self.left[name] = trio.current_time()
            self._claims.remove_link(edge.number)
            self.presence.edge_down(edge.number)
            self.log.edge_down(edge=name, code=end.code.name, reason=end.reason)

    async def run(self) -> None:
        """Delete later what the disk would not delete; until cancelled."""
        while True:
            await self._to_delete.wait()
            await trio.sleep(limits.OVERLOAD_RETRY)
            self._to_delete = trio.Event()
            rows, self._undeleted = self._undeleted, []
            self._delete(list(dict.fromkeys(rows)))  # on another claim they may have been acknowledged again

    def _delete(self, rows: list[int]) -> None:
        """Have `rows` deleted when it fits; a device acknowledges nothing twice on one claim, so do not forget them."""

        def failed() -> None:
            self._undeleted += rows
            self._to_delete.set()

        with suppress(StorageError):  # closed: this process ends
            self.store.begin_delete_inbound(rows, failed)

    def stored(self, rows: Mapping[MailboxId, Sequence[Row]]) -> None:
        """Rows for mailboxes here are on their way to the disk, told in their order: deliver them where claimed."""
        for number in self._claims.stored(rows):
            edge = self._links.get(number)
            if edge is not None:
                self._go_on(edge)

    def notify(self, link: int, refused: list[Refused]) -> int:
        """Envelopes that came through edge `link` were refused; of how many it is told, which is best effort."""
        edge = self._links.get(link)
        told = [receipt for receipt in receipts(refused) if edge.link.send(receipt)] if edge else []
        return sum(len(receipt.refused) for receipt in told)

    def connected(self, link: int) -> bool:
        """Whether `link` is still there to be told anything."""
        return link in self._links

    def drain(self) -> None:
        """This process ends."""
        for edge in self._links.values():
            edge.link.drain(ErrorCode.SHUTTING_DOWN, "the homeserver is shutting down")

    def revoke(self, enrolled: Iterable[tuple[DomainName, Fingerprint]]) -> int:
        """End the links of edges that are not `enrolled` any more, or with another identity; how many."""
        left = set(enrolled)
        gone = [edge for edge in self._links.values() if (edge.name, edge.fingerprint) not in left]
        for edge in gone:
            edge.link.drain(ErrorCode.POLICY, "this edge is not enrolled any more")  # [edge-5]
        return len(gone)

    def linked(self) -> list[tuple[DomainName, float]]:
        """The edges that are connected, by name, and since when on trio's clock; twice while a link is replaced."""
        return sorted((edge.name, edge.link.since) for edge in self._links.values())

    def __len__(self) -> int:
        return len(self._links)

    # --- for the links ---------------------------------------------------------------------------------------------

    async def receive(self, edge: "_EdgeLink", message: Message) -> None:
        """A claim, a proof, an acknowledgement or a release."""
        actions = self._claims.receive(edge.number, message, now=time.time(), random=os.urandom)
        for action in actions:
            if isinstance(action, Register):
                await self._register(action)
            else:
                self._perform(action)
        self._go_on(edge)

    async def _register(self, action: Register) -> None:
        try:
            await self._store_registration(action.claimed)  # [edge-20]
        except StorageError:
            answer = self._claims.not_registered(action, ErrorCode.OVERLOADED, "try again later")
        else:
            answer = self._claims.registered(action)
        self._perform_all(answer)

    async def _store_registration(self, claimed: ClaimedMailbox) -> None:
        """See that it is on the disk. One that is there already holds even if the disk takes nothing at the moment."""
        try:
            await self.store.put_mailbox(claimed.mailbox, claimed.registration_bytes, time.time())
        except StorageError:
            known = await self.store.mailbox(claimed.mailbox)
            if known is None or known.registration != claimed.registration_bytes:
                raise

    def _perform_all(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case ToEdge(link, message):
                edge = self._links.get(link)
                if edge is not None and not edge.link.send(message):
                    # an answer that cannot be given, or a delivery that would wait for ever: begin anew
                    edge.link.drain(ErrorCode.OVERLOADED, "this edge does not keep up")
            case Delete(rows):  # [relay-27]
                self.tally.delivered["device", UNKNOWN] += len(rows)
                self._delete(rows)
            case Rejected(link, reason):
                edge = self._links.get(link)
                self.log.edge_refused(edge=edge.name if edge else "", code="BAD_PROOF", reason=reason)
            case _:
                raise AssertionError(f"{type(action).__name__} has another way")

    def _go_on(self, edge: "_EdgeLink") -> None:
        """Hand the link's writer what is to be delivered, as far as it is not busy, and have the rest seen to."""
        while edge.link.extra_room > _BUSY and (message := self._claims.next_delivery(edge.number)) is not None:
            edge.link.send(message)
        if self._claims.waits(edge.number):
            edge.to_dispatch.set()
        if self._claims.reads(edge.number):
            edge.to_read.set()

    async def _dispatch(self, edge: "_EdgeLink") -> None:
        """Deliver what waited while the writer was busy."""
        while True:
            await edge.to_dispatch.wait()
            edge.to_dispatch = trio.Event()
            await edge.link.wait_extra_room(_BUSY)
            if not edge.link.extra_room:
                return  # the link is over
            self._go_on(edge)

    async def _read(self, edge: "_EdgeLink") -> None:
        """Read from the store what could not be delivered straight away."""
        while True:
            read = self._claims.next_read(edge.number)
            if read is None:
                await edge.to_read.wait()
                edge.to_read = trio.Event()
            else:
                await self._give(edge, read)

    async def _give(self, edge: "_EdgeLink", read: Read) -> None:
        try:
            rows = await self.store.read_mailbox(read.mailbox, read.after, read.limit, read.lane.urgency)
        except StorageError:
            self._claims.read_failed(read)
            await trio.sleep(limits.OVERLOAD_RETRY)
            self._claims.wake({read.mailbox})
        else:
            self._claims.give_read(read, rows)
            self._go_on(edge)


@attrs.define(kw_only=True)
class _EdgeLink:
    """One edge's link; see `link.Handler`. Nothing is sent to an edge in a stream, so nothing is settled."""

    number: int
    name: DomainName
    fingerprint: Fingerprint
    links: EdgeLinks
    link: Link[int] = attrs.field(init=False)
    to_dispatch: trio.Event = attrs.field(factory=trio.Event, init=False)
    to_read: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def opened(self, stream: bytes) -> Resumption:
        return self.links.streams.resumption(stream)

    async def received(self, batch: Received) -> Pending:
        pending = await self.links.intake.from_edge(self.number, batch)

        async def settle() -> tuple[Refusal, ...]:
            refusals = await pending()
            self.links.streams.settled(batch, refusals)
            return refusals

        return settle

    async def settled(self, event: Settled[int]) -> None:
        """Never called: the stream to edges is empty."""

    async def other(self, message: Message) -> None:
        if type(message) in FROM_EDGES:
            await self.links.presence.from_edge(self.number, message)
        else:
            await self.links.receive(self, message)
