"""When a silent connection is asked whether it is alive, and when it is given up.

in: when something was heard, `now`; out: a deadline and a verdict. Source: limits.PING_AFTER, limits.PONG_WITHIN.
"""

import enum

import attrs

from volly_fed import limits


class Verdict(enum.Enum):
    """What the silence means."""

    FINE = "heard lately, or asked and still waiting"
    ASK = "silent for a while: send PING"
    DEAD = "did not answer: close"


@attrs.define
class Keepalive:
    """`heard` is when the last message came."""

    heard: float
    asked: float | None = None

    @property
    def deadline(self) -> float:
        """When `tick` has something to say at the latest."""
        return self.heard + limits.PING_AFTER if self.asked is None else self.asked + limits.PONG_WITHIN

    def hear(self, now: float) -> None:
        """A message came."""
        self.heard, self.asked = now, None

    def tick(self, now: float) -> Verdict:
        """What is to be done at `now`; ASK is said once for one silence."""
        if now < self.deadline:
            return Verdict.FINE
        if self.asked is not None:
            return Verdict.DEAD
        self.asked = now
        return Verdict.ASK
