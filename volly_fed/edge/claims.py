"""Which edge link holds which mailbox, and what flows on each claim: the homeserver's side, for all its edges.

in: CLAIM, PROOF, ACKNOWLEDGE, RELEASE from edge links, rows from the store; out: actions for the daemon, and DELIVER
when it asks for the next one.
Nothing is answered CLAIMED before its registration is stored; nothing is deleted that the device did not acknowledge.
Never: waits, or believes an edge about a mailbox. Source: docs/architecture.md, roles.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.edge.claim import ClaimedMailbox, PendingClaim, check_proof, make_challenge
from volly_fed.edge.delivery import Delivery, Lane, StoredRow
from volly_fed.edge.dispatch import Dispatch
from volly_fed.errors import RemoteError
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.wire.messages import (
    Acknowledge,
    Claim,
    Claimed,
    Deliver,
    Message,
    NotClaimed,
    Proof,
    Release,
)


class ToEdge(NamedTuple):
    """Send `message` on this link."""

    link: int
    message: Message


class Register(NamedTuple):
    """Store the registration durably, then call `Claims.registered` with this action (or `not_registered`).

    Registrations of one mailbox are stored in the order in which their actions come.
    """

    link: int
    request: int
    claimed: ClaimedMailbox


class Delete(NamedTuple):
    """The device holds these rows of the store safely: delete them."""

    rows: list[int]


class Rejected(NamedTuple):
    """Something on this link failed its proof: count it, name no mailbox."""

    link: int
    reason: str


class Read(NamedTuple):
    """Read rows of `mailbox` and of the lane's class after row `after`, then call `Claims.give_read`.

    `limit` rows are enough; what does not fit in the window is read again later.
    """

    link: int
    mailbox: MailboxId
    after: int
    limit: int
    delivery: Delivery
    lane: Lane


Action: TypeAlias = ToEdge | Register | Delete | Rejected


@attrs.define
class _Held:
    """A mailbox that is claimed now: by whom, and what it was given."""

    link: int
    request: int
    delivery: Delivery
    queued: bool = False
    """It stands in its link's `ready`."""


@attrs.define
class _Link:
    edge: Fingerprint
    pending: dict[int, PendingClaim] = attrs.field(factory=dict, repr=False)
    held: set[MailboxId] = attrs.field(factory=set, repr=False)
    former: dict[MailboxId, None] = attrs.field(factory=dict, repr=False)
    """Those held before, the last limits.PENDING_CLAIMS_PER_LINK: what a device acknowledged meanwhile is under way."""
    ready: deque[MailboxId] = attrs.field(factory=deque, repr=False)
    """Mailboxes with room whose store may hold more; served in turn, so that a full one does not starve the rest."""
    dispatch: Dispatch = attrs.field(factory=Dispatch)

    def take(self, mailbox: MailboxId) -> None:
        """It is claimed through this link from now on."""
        self.held.add(mailbox)
        self.former.pop(mailbox, None)

    def drop(self, mailbox: MailboxId) -> None:
        """It no longer is."""
        self.held.discard(mailbox)
        self.former[mailbox] = None
        if len(self.former) > limits.PENDING_CLAIMS_PER_LINK:
            del self.former[next(iter(self.former))]


class Claims:
    """One per homeserver. Links are numbers that the daemon gives out and never uses twice."""

    def __init__(self, domain: DomainName) -> None:
        self._domain = domain
        self._links: dict[int, _Link] = {}
        self._held: dict[MailboxId, _Held] = {}

    def add_link(self, link: int, edge: Fingerprint) -> None:
        """An edge with this proven identity is connected."""
        self._links[link] = _Link(edge)

    def remove_link(self, link: int) -> None:
        """It is gone, and with it every claim through it; what was not acknowledged comes again on the next claim."""
        gone = self._links.pop(link, None)
        for mailbox in gone.held if gone else ():
            self._held.pop(mailbox).delivery.over = True

    def holder(self, mailbox: MailboxId) -> int | None:
        """The link through which `mailbox` is claimed now."""
        held = self._held.get(mailbox)
        return held.link if held else None

    def receive(self, link: int, message: Message, *, now: float, random: RandomSource) -> list[Action]:
        """What follows from a message of an edge; `now` is the wall clock.

        Raises RemoteError when the edge itself broke the protocol: then the link is to be closed. A device's failures
        only end that device's claim.
        """
        match message:
            case Claim():
                return self._claim(link, message, now, random)
            case Proof():
                return self._proof(link, message, now)
            case Acknowledge():
                return self._acknowledge(link, message)
            case Release():
                self._release(link, MailboxId(message.mailbox))
                return []
            case _:
                raise RemoteError(f"an edge does not send {type(message).__name__}")

    def registered(self, action: Register) -> list[Action]:
        """The registration is on disk: the claim takes effect, and another holder's ends."""
        owner = self._links.get(action.link)
        if owner is None:
            return []
        mailbox = action.claimed.mailbox
        actions = self._replace(mailbox)
        held = self._held[mailbox] = _Held(action.link, action.request, Delivery(key=action.claimed.key))
        owner.take(mailbox)
        self._maybe_ready(mailbox, held)
        return [*actions, ToEdge(action.link, Claimed(request=action.request, mailbox=mailbox))]

    def not_registered(self, action: Register, code: ErrorCode, text: str) -> list[Action]:
        """The registration could not be stored: the device may try again."""
        return [_not_claimed(action.link, action.request, code, text)] if action.link in self._links else []

    # --- delivering ------------------------------------------------------------------------------------------------

    def next_delivery(self, link: int) -> Deliver | None:
        """What is to be sent on this link next; None until `stored`, `give_read` or an end of claims."""
        owner = self._links.get(link)
        return owner.dispatch.next() if owner else None

    def waits(self, link: int) -> bool:
        """Whether `next_delivery` may have something."""
        owner = self._links.get(link)
        return owner is not None and len(owner.dispatch) > 0

    def reads(self, link: int) -> bool:
        """Whether `next_read` may have something."""
        owner = self._links.get(link)
        return owner is not None and bool(owner.ready) and not owner.dispatch.full

    def next_read(self, link: int) -> Read | None:
        """What to read from the store for this link next; None until `wake`, `stored` or an acknowledgement.

        None too while as much waits for the link's writer as may: an edge that is slow holds no memory here for it.
        """
        owner = self._links.get(link)
        while owner and owner.ready and not owner.dispatch.full:
            mailbox = owner.ready.popleft()
            held = self._held.get(mailbox)
            if held is None or held.link != link or not held.queued:
                continue  # it was claimed elsewhere since it was put there
            held.queued = False
            delivery = held.delivery
            lane = delivery.next_lane
            if lane is not None:
                lane.reading, lane.behind = True, False
                self._maybe_ready(mailbox, held)  # for another class
                return Read(link, mailbox, lane.position, delivery.room(lane), delivery, lane)
        return None

    def give_read(self, read: Read, rows: Sequence[StoredRow]) -> None:
        """Queue what was read; an answer for a claim that has ended is dropped. Not an error: no rows.

        A reader that stops at fewer bytes than rows must give an empty list only at the end of the mailbox.
        """
        held = self._held.get(read.mailbox)
        delivery, lane = read.delivery, read.lane
        lane.reading = False
        if held is None or held.delivery is not delivery:
            return
        if lane.position < read.after:  # since then it was told to go back: what was read leaves a gap
            lane.behind = True
        else:
            self._links[held.link].dispatch.put(delivery, delivery.give(lane, rows), lane.urgency)
            lane.behind = lane.behind or bool(rows)
        self._maybe_ready(read.mailbox, held)

    def read_failed(self, read: Read) -> None:
        """The store could not be read: what is there is read after the next `stored`, `wake` or acknowledgement."""
        read.lane.reading = False
        read.lane.behind = True

    def stored(self, rows: Mapping[MailboxId, Sequence[StoredRow]]) -> set[int]:
        """Rows on their way to the disk, told in their order: queued at once where the claim has all before them.

        Saves reading them back. Where the window or the link's queue is full, or a read is under way, they are read
        when there is room. Gives the links that have something to do: `next_delivery`, `next_read`.
        """
        concerned: set[int] = set()
        for mailbox, fresh in rows.items():
            held = self._held.get(mailbox)
            if held is not None:
                concerned.add(held.link)
                for urgency, some in _by_class(fresh):
                    self._give_fresh(held, held.delivery.lanes[urgency], some)
                self._maybe_ready(mailbox, held)
        return concerned

    def _give_fresh(self, held: _Held, lane: Lane, rows: Sequence[StoredRow]) -> None:
        delivery, dispatch = held.delivery, self._links[held.link].dispatch
        if rows[0].row <= lane.position:
            missed = [row.row for row in rows if row.row <= lane.position and not delivery.given(row)]
            if missed:  # told out of order, and not read meanwhile: what follows is read again
                lane.position = missed[0] - 1
                lane.behind = True
        if lane.behind or lane.reading:
            lane.behind = True
        else:
            most, most_bytes = dispatch.room(lane.urgency), dispatch.room_bytes(lane.urgency)
            dispatch.put(delivery, delivery.give(lane, rows, most=most, most_bytes=most_bytes), lane.urgency)

    def wake(self, mailboxes: Iterable[MailboxId]) -> None:
        """Something may be stored for these: look again."""
        for mailbox in mailboxes:
            held = self._held.get(mailbox)
            if held is not None:
                for lane in held.delivery.lanes:
                    lane.behind = True
                self._maybe_ready(mailbox, held)

    # --- from edges ------------------------------------------------------------------------------------------------

    def _claim(self, link: int, message: Claim, now: float, random: RandomSource) -> list[Action]:
        owner = self._links[link]
        if message.request in owner.pending:  # [edge-34]
            raise RemoteError("a request number is used once")
        _drop_expired(owner.pending, now)
        if len(owner.pending) >= limits.PENDING_CLAIMS_PER_LINK:
            return [_not_claimed(link, message.request, ErrorCode.BUSY, "too many claims at once; try again later")]
        try:
            pending = make_challenge(message, domain=self._domain, edge=owner.edge, now=now, random=random)
        except RemoteError as error:
            return [_not_claimed(link, message.request, error.code, str(error)), Rejected(link, str(error))]
        owner.pending[message.request] = pending
        return [ToEdge(link, pending.challenge)]

    def _proof(self, link: int, message: Proof, now: float) -> list[Action]:
        pending = self._links[link].pending.pop(message.request, None)  # [edge-15]
        if pending is None:  # it expired and was dropped, or the edge made it up
            text = "no challenge is open for this proof"
            return [_not_claimed(link, message.request, ErrorCode.BAD_PROOF, text), Rejected(link, text)]
        try:
            claimed = check_proof(pending, message, now)
        except RemoteError as error:
            return [_not_claimed(link, message.request, error.code, str(error)), Rejected(link, str(error))]
        return [Register(link, message.request, claimed)]

    def _acknowledge(self, link: int, message: Acknowledge) -> list[Action]:
        mailbox = MailboxId(message.mailbox)
        held = self._held.get(mailbox)
        if held is None or held.link != link:
            if mailbox in self._links[link].former:
                return []  # it crossed the end of the claim: what it is about comes again on the next one
            return [Rejected(link, "acknowledges for a mailbox that is not claimed through it")]
        try:
            rows = held.delivery.settle(message)
        except RemoteError as error:
            # also an honest device whose claim has just been replaced; ending the new claim would punish the wrong one
            return [Rejected(link, str(error))]
        self._maybe_ready(mailbox, held)
        return [Delete(rows)]

    def _release(self, link: int, mailbox: MailboxId) -> None:
        held = self._held.get(mailbox)
        if held is not None and held.link == link:
            del self._held[mailbox]
            held.delivery.over = True
            self._links[link].drop(mailbox)

    def _replace(self, mailbox: MailboxId) -> list[Action]:
        held = self._held.pop(mailbox, None)
        if held is None:
            return []
        held.delivery.over = True
        self._links[held.link].drop(mailbox)
        return [_not_claimed(held.link, held.request, ErrorCode.REPLACED, "another connection claimed the mailbox")]

    def _maybe_ready(self, mailbox: MailboxId, held: _Held) -> None:
        if not held.queued and held.delivery.next_lane is not None:
            held.queued = True
            self._links[held.link].ready.append(mailbox)


def _by_class(rows: Sequence[StoredRow]) -> Iterator[tuple[int, Sequence[StoredRow]]]:
    """`rows` by class; mostly there is one."""
    classes = {row.urgency for row in rows}
    if len(classes) == 1:
        yield rows[0].urgency, rows
        return
    for urgency in sorted(classes):
        yield urgency, [row for row in rows if row.urgency == urgency]


def _not_claimed(link: int, request: int, code: ErrorCode, text: str) -> ToEdge:
    return ToEdge(link, NotClaimed(request=request, code=code, text=text))


def _drop_expired(pending: dict[int, PendingClaim], now: float) -> None:
    """The oldest stand first, so this looks at what it drops and one more."""
    while pending:
        request = next(iter(pending))
        if pending[request].challenge.expiry >= now:
            return
        del pending[request]
