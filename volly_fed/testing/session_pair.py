"""Two sessions and the link between them, in memory, one step at a time; the link can be cut between any two messages.

in: envelopes offered on either side, and steps: write, deliver, commit, fail, cut, connect, restart.
out: what each side's disk holds. A side's disk here is a Python dict: what is in it survives `restart`, the rest not.
Never: loses or reorders messages on a link that is not cut; that is TCP's part.
"""

from collections import deque
from collections.abc import Callable

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.machine import RandomSource
from volly_fed.session import (
    Acknowledge,
    Event,
    Finished,
    Grant,
    Next,
    Outbound,
    Received,
    Session,
    Settled,
    StreamOpened,
)
from volly_fed.wire.messages import Refusal

Judge = Callable[[int, bytes], Refusal | None]
"""(sequence number, envelope) -> why it is not taken, or None."""


def take_all(sequence: int, envelope: bytes) -> Refusal | None:  # noqa: ARG001 # it is a Judge
    """Refuse nothing."""
    return None


class SessionNode:
    """One side: its disk, its process and its session on the present link."""

    def __init__(self, random: RandomSource, judge: Judge = take_all) -> None:
        self._random = random
        self._judge = judge
        self.owed: dict[int, tuple[bytes, EnvelopeClass]] = {}
        """Disk: what was accepted for the other side and is not settled."""
        self.inbox: list[bytes] = []
        """Disk: what came in, without duplicates."""
        self.duplicates = 0
        self._streams: dict[bytes, tuple[int, dict[int, Refusal]]] = {}  # cursor and refusals of the last window
        self._keys = 0
        self.refused: list[int] = []
        self.events: list[Event[int]] = []
        self._uncommitted: deque[tuple[Session[int], Received]] = deque()
        self.session: Session[int] | None = None
        self.outbound: Outbound[int] = Outbound(random)

    def offer(self, envelope: bytes, urgency: EnvelopeClass = EnvelopeClass.SIGNAL) -> int:
        """Write `envelope` to the disk and offer it to the stream; its key."""
        self._keys += 1
        self.owed[self._keys] = (envelope, urgency)
        self.outbound.offer([(self._keys, envelope)], urgency)
        return self._keys

    def restart(self) -> None:
        """The process dies and starts again with what is on its disk."""
        self.session = None
        self._uncommitted.clear()
        self.outbound = Outbound(self._random)
        for key, (envelope, urgency) in self.owed.items():
            self.outbound.offer([(key, envelope)], urgency)

    def lose_cursors(self) -> None:
        """The disk forgets how far the other side's streams have come, as an edge does that keeps nothing."""
        self._streams.clear()

    def handle_events(self) -> None:
        """Do what a daemon does, but for committing, which is a step of its own."""
        if self.session is None:
            return
        for event in self.session.events():
            self.events.append(event)
            if isinstance(event, StreamOpened):
                cursor, refused = self._streams.get(event.stream, (0, {}))
                refusals = tuple(refused.values())
                self.session.send(Acknowledge(stream=event.stream, cursor=cursor, refusals=refusals))
            elif isinstance(event, Received):
                self._uncommitted.append((self.session, event))
            elif isinstance(event, Settled):
                self._settle(event)

    def _settle(self, event: Settled[int]) -> None:
        for key in event.keys:
            del self.owed[key]
        self.refused += [key for key, _, _ in event.refused]
        for key, envelope in reversed(event.later):
            self.outbound.put_back([(key, envelope)], self.owed[key][1])

    def fail(self) -> bool:
        """The disk has no room for a batch, and the link it came on ends; whether there was one."""
        if not self._uncommitted:
            return False
        session, _ = self._uncommitted.popleft()
        if session is self.session:
            self.session = None
        return True

    def commit(self) -> bool:
        """One batch reaches the disk and is acknowledged; whether there was one."""
        if not self._uncommitted:
            return False
        session, batch = self._uncommitted.popleft()
        if self._streams.get(batch.stream, (0, {}))[0] < batch.first - 1:
            return True  # the one before it was not stored; its link is over
        decided = range(batch.first, batch.last + 1)
        refusals = []
        for sequence, envelope in enumerate(batch.envelopes, batch.first):
            refusal = self._judge(sequence, envelope)
            if refusal is not None:
                refusals.append(refusal)
            elif envelope in self.inbox:
                self.duplicates += 1
            else:
                self.inbox.append(envelope)
        cursor, refused = self._streams.get(batch.stream, (0, {}))
        reached = max(batch.last, cursor)
        kept = {n: r for n, r in refused.items() if n > reached - limits.WINDOW_ENVELOPES and n not in decided}
        self._streams[batch.stream] = (reached, kept | {refusal[0]: refusal for refusal in refusals})
        session.send(Acknowledge(stream=batch.stream, cursor=batch.last, refusals=tuple(refusals)))
        self.handle_events()
        return True


class SessionPair:
    """Two nodes and a link. `a` and `b` are the nodes; side 0 is `a`."""

    def __init__(self, random: RandomSource, *, judge: Judge = take_all) -> None:
        self.nodes = (SessionNode(random, judge), SessionNode(random, judge))
        self._links: tuple[deque[bytes], deque[bytes]] = (deque(), deque())  # [n]: on the way from side n
        self.now = 0.0
        self.carried = 0
        """Messages delivered so far."""

    @property
    def connected(self) -> bool:
        """Whether there is a link."""
        return self.nodes[0].session is not None

    def grant(self, side: int, window: int, window_bytes: int) -> None:
        """`side` lets the other one have so much in flight."""
        session = self.nodes[side].session
        if session is not None:
            session.send(Grant(window=window, window_bytes=window_bytes))

    def connect(self) -> None:
        """A new link, and a new session at each end."""
        for node in self.nodes:
            node.session = Session(node.outbound, now=self.now)

    def cut(self) -> None:
        """The link breaks: what is on the way is lost. What the disks are busy with they finish."""
        for link, node in zip(self._links, self.nodes, strict=True):
            link.clear()
            node.session = None

    def restart(self, side: int) -> None:
        """One side's process dies; the link with it."""
        self.cut()
        self.nodes[side].restart()

    def write(self, side: int) -> bool:
        """One message leaves `side`; whether one wanted to."""
        session = self.nodes[side].session
        data = session.send(Next()) if session is not None else b""
        if data:
            self._links[side].append(data)
        self.nodes[side].handle_events()
        return bool(data)

    def deliver(self, side: int) -> bool:
        """One message that `side` sent arrives; whether one was on the way."""
        other = self.nodes[1 - side]
        if not self._links[side] or other.session is None:
            return False
        other.session.receive(self._links[side].popleft(), self.now)
        self.carried += 1
        other.handle_events()
        return True

    def commit(self, side: int) -> bool:
        """One batch reaches the disk of `side`; whether one was waiting."""
        return self.nodes[side].commit()

    def fail(self, side: int) -> None:
        """The disk of `side` has no room for a batch; then the link is over."""
        if self.nodes[side].fail():
            self.cut()

    def settle_down(self) -> None:
        """Every step, again and again, until nothing happens any more."""
        steps = (self.write, self.deliver, self.commit)
        for _ in range(2):  # what is held back for a while leaves in the second round
            while sum(step(side) for step in steps for side in (0, 1)):
                self.pass_time()

    def pass_time(self, seconds: float = limits.ACK_PACE) -> None:
        """The clocks of both sides go on."""
        self.now += seconds
        for node in self.nodes:
            if node.session is not None:
                node.session.tick(self.now)
                node.handle_events()

    @property
    def finished(self) -> bool:
        """Whether both sides have said that the link may be closed, with all acknowledged."""
        return all(Finished(complete=True) in node.events for node in self.nodes)
