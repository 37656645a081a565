"""What a homeserver does with envelopes that come in, from its edges and from peers: judge, store, pass on.

in: a batch of encoded envelopes and where it came from; out: refusals, once everything else of the batch is durable.
Gates: the router asks `relay`, edge.admission asks `deliver`.
Never: tells a refusal that depends on a mailbox from another, or reports anything stored before its commit.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.config.model import Limits
from volly_fed.daemon.link import Pending
from volly_fed.daemon.store.rows import MailboxRecord
from volly_fed.daemon.store.store import (
    Enqueued,
    InboundRow,
    OutboundRow,
    Position,
    Store,
    Stored,
    outbound_row,
)
from volly_fed.edge.admission import REFUSAL, Room, decide_admission
from volly_fed.edge.delivery import Row
from volly_fed.edge.registration import Registration, parse_registration
from volly_fed.errors import BadMessage, StorageError
from volly_fed.names import DomainName, MailboxId
from volly_fed.relay.envelope import Head, expiries, read_head
from volly_fed.relay.queue import queue_room
from volly_fed.relay.receipt import EXPIRED, OVERLOADED, TOO_LONG
from volly_fed.router.route import Local, Peer, Refused, Route, Router
from volly_fed.session import Received
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Refusal

Answer: TypeAlias = tuple[ErrorCode, str]
_Begun: TypeAlias = Enqueued | Stored
_Item: TypeAlias = tuple[int, Head, bytes]
"""An envelope: its sequence number, its head, its bytes."""
_Place: TypeAlias = list[_Item] | Answer
_STORED_NOTHING: Answer = (ErrorCode.OVERLOADED, "nothing can be stored at the moment; try again later")

_registration = lru_cache(maxsize=limits.REGISTRATION_MEMORY)(parse_registration)


@attrs.define
class _Sorted:
    """One batch, sorted by what is to become of it."""

    refusals: list[Refusal] = attrs.field(factory=list)
    local: list[_Item] = attrs.field(factory=list)
    outbound: dict[DomainName, list[_Item]] = attrs.field(factory=dict)

    def place(self, route: Route) -> "_Place":
        """Where envelopes go whose domain has this route."""
        match route:
            case Local():
                return self.local
            case Peer(domain):
                return self.outbound.setdefault(domain, [])
            case Refused(code, reason):  # names and rules may be long, and what is too long ends the link
                return code, reason[: limits.REFUSAL_TEXT]


@attrs.define(kw_only=True)
class Intake:
    """One per homeserver; `policy` and `router` are replaced when the policy is reloaded."""

    domain: DomainName
    store: Store
    policy: Policy
    limits: Limits
    may_queue: Callable[[DomainName], bool]
    """Whether there may be a queue for a domain: their number is bounded."""
    on_outbound: Callable[[DomainName, range, list[OutboundRow]], None]
    """Rows for a peer that are on their way to the disk, and their keys: sending need not wait."""
    on_inbound: Callable[[Mapping[MailboxId, Sequence[Row]]], None]
    """Rows for mailboxes here that are on their way to the disk: delivering need not wait."""
    note_submission: Callable[[int, range, Sequence[bytes]], None]
    """(edge link, rows, envelope ids): whom to tell of a late refusal."""

    async def from_edge(self, link: int, batch: Received) -> Pending:
        """Take what devices submitted through edge `link`. Await the result for the refusals and durability."""
        router = Router(self.domain, self.policy)
        sorted_ = self._sort(batch, router.from_device)
        try:
            begun: list[_Begun] = [*self._store_outbound(link, sorted_)]
            if sorted_.local:
                rows = await self._admit(self.domain, self.policy, sorted_)
                begun.append(await self._store_local(rows, None))
        except StorageError:
            return partial(self._nothing_stored, batch)
        return partial(self._settle, batch, begun, sorted_)

    async def from_peer(self, peer: DomainName, level: Callable[[], TrustLevel], batch: Received) -> Pending:
        """Take what `peer` relays, on the `level` its session has; await the result as `from_edge`'s.

        What counts is the level at the moment when the batch is handed to the disk: a reload may come before that.
        Both raise StorageError: the batch is not stored, and none that follows it in its stream will be.
        """
        sorted_, rows = await self._judge(peer, judged := level(), batch)
        while level() is not judged:
            sorted_, rows = await self._judge(peer, judged := level(), batch)
        at = Position(peer, batch.stream, batch.first, batch.last, sorted_.refusals)
        return partial(self._stored, await self._store_local(rows, at), sorted_)

    async def _judge(self, peer: DomainName, level: TrustLevel, batch: Received) -> tuple[_Sorted, list[InboundRow]]:
        sorted_ = self._sort(batch, partial(Router(self.domain, self.policy).from_peer, peer, level))
        return sorted_, await self._admit(peer, level, sorted_)

    async def _stored(self, stored: Stored, sorted_: _Sorted) -> tuple[Refusal, ...]:
        await stored.wait()
        return tuple(sorted_.refusals)

    async def _settle(self, batch: Received, begun: list[_Begun], sorted_: _Sorted) -> tuple[Refusal, ...]:
        try:
            for rows in begun:
                await rows.wait()
        except StorageError:
            return await self._nothing_stored(batch)
        return tuple(sorted_.refusals)

    def _sort(self, batch: Received, route: Callable[[DomainName], Route]) -> _Sorted:
        sorted_ = _Sorted()
        places: dict[DomainName, _Place] = {}
        earliest, latest = expiries(time.time())
        for sequence, frame in enumerate(batch.envelopes, batch.first):
            try:
                head = read_head(frame)
            except BadMessage as error:
                sorted_.refusals.append((sequence, error.code, str(error)[: limits.REFUSAL_TEXT]))
                continue
            if not earliest <= head.expiry <= latest:
                sorted_.refusals.append((sequence, *(EXPIRED if head.expiry < earliest else TOO_LONG)))
                continue
            place = places.get(head.domain)
            if place is None:
                place = places[head.domain] = sorted_.place(route(head.domain))
            if type(place) is list:
                place.append((sequence, head, frame))
            else:
                sorted_.refusals.append((sequence, *place))
        return sorted_

    def _store_outbound(self, link: int, sorted_: _Sorted) -> Iterator[Enqueued]:
        for domain, items in sorted_.outbound.items():
            room = self._room(domain)
            sorted_.refusals += [(sequence, *OVERLOADED) for sequence, _, _ in items[room:]]
            rows = [outbound_row(head, frame) for _, head, frame in items[:room]]
            if rows:
                yield self._begin(link, domain, rows)

    def _begin(self, link: int, domain: DomainName, rows: list[OutboundRow]) -> Enqueued:
        enqueued = self.store.begin_outbound(domain, rows)
        self.note_submission(link, enqueued.rows, [row.id for row in rows])
        self.on_outbound(domain, enqueued.rows, rows)
        return enqueued

    def _room(self, domain: DomainName) -> int:
        if not self.may_queue(domain):
            return 0
        most, one, all_ = self.limits, self.store.outbound_depth(domain), self.store.outbound_total()
        return min(
            queue_room(*one, most_envelopes=most.queue_envelopes_per_peer, most_bytes=most.queue_bytes_per_peer),
            queue_room(*all_, most_envelopes=most.queue_envelopes, most_bytes=most.queue_bytes),
        )

    async def _admit(self, origin: DomainName, level: Policy | TrustLevel, sorted_: _Sorted) -> list[InboundRow]:
        """What of `sorted_.local` its mailboxes here let in; the rest is refused.

        Every question is asked once in a batch, for a mailbox that exists and for one that does not.
        """
        records = await self.store.mailboxes({head.mailbox for _, head, _ in sorted_.local})
        allowed: dict[tuple[MailboxId, bytes], bool] = {}
        rooms: dict[MailboxId, Room] = {}
        rows: list[InboundRow] = []
        for sequence, head, frame in sorted_.local:
            mailbox, capability = asked = head.mailbox, head.capability
            if asked not in allowed:
                record = records.get(mailbox)
                decision = decide_admission(_registration_of(record), capability, origin, own=self.domain, level=level)
                allowed[asked] = decision.allowed
                rooms.setdefault(mailbox, self._room_in(record))
            if allowed[asked] and rooms[mailbox].take(len(frame)):
                rows.append(InboundRow(mailbox, head.id, head.expiry, head.urgency, frame))
            else:
                sorted_.refusals.append((sequence, *REFUSAL))
        return rows

    def _room_in(self, record: MailboxRecord | None) -> Room:
        most, most_bytes = self.limits.mailbox_envelopes, self.limits.mailbox_bytes
        return Room(most - record.envelopes, most_bytes - record.bytes) if record else Room(most, most_bytes)

    async def _store_local(self, rows: list[InboundRow], at: Position | None) -> Stored:
        """Begin to store `rows`, together with the position of their batch, and deliver them meanwhile.

        What is delivered and then not stored comes again: the device, which remembers what it has, takes it once.
        """
        stored = await self.store.begin_inbound(rows, at)
        fresh: defaultdict[MailboxId, list[Row]] = defaultdict(list)
        for key, (mailbox, identity, _, urgency, frame) in zip(stored.keys, rows, strict=True):
            if key is not None:
                fresh[mailbox].append(Row(key, identity, frame, urgency))
        self.on_inbound(fresh)
        return stored

    async def _nothing_stored(self, batch: Received) -> tuple[Refusal, ...]:
        return tuple((sequence, *_STORED_NOTHING) for sequence in range(batch.first, batch.last + 1))


def _registration_of(record: MailboxRecord | None) -> Registration | None:
    """What the mailbox lets in; nothing, if a former version took what this one cannot read."""
    if record is None:
        return None
    try:
        return _registration(record.registration)
    except BadMessage:
        return None
