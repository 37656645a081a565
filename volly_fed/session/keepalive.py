"""Whether the other end is still there: a ping after silence, and an end to waiting for the pong.

in: every sign of the peer, and time; out: PING when one is due, and the verdict.
"""

from volly_fed import limits
from volly_fed.errors import RemoteError
from volly_fed.wire.messages import Ping, Pong


class Keepalive:
    """One link's silence. `now` is on the machine's clock."""

    def __init__(self, now: float) -> None:
        self._heard = now
        self._asked: float | None = None
        self._token = 0

    @property
    def deadline(self) -> float:
        """When the silence will have lasted too long, for the next step."""
        if self._asked is None:
            return self._heard + limits.PING_AFTER
        return self._asked + limits.PONG_WITHIN

    @property
    def last_heard(self) -> float:
        """When the last sign of life came."""
        return self._heard

    def heard(self, now: float) -> None:
        """Any message is a sign of life."""
        self._heard, self._asked = now, None

    def pong(self, message: Pong) -> None:
        """Raises RemoteError for the answer to a question never asked; a late answer is not an error."""
        if not 1 <= message.token <= self._token:
            raise RemoteError("a pong that answers no ping")  # [session-31]

    def silence(self, now: float) -> float:
        """Seconds since the last sign."""
        return now - self._heard

    def dead(self, now: float) -> bool:
        """Whether a ping has remained without answer for too long."""
        return self._asked is not None and now >= self.deadline

    def next_ping(self, now: float) -> Ping | None:
        """The ping that is due, if one is."""
        if self._asked is not None or now < self.deadline:
            return None
        self._asked = now
        self._token += 1  # [session-28]
        return Ping(token=self._token)
