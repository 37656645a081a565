"""What is known of one peer while this process runs: its stream, its link, and the events its tasks wait for.

in: changes, from whichever task makes them; out: waits that end when there is something to do.
Never: touches a socket or the disk.
"""

import math
import os
from collections.abc import Iterator, Sequence

import trio

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, TrustLevel
from volly_fed.daemon.backoff import Standing
from volly_fed.daemon.link import Link
from volly_fed.daemon.ration import Ration
from volly_fed.daemon.store.store import OutboundRow, StoredEnvelope
from volly_fed.daemon.underway import Underway
from volly_fed.names import DomainName, Fingerprint
from volly_fed.relay.envelope import parse_envelope
from volly_fed.relay.queue import Backlog
from volly_fed.router import may_leave
from volly_fed.session import Outbound


class Peer:
    """One per domain that we have had to do with. Rows of the store are the keys of its stream."""

    def __init__(self, domain: DomainName, ration: Ration) -> None:
        self.domain = domain
        self.ration = ration
        self.outbound: Outbound[int] = Outbound(os.urandom)
        self.backlogs = tuple(Backlog() for _ in EnvelopeClass)
        """By class: the most urgent has its turn first, from the disk too."""
        self.link: Link[int] | None = None
        self.level = TrustLevel.NONE
        self.held_since: float | None = None
        """Unix seconds: by the operator; nothing is sent since then."""
        self._barred = False
        """By its level."""
        self._cutting = False
        """Its queue is being cut: nothing may get under way meanwhile."""
        self._cut: set[int] = set()
        """Rows that were deleted while the disk was being read: what that brings of them is not sent."""
        self.dialled_by_us = False
        self.identity: Fingerprint | None = None
        """What the link was proved with."""
        self.group = ""
        """The key exchange that the link was made with."""
        self.records_until: float | None = None
        """Unix seconds: when the records run out that the link's keys were compared with."""
        self.renew_at = math.inf
        """When a new link is to take the place of this one."""
        self.renewing = False
        """That one is being dialled."""
        self.standing = Standing(domain)
        """How attempts to reach it went."""
        self.trouble_since: float | None = None
        """Since when it is not linked for a reason that `standing` names; trio's clock."""
        self.underway = Underway()
        self.dialling = False
        self.hurried = False
        """The back-off need not be waited for."""
        self.wanted = trio.Event()
        self._link_changed = trio.Event()
        self._renewal_changed = trio.Event()
        self._room = trio.Event()
        self._settled: list[int] = []
        self.deleting = 0
        """Rows that are settled and still on the disk, as far as this process has settled them."""
        self._to_settle = trio.Event()
        self._later: list[tuple[int, bytes]] = []
        self._to_repeat = trio.Event()

    @property
    def unsettled(self) -> int:
        """Envelopes in memory that the peer has not settled."""
        return self.outbound.waiting + self.outbound.in_flight + len(self._later)

    @property
    def state(self) -> str:
        """In one word, for people."""
        if self.link is not None:
            return "linked"
        return "dialling" if self.dialling else "waiting" if self.unsettled or self.standing.failures else "idle"

    @property
    def idle(self) -> bool:
        """Nothing in memory that is wanted by anybody."""
        return self.link is None and not self.unsettled and not self.deleting and not self.held

    @property
    def held(self) -> bool:
        """Whether the operator wants nothing to be sent to it."""
        return self.held_since is not None

    def room(self, urgency: EnvelopeClass) -> int:
        """How many envelopes may be offered now; none while the peer has no room: they stay on the disk."""
        return 0 if self._later else self.outbound.room(urgency)

    def stored(self, keys: range, rows: list[OutboundRow]) -> None:
        """`rows` are on their way to the disk: offer what the stream has room for, the rest is read when it has."""
        self.underway.begin(keys, rows, trio.current_time())
        for urgency, some_keys, some_rows in _by_class(keys, rows):
            count = self.backlogs[urgency].stored(some_keys, self.room(urgency))
            frames = [row.frame for row in some_rows[:count]]
            self.outbound.offer([*zip(some_keys[:count], frames, strict=True)], urgency)

    def next_read(self) -> tuple[EnvelopeClass, int, int] | None:
        """What to read from the disk next: the class, after which row, and how many; None: nothing."""
        enough = 1 if self.outbound.waiting < limits.WINDOW_ENVELOPES else limits.READ_BACK
        for urgency in EnvelopeClass:
            room = self.room(urgency)
            after = self.backlogs[urgency].next_read(room) if room >= enough else None
            if after is not None:
                return urgency, after, room
        return None

    def more_work(self) -> None:
        """The stream or the disk holds more to send."""
        self.wanted.set()
        self._tell_room()
        self.wake()

    def wake(self) -> None:
        """The stream holds more for the link, if there is one."""
        if self.link is not None:
            self.link.wake()

    def judged(self, level: TrustLevel) -> None:
        """This is its level now, on every link there is: what may not leave stays queued, what may is sent."""
        self.level = level
        self._barred = not may_leave(self.domain, level)  # [router-5]
        self._hold()

    def changed(self) -> None:
        """A link came about or ended; a read for a former one may have been cut off, so look at the disk again."""
        if self.link is not None:
            self.trouble_since = None
        elif self.unsettled and not self.held:
            self.wanted.set()
        self._room.set()
        self._link_changed.set()
        self._link_changed = trio.Event()

    def note_trouble(self, cause: str, reason: str) -> None:
        """A link broke, or did not come about."""
        self.standing.note_error(cause, reason)
        if self.link is None and self.trouble_since is None:
            self.trouble_since = trio.current_time()

    async def wait_wanted(self) -> None:
        """Until there is something to send and no link."""
        while True:
            await self.wanted.wait()
            if self.link is None:
                self.wanted = trio.Event()
                return
            await self._link_changed.wait()

    def hurry(self) -> None:
        """What the last attempts failed for is settled: the next one is due now."""
        self.hurried = True
        self._link_changed.set()
        self._link_changed = trio.Event()

    async def wait_linked(self) -> None:
        """Until there is a link, or a reason to try at once."""
        while self.link is None and not self.hurried:
            await self._link_changed.wait()
        self.hurried = False

    def renew(self, at: float) -> None:
        """Have a new link in the place of this one at `at`, or before that if it is due anyway."""
        self.renew_at = min(at, self.renew_at)
        self._renewal_changed.set()
        self._renewal_changed = trio.Event()

    def may_be_replaced(self, link: Link[int]) -> float:
        """From when on `link` gives way to one that we dial: where the peer dialled it, the two must not count as one.

        Both ends saw it come about at slightly different times, hence twice the time.
        """
        return max(trio.current_time(), link.since + (0 if self.dialled_by_us else 2 * limits.SIMULTANEOUS_DIAL))

    async def wait_renewal(self) -> None:
        """Until a new link is due."""
        while self.renew_at > trio.current_time():
            with trio.move_on_at(self.renew_at):
                await self._renewal_changed.wait()
        self.renew_at = math.inf

    async def wait_renewed(self) -> None:
        """Until a new link that is being dialled has come about, or has not."""
        while self.link is None and self.renewing:
            await self._link_changed.wait()

    async def wait_room(self) -> None:
        """Until the stream may have room for more, or the disk holds more."""
        await self._room.wait()
        self._room = trio.Event()

    def settled(self, rows: list[int]) -> None:
        """The peer is done with `rows`, which are to be deleted."""
        self.deleting += len(rows)
        self._tell_room()

    def settle(self, rows: list[int]) -> None:
        """See to `rows` later: the disk had no room to delete them, or a back-off is to be ended too."""
        self._settled += rows
        self._to_settle.set()

    def _tell_room(self) -> None:
        if any(backlog.to_read for backlog in self.backlogs):
            self._room.set()

    def deleted(self, count: int) -> None:
        """So many settled rows are off the disk."""
        self.deleting -= count

    async def take_settled(self) -> list[int]:
        """All rows that are to be seen to; waits until there are some."""
        await self._to_settle.wait()
        self._to_settle = trio.Event()
        rows, self._settled = self._settled, []
        return rows

    def later(self, items: list[tuple[int, bytes]]) -> None:
        """The peer had no room for these."""
        self._later += items
        self._to_repeat.set()

    async def wait_later(self) -> None:
        """Until there is something to be offered again."""
        await self._to_repeat.wait()
        self._to_repeat = trio.Event()

    def expired(self, rows: set[int]) -> None:
        """`rows`, of whichever peer, have expired: those that were not sent yet need not be."""
        self.outbound.discard(rows)
        self.underway.forget(rows)
        self._later = [item for item in self._later if item[0] not in rows]

    def read(self, urgency: EnvelopeClass, rows: Sequence[StoredEnvelope]) -> None:
        """`rows` came from the disk, as `next_read` had it: offer them."""
        self.backlogs[urgency].read(rows[-1].row if rows else None)
        self.underway.found([row.row for row in rows], urgency)
        self.outbound.offer([(row.row, row.frame) for row in rows if row.row not in self._cut], urgency)
        if self._cut and not any(backlog.reading for backlog in self.backlogs):
            self._cut.clear()
        self.wake()

    def offer_later(self) -> None:
        """Offer again what the peer had no room for, each in its class and before what is younger."""
        items, self._later = sorted(self._later), []
        for urgency in EnvelopeClass:
            self.outbound.put_back([item for item in items if parse_envelope(item[1]).urgency is urgency], urgency)
        self.more_work()

    # --- for the operator ------------------------------------------------------------------------------------------

    def hold(self, since: float | None) -> None:
        """Send nothing from now on, to whichever link; None: go on."""
        self.held_since = since
        self._hold()

    def begin_cut(self) -> set[int]:
        """The queue is about to be cut: nothing more gets under way. The rows that are, which the peer may have.

        Without a link they can be cut too: the stream that numbered them is given up, and what is left begins anew on
        a fresh one, read from the disk, as after a restart. What the peer has of it, it knows by its ids.
        """
        under_way = self.outbound.under_way
        self._cutting = True
        if self.link is None:
            self.outbound, self._later = Outbound(os.urandom), []
            self.backlogs = tuple(Backlog() for _ in EnvelopeClass)
        self._hold()
        return under_way

    def end_cut(self, rows: set[int]) -> None:
        """`rows`, none of them under way on a link, are off the disk."""
        self.expired(rows)
        if any(backlog.reading for backlog in self.backlogs):
            self._cut |= rows
        self._cutting = False
        self._hold()

    def _hold(self) -> None:
        self.outbound.hold(self.held or self._barred or self._cutting)
        self._tell_room()
        self.wake()


def _by_class(keys: range, rows: list[OutboundRow]) -> Iterator[tuple[EnvelopeClass, Sequence[int], list[OutboundRow]]]:
    """`rows` and their keys, by class; mostly there is one."""
    classes = sorted({row.urgency for row in rows})
    if len(classes) == 1:
        yield EnvelopeClass(classes[0]), keys, rows
        return
    for urgency in classes:
        at = [n for n, row in enumerate(rows) if row.urgency == urgency]
        yield EnvelopeClass(urgency), [keys[n] for n in at], [rows[n] for n in at]
