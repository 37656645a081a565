"""What a homeserver does with envelopes that come in, from its edges and from peers: judge, store, pass on.

in: a batch of encoded envelopes and where it came from; out: refusals, once everything else of the batch is durable.
Gates: the router asks `relay`, edge.admission asks `deliver`.
Never: tells a refusal that depends on a mailbox from another, or reports anything stored before its commit.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import NamedTuple, TypeAlias

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
)
from volly_fed.edge.admission import REFUSAL, Room, decide_admission
from volly_fed.edge.delivery import Row
from volly_fed.edge.registration import Registration, parse_registration
from volly_fed.errors import BadMessage, StorageError
from volly_fed.names import DomainName, MailboxId
from volly_fed.observe.tally import Tally
from volly_fed.relay.envelope import expiries, read_head, read_heads
from volly_fed.relay.queue import queue_room
from volly_fed.relay.receipt import EXPIRED, OVERLOADED, TOO_LONG
from volly_fed.router.route import Local, Peer, Refused, Route, Router
from volly_fed.session import Received
from volly_fed.trust.policy import Policy
from volly_fed.wire.messages import Refusal

Answer: TypeAlias = tuple[ErrorCode, str]
_Begun: TypeAlias = Enqueued | Stored
_STORED_NOTHING: Answer = (ErrorCode.OVERLOADED, "nothing can be stored at the moment; try again later")
_CLOSED: Answer = (
    ErrorCode.OVERLOADED,
    "this server is about to stop and takes nothing new; try again later",
)

_UNREAD = [-1]
"""No class."""

_registration = lru_cache(maxsize=limits.REGISTRATION_MEMORY)(parse_registration)


class _Items(NamedTuple):
    """Envelopes with one destination, as columns: a batch costs what is made for each of its envelopes."""

    sequences: Sequence[int]
    mailboxes: Sequence[MailboxId]
    ids: Sequence[bytes]
    expiries: Sequence[int]
    urgencies: Sequence[int]
    capabilities: Sequence[bytes]
    frames: Sequence[bytes]


@attrs.define
class _Sorted:
    """One batch, sorted by what is to become of it."""

    refusals: list[Refusal] = attrs.field(factory=list)
    refused: list[tuple[Sequence[int], ErrorCode]] = attrs.field(factory=list)
    """The same by class, to be counted."""
    taken: list[Sequence[int]] = attrs.field(factory=list)
    """The classes of what is on its way to the disk."""
    local: _Items | None = None
    outbound: dict[DomainName, _Items] = attrs.field(factory=dict)

    def place(self, items: _Items, route: Route) -> None:
        """`items`, all there are for a domain, have this route."""
        match route:
            case Local():
                self.local = items
            case Peer(domain):
                self.outbound[domain] = items
            case Refused(code, reason):  # names and rules may be long, and what is too long ends the link
                self.refuse(items.sequences, items.urgencies, (code, reason[: limits.REFUSAL_TEXT]))

    def refuse(self, sequences: Iterable[int], urgencies: Sequence[int], answer: Answer) -> None:
        """These are not taken."""
        self.refusals += [(sequence, *answer) for sequence in sequences]
        self.refused.append((urgencies, answer[0]))

    def count(self, tally: Tally, origin: str) -> None:
        """What was taken is durable, what was not is about to be refused."""
        for urgencies in self.taken:
            tally.accept(origin, urgencies)
        for urgencies, code in self.refused:
            tally.refuse(origin, urgencies, code)


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
    closed: bool = False
    """Devices are told to try again later; what peers have under way is taken, for they have a window for it."""
    tally: Tally = attrs.field(factory=Tally)

    async def from_edge(self, link: int, batch: Received) -> Pending:
        """Take what devices submitted through edge `link`. Await the result for the refusals and durability."""
        if self.closed:
            return partial(self._refuse_all, batch, _CLOSED)
        router = Router(self.domain, self.policy)
        sorted_ = self._sort(batch, router.from_device)
        try:
            begun: list[_Begun] = [*self._store_outbound(link, sorted_)]
            if sorted_.local is not None:
                rows = await self._admit(self.domain, self.policy, sorted_)
                begun.append(await self._store_local(rows, None))
                sorted_.taken.append([row.urgency for row in rows])
        except StorageError:
            return partial(self._refuse_all, batch, _STORED_NOTHING)
        return partial(self._settle, batch, begun, sorted_)

    async def from_peer(self, peer: DomainName, level: Callable[[], TrustLevel], batch: Received) -> Pending:
        """Take what `peer` relays, on the `level` its session has; await the result as `from_edge`'s.

        What counts is the level at the moment when the batch is handed to the disk: a reload may come before that.
        Both raise StorageError: the batch is not stored, and none that follows it in its stream will be.
        """
        sorted_, rows = await self._judge(peer, judged := level(), batch)
        while level() is not judged:  # [router-7]
            sorted_, rows = await self._judge(peer, judged := level(), batch)
        at = Position(peer, batch.stream, batch.first, batch.last, sorted_.refusals)
        sorted_.taken.append([row.urgency for row in rows])
        return partial(self._stored, await self._store_local(rows, at), sorted_)

    async def _judge(self, peer: DomainName, level: TrustLevel, batch: Received) -> tuple[_Sorted, list[InboundRow]]:
        sorted_ = self._sort(batch, partial(Router(self.domain, self.policy).from_peer, peer, level))  # [router-3]
        return sorted_, await self._admit(peer, level, sorted_)

    async def _stored(self, stored: Stored, sorted_: _Sorted) -> tuple[Refusal, ...]:
        await stored.wait()
        sorted_.count(self.tally, "peer")
        return tuple(sorted_.refusals)

    async def _settle(self, batch: Received, begun: list[_Begun], sorted_: _Sorted) -> tuple[Refusal, ...]:
        try:
            for rows in begun:
                await rows.wait()  # [relay-15]
        except StorageError:
            return await self._refuse_all(batch, _STORED_NOTHING)  # [relay-26]
        sorted_.count(self.tally, "edge")
        return tuple(sorted_.refusals)

    def _sort(self, batch: Received, route: Callable[[DomainName], Route]) -> _Sorted:
        sorted_ = _Sorted()
        frames, sequences = batch.envelopes, range(batch.first, batch.last + 1)
        earliest, latest = expiries(time.time())
        heads = read_heads(frames)
        if heads is not None and earliest <= min(heads.expiries) and max(heads.expiries) <= latest:
            domain, mailboxes, ids, expire, urgencies, capabilities = heads
            items = _Items(sequences, mailboxes, ids, expire, urgencies, capabilities, frames)
            sorted_.place(items, route(domain))
            return sorted_
        by_domain: defaultdict[DomainName, list[tuple[object, ...]]] = defaultdict(list)
        for sequence, frame in zip(sequences, frames, strict=True):
            try:
                mailbox, domain, identity, expiry, urgency, capability, _ = read_head(frame)
            except BadMessage as error:
                sorted_.refuse([sequence], _UNREAD, (error.code, str(error)[: limits.REFUSAL_TEXT]))  # [relay-5]
                continue
            if earliest <= expiry <= latest:
                by_domain[domain].append((sequence, mailbox, identity, expiry, urgency, capability, frame))
            else:
                sorted_.refuse(
                    [sequence], [urgency], EXPIRED if expiry < earliest else TOO_LONG
                )  # [relay-9] [relay-10]
        for domain, rows in by_domain.items():
            sorted_.place(_Items._make(zip(*rows, strict=True)), route(domain))
        return sorted_

    def _store_outbound(self, link: int, sorted_: _Sorted) -> Iterator[Enqueued]:
        for domain, items in sorted_.outbound.items():
            room = self._room(domain)
            sorted_.refuse(items.sequences[room:], items.urgencies[room:], OVERLOADED)  # [relay-16]
            values = zip(items.ids, items.expiries, items.urgencies, items.frames, strict=True)  # [relay-2]
            rows = [*map(OutboundRow._make, islice(values, room))]
            if rows:
                sorted_.taken.append(items.urgencies[:room])
                yield self._begin(link, domain, rows, items.ids)

    def _begin(self, link: int, domain: DomainName, rows: list[OutboundRow], ids: Sequence[bytes]) -> Enqueued:
        enqueued = self.store.begin_outbound(domain, rows)
        self.note_submission(link, enqueued.rows, ids)
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
        items = sorted_.local
        if items is None:
            return []
        values = zip(items.mailboxes, items.ids, items.expiries, items.urgencies, items.frames, strict=True)
        rows = map(InboundRow._make, values)
        asked = [*zip(items.mailboxes, items.capabilities, strict=True)]
        questions = dict.fromkeys(asked)
        records = await self.store.mailboxes({mailbox for mailbox, _ in questions})
        allowed: dict[tuple[MailboxId, bytes], bool] = {}
        rooms: dict[MailboxId, Room] = {}
        for mailbox, capability in questions:
            record = records.get(mailbox)
            decision = decide_admission(_registration_of(record), capability, origin, own=self.domain, level=level)
            allowed[mailbox, capability] = decision.allowed
            rooms.setdefault(mailbox, self._room_in(record))
        count, size = len(asked), sum(map(len, items.frames))
        if all(allowed.values()) and all(room.has(count, size) for room in rooms.values()):
            return [*rows]  # nearly always: each mailbox could take them all
        admitted: list[InboundRow] = []
        for sequence, question, row in zip(items.sequences, asked, rows, strict=True):
            if allowed[question] and rooms[row.mailbox].take(len(row.frame)):
                admitted.append(row)
            else:
                sorted_.refuse([sequence], [row.urgency], REFUSAL)
        return admitted

    def _room_in(self, record: MailboxRecord | None) -> Room:
        most, most_bytes = self.limits.mailbox_envelopes, self.limits.mailbox_bytes
        return Room(most - record.envelopes, most_bytes - record.bytes) if record else Room(most, most_bytes)

    async def _store_local(self, rows: list[InboundRow], at: Position | None) -> Stored:
        """Begin to store `rows`, together with the position of their batch, and deliver them meanwhile.

        What is delivered and then not stored comes again: the device, which remembers what it has, takes it once.
        """
        stored = await self.store.begin_inbound(rows, at)
        fresh: defaultdict[MailboxId, list[Row]] = defaultdict(list)
        if rows:
            mailboxes, ids, _, urgencies, frames = zip(*rows, strict=True)
            told = map(Row._make, zip(stored.keys, ids, frames, urgencies, strict=True))
            for key, mailbox, row in zip(stored.keys, mailboxes, told, strict=True):
                if key is not None:
                    fresh[mailbox].append(row)
        self.on_inbound(fresh)
        return stored

    async def _refuse_all(self, batch: Received, answer: Answer) -> tuple[Refusal, ...]:
        self.tally.refuse("edge", _UNREAD * len(batch.envelopes), answer[0])
        return tuple((sequence, *answer) for sequence in range(batch.first, batch.last + 1))


def _registration_of(record: MailboxRecord | None) -> Registration | None:
    """What the mailbox lets in; nothing, if a former version took what this one cannot read."""
    if record is None:
        return None
    try:
        return _registration(record.registration)
    except BadMessage:
        return None
