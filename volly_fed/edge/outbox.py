"""Messages that wait for one device's slow socket: bounded in number and in bytes, each and all together.

in: messages for the device; out: the same, encoded, in order, as few as hold them: what waits in several DELIVERs or
SUBMITTEDs leaves in one. Never: drops one that it took.
"""

from collections import deque

import attrs

from volly_fed import limits
from volly_fed.wire.messages import Deliver, Message, Submitted, encode_message


@attrs.define
class Pool:
    """The bytes that wait for all devices of one edge node."""

    most: int = limits.EDGE_DEVICE_BYTES
    used: int = 0


@attrs.define
class Outbox:
    """Filled by whoever routes, emptied by the connection's one writer."""

    pool: Pool = attrs.field(factory=Pool)
    max_messages: int = limits.DEVICE_QUEUE
    max_bytes: int = limits.DEVICE_QUEUE_BYTES
    _waiting: deque[Message] = attrs.field(factory=deque, repr=False, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, message: Message) -> bool:
        """Take one message. False, and nothing taken, when the box is full: then the connection is to be closed.

        When all boxes together are full, so is each that is not empty: its device is slower than it is sent to.
        """
        size = _size(message)
        own, pool = self._bytes + size, self.pool
        if own > self.max_bytes or (self._waiting and pool.used + size > pool.most):
            return False
        if not self._merge(message):
            if len(self._waiting) >= self.max_messages:
                return False
            self._waiting.append(message)
        self._bytes = own
        pool.used += size
        return True

    def next(self) -> bytes | None:
        """What waits longest, encoded; None: nothing waits."""
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        size = _size(message)
        self._bytes -= size
        self.pool.used -= size
        return encode_message(message)

    def clear(self) -> None:
        """Forget what waits: the connection ends."""
        self._waiting.clear()
        self.pool.used -= self._bytes
        self._bytes = 0

    def _merge(self, message: Message) -> bool:
        """Whether what waits last could take `message` in."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(message, Deliver) and isinstance(last, Deliver):
            envelopes = last.envelopes + message.envelopes
            if len(envelopes) > limits.BATCH_ENVELOPES or sum(map(len, envelopes)) > limits.BATCH_BYTES:
                return False
            self._waiting[-1] = Deliver(envelopes=envelopes)
            return True
        if isinstance(message, Submitted) and isinstance(last, Submitted):
            accepted, refused = last.accepted + message.accepted, last.refused + message.refused
            if len(accepted) > limits.ACK_IDS or len(refused) > limits.REFUSALS_PER_ACK:
                return False
            self._waiting[-1] = Submitted(accepted=accepted, refused=refused)
            return True
        return False


def _size(message: Message) -> int:
    """What it holds of memory, nearly; encoding is for the writer, who knows what became one."""
    if isinstance(message, Deliver):
        return sum(map(len, message.envelopes))
    if isinstance(message, Submitted):
        return 16 * len(message.accepted) + limits.MAX_TEXT * len(message.refused)
    return limits.SMALL_MESSAGE
