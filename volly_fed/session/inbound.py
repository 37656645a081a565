"""The peer's stream to us: which sequence number is due, what is not acknowledged yet, and the next acknowledgement.

in: OPEN, BATCH, and what the daemon says is durable; out: new envelopes, ACK.
Never: hands out an envelope twice on one link, accepts a gap, or acknowledges what it was not told to.
"""

from collections import deque

from volly_fed import limits
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.session.events import Acknowledge, Received
from volly_fed.session.state import RECEIVING, Receiving
from volly_fed.wire.messages import Ack, Batch, Close, Open, Refusal

_SLACK_BYTES = limits.BATCH_BYTES
"""A batch of which a part was acknowledged counts here as a whole, and there as the part."""


class Inbound:
    """The receiving half of a session, on one link."""

    def __init__(self) -> None:
        self.state = Receiving.SILENT
        self.stream = b""
        self._received = 0  # the highest sequence number that came in
        self._unacknowledged: deque[tuple[int, int]] = deque()  # (last sequence number, bytes) of each batch
        self._unacknowledged_bytes = 0
        self._durable = 0  # what the daemon has acknowledged
        self._told = 0  # what the peer was told of it
        self._asked = False  # the peer waits for the stored cursor
        self._owing = False  # an ACK is due even if it brings nothing new: it answers OPEN
        self._refusals: list[Refusal] = []

    @property
    def settled(self) -> bool:
        """Whether everything that came in was acknowledged, on the wire too."""
        return self._told == self._received and not self._owing and not self._asked

    def open(self, message: Open) -> None:
        """The peer names its stream, or changes to a fresh one. Raises RemoteError: again, or at the wrong moment."""
        self.state = RECEIVING.after(self.state, Open, remote=True)
        if message.stream == self.stream:
            raise RemoteError("a stream is opened once per link")
        self.stream = message.stream
        self._asked = True
        self._refusals.clear()
        self._unacknowledged.clear()
        self._unacknowledged_bytes = self._received = self._durable = self._told = 0

    def batch(self, message: Batch) -> Received | None:
        """What of `message` is new; None: all of it came before. Raises RemoteError: a gap, or beyond the window."""
        self.state = RECEIVING.after(self.state, Batch, remote=True)
        if message.stream != self.stream:
            raise RemoteError("a batch of a stream that is not the open one")
        if not message.envelopes or not message.first:
            raise BadMessage("a batch has envelopes, and sequence numbers begin at 1")
        known = self._received + 1 - message.first
        if known < 0:
            raise RemoteError(f"a gap: {self._received + 1} is due, not {message.first}")
        envelopes = message.envelopes[known:] if known else message.envelopes
        if not envelopes:
            return None
        first = self._received + 1
        self._received += len(envelopes)
        self._unacknowledged.append((self._received, sum(map(len, envelopes))))
        self._unacknowledged_bytes += self._unacknowledged[-1][1]
        if (
            self._received - self._told > limits.WINDOW_ENVELOPES
            or self._unacknowledged_bytes > limits.WINDOW_BYTES + _SLACK_BYTES
        ):
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

    def next_ack(self) -> Ack | None:
        """The acknowledgement that is due; None: nothing is. The window sees to it that one holds all refusals."""
        if self._durable == self._told and not self._owing:
            return None
        refusals, self._refusals = tuple(self._refusals), []
        self._told, self._owing = self._durable, False
        while self._unacknowledged and self._unacknowledged[0][0] <= self._told:
            self._unacknowledged_bytes -= self._unacknowledged.popleft()[1]
        return Ack(stream=self.stream, cursor=self._told, refusals=refusals)
