"""Messages that wait for one slow socket: bounded in number and in bytes.

in: encoded messages; out: the same, in order, all at once. Never: drops one that it took.
"""

from collections import deque

import attrs

from volly_fed import limits


@attrs.define
class Outbox:
    """Filled by whoever routes, emptied by the connection's one writer."""

    max_messages: int = limits.DEVICE_QUEUE
    max_bytes: int = limits.DEVICE_QUEUE_BYTES
    _waiting: deque[bytes] = attrs.field(factory=deque, repr=False, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, data: bytes) -> bool:
        """Take one message. False, and nothing taken, when the box is full: then the connection is to be closed."""
        if len(self._waiting) >= self.max_messages or self._bytes + len(data) > self.max_bytes:
            return False
        self._waiting.append(data)
        self._bytes += len(data)
        return True

    def take(self) -> list[bytes]:
        """Everything that waits, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return taken
