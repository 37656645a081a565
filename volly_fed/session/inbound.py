"""The peer's stream to us: which sequence number is due, what is not acknowledged yet, and the next acknowledgement.

in: OPEN, BATCH, and what the daemon says is durable; out: new envelopes, ACK.
Never: hands out an envelope twice on one link, accepts a gap, or acknowledges what it was not told to.
"""

import math
from collections import deque

from volly_fed import limits
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.session.events import Acknowledge, Grant, Received
from volly_fed.session.state import RECEIVING, Receiving
from volly_fed.wire.messages import Ack, Batch, Close, Open, Refusal

_SLACK_BYTES = limits.BATCH_BYTES
"""A batch of which a part was acknowledged counts here as a whole, and there as the part; and one envelope may be
larger than the window."""


class Inbound:
    """The receiving half of a session, on one link."""

    def __init__(self, now: float) -> None:
        self.state = Receiving.SILENT
        self._grant = self._granted = Grant()  # what holds from now on, and what the peer was told
        self._next_ack = now  # when the next acknowledgement may leave without haste
        self._hurried = False
        self._asked = False  # the peer waits for the stored cursor
        self._owing = False  # an ACK is due even if it brings nothing new: it answers OPEN
        self._begin(b"")

    def _begin(self, stream: bytes) -> None:
        """Nothing of `stream` has come."""
        self.stream = stream
        self._received = 0  # the highest sequence number that came in
        self._unacknowledged: deque[tuple[int, int]] = deque()  # (last sequence number, bytes) of each batch
        self._unacknowledged_bytes = 0
        self._most = self._most_bytes = 0  # the highest sequence number, and the bytes in all, ever granted here
        self._bytes = 0  # that came in
        self._durable = 0  # what the daemon has acknowledged
        self._told = 0  # what the peer was told of it
        self._refusals: list[Refusal] = []

    @property
    def settled(self) -> bool:
        """Whether everything that came in was acknowledged, on the wire too."""
        return self._told == self._received and not self._owing and not self._asked

    def open(self, message: Open) -> None:
        """The peer names its stream, or changes to a fresh one. Raises RemoteError: again, or at the wrong moment."""
        self.state = RECEIVING.after(self.state, Open, remote=True)
        if message.stream == self.stream:
            raise RemoteError("a stream is opened once per link")  # [session-10]
        self._begin(message.stream)
        self._asked = True

    def batch(self, message: Batch) -> Received | None:
        """What of `message` is new; None: all of it came before. Raises RemoteError: a gap, or beyond the window."""
        self.state = RECEIVING.after(self.state, Batch, remote=True)
        if message.stream != self.stream:
            raise RemoteError("a batch of a stream that is not the open one")
        if not message.envelopes or not message.first:
            raise BadMessage("a batch has envelopes, and sequence numbers begin at 1")  # [session-13]
        known = self._received + 1 - message.first
        if known < 0:
            raise RemoteError(f"a gap: {self._received + 1} is due, not {message.first}")  # [session-11]
        envelopes = message.envelopes[known:] if known else message.envelopes  # [session-12]
        if not envelopes:
            return None
        first = self._received + 1
        self._received += len(envelopes)
        self._unacknowledged.append((self._received, sum(map(len, envelopes))))
        self._unacknowledged_bytes += self._unacknowledged[-1][1]
        self._bytes += self._unacknowledged[-1][1]
        if self._received > self._most or self._bytes > self._most_bytes + _SLACK_BYTES:  # [session-26]
            raise RemoteError("more in flight than the window allows")
        return Received(stream=self.stream, first=first, envelopes=envelopes)

    def close(self) -> None:
        """The peer sends no more batches. Raises RemoteError: it has said so before."""
        self.state = RECEIVING.after(self.state, Close, remote=True)

    def acknowledge(self, command: Acknowledge) -> None:
        """Note that the daemon has settled up to the cursor; `next_ack` tells the peer.

        A stream that was given up since is not an error; nor is a cursor below the last one.
        Raises LocalProtocolError: a cursor beyond what came in, or a refusal outside of what it settles.
        """
        if command.stream != self.stream:
            return
        self.state = RECEIVING.after(self.state, Acknowledge, remote=False)
        if self._asked:
            before = max(0, command.cursor - limits.WINDOW_ENVELOPES)
            self._asked = False
            self._received = self._told = command.cursor
            self._owing = True
        elif command.cursor <= self._durable:
            return
        else:
            before = self._durable
        if command.cursor > self._received:
            raise LocalProtocolError(f"acknowledging {command.cursor}, where {self._received} came in")
        if any(not before < sequence <= command.cursor for sequence, _, _ in command.refusals):
            raise LocalProtocolError("a refusal outside of what is acknowledged")
        self._refusals.extend(command.refusals)
        self._durable = command.cursor

    def grant(self, command: Grant) -> None:
        """Change the window; the peer is told, also where nothing new is settled."""
        self._grant = Grant(
            window=min(command.window, limits.WINDOW_ENVELOPES),
            window_bytes=min(command.window_bytes, limits.WINDOW_BYTES),
        )
        if self.state is Receiving.STREAMING and self._grant != self._granted:  # [session-27]
            self._owing = True

    def hurry(self) -> None:
        """The link is about to end: hold nothing back any more."""
        self._hurried = True

    @property
    def ack_at(self) -> float:
        """When an acknowledgement that is held back wants to leave; infinite: none is."""
        return math.inf if self._durable == self._told or self._pressing else self._next_ack

    @property
    def may_acknowledge(self) -> bool:
        """Whether an acknowledgement is due, or held back."""
        return self._owing or self._durable != self._told

    def _allow(self) -> None:
        """What the peer may send from where it stands; what it was allowed before it may still."""
        self._most = max(self._most, self._told + self._grant.window)
        self._most_bytes = max(self._most_bytes, self._bytes - self._unacknowledged_bytes + self._grant.window_bytes)

    @property
    def _pressing(self) -> bool:
        """The peer waits for an answer, may soon have to wait for room, or sends nothing more."""
        return (
            self._owing
            or self._hurried
            or self.state is Receiving.CLOSED
            or 2 * (self._received - self._told) >= self._granted.window
            or 2 * self._unacknowledged_bytes >= self._granted.window_bytes
        )

    def next_ack(self, now: float) -> Ack | None:
        """The acknowledgement that is due; None: nothing is. The window sees to it that one holds all refusals.

        The first after a pause is due at once; what follows is held back for limits.ACK_PACE, and becomes one.
        """
        if not self._owing and (self._durable == self._told or not (self._pressing or now >= self._next_ack)):
            return None
        self._next_ack = now + limits.ACK_PACE  # [session-23]
        refusals, self._refusals = tuple(self._refusals), []
        self._told, self._owing = self._durable, False
        while self._unacknowledged and self._unacknowledged[0][0] <= self._told:
            self._unacknowledged_bytes -= self._unacknowledged.popleft()[1]
        self._granted = self._grant
        self._allow()
        return Ack(
            stream=self.stream,
            cursor=self._told,
            refusals=refusals,
            window=self._granted.window,
            window_bytes=self._granted.window_bytes,
        )
