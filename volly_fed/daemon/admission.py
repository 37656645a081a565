"""The door: how many strangers may be inside at once, for how long, and who gives way when it is crowded.

in: connections as they come, before any byte was read; out: a Stranger for each, welcome or not.
Never: waits. A connection over a bound is closed at once, so that a flood costs an accept and a close each.
"""

# A stranger is inside from accept to proof. Opening connections and keeping silent is free for him, and so is TLS with
# a key nobody knows; a claim that DNS confirms is not. So there are four rules:
#
# 1. limits.MAX_HALF_OPEN are inside, limits.MAX_HALF_OPEN_PER_ADDRESS of them from one address (IPv6: /64).
# 2. One deadline, limits.DOOR, is over all that a stranger does, whatever he does in between.
# 3. When more than half of the places are taken, who has come longest ago and has not finished TLS gives way to a
#    newcomer whose address holds fewer places than his; when all are taken, also one who has, but whose claim has
#    not been confirmed. He is left limits.DOOR_PATIENCE in any case, or those who call at the same time, after a
#    restart here, would turn each other away.
# 4. A newcomer from an address at which somebody has proved himself does not wait for that.

import enum
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from volly_fed import limits
from volly_fed.handshake import source_of


class Stage(enum.IntEnum):
    """What a stranger has shown so far."""

    CONNECTED = 0
    """That it can open a TCP connection."""
    SECURED = 1
    """That it can finish a TLS handshake, with whatever key."""
    CLAIMED = 2
    """A name whose owner publishes the key it showed."""
    PROVED = 3
    """Who it is: no stranger any more."""


@attrs.define(eq=False, kw_only=True)
class Stranger:
    """One connection. `objection` says why it is not welcome, or is not any longer."""

    source: str
    known: bool
    since: float
    scope: trio.CancelScope
    stage: Stage = Stage.CONNECTED
    objection: str = ""

    def reached(self, stage: Stage) -> None:
        """It has come so far; who has proved himself is under no deadline."""
        self.stage = stage
        if stage is Stage.PROVED:
            self.scope.deadline = float("inf")

    def turn_away(self, objection: str) -> None:
        """End the connection."""
        self.objection = objection
        self.scope.cancel()


@attrs.define(kw_only=True)
class Admission:
    """The strangers of one listener."""

    total: int = limits.MAX_HALF_OPEN
    per_address: int = limits.MAX_HALF_OPEN_PER_ADDRESS
    _inside: dict[Stranger, None] = attrs.field(factory=dict, init=False, repr=False)
    """In the order in which they came."""
    _held: Counter[str] = attrs.field(factory=Counter, init=False, repr=False)

    @contextmanager
    def stranger(self, address: str, *, known: bool = False) -> Iterator[Stranger]:
        """One connection from `address`, while the block runs; see `objection` before anything else, and after it.

        The block is cancelled where the stranger is turned away. Raises ValueError if `address` is no IP address.
        """
        now = trio.current_time()
        with trio.CancelScope(deadline=now + limits.DOOR) as scope:
            stranger = Stranger(source=source_of(address), known=known, since=now, scope=scope)
            stranger.objection = self._enter(stranger)
            try:
                yield stranger
            finally:
                self.leave(stranger)
        if scope.cancelled_caught and not stranger.objection:
            stranger.objection = f"no proof within {limits.DOOR:g} s"

    def leave(self, stranger: Stranger) -> None:
        """It is a stranger no more, or gone. Twice is once."""
        if stranger in self._inside:
            del self._inside[stranger]
            self._held[stranger.source] -= 1
            if not self._held[stranger.source]:
                del self._held[stranger.source]

    def _enter(self, newcomer: Stranger) -> str:
        if self._held[newcomer.source] >= self.per_address:
            return "too many strangers from one address"
        if len(self._inside) > self.total // 2 and (other := self._who_gives_way(newcomer)) is not None:
            self.leave(other)
            other.turn_away("gave way to another caller")
        if len(self._inside) >= self.total:
            return "too many strangers"
        self._inside[newcomer] = None
        self._held[newcomer.source] += 1
        return ""

    def _who_gives_way(self, newcomer: Stranger) -> Stranger | None:
        full = len(self._inside) >= self.total
        patience = 0.0 if newcomer.known else limits.DOOR_PATIENCE
        for stage in (Stage.CONNECTED, Stage.SECURED) if full else (Stage.CONNECTED,):
            for other in self._inside:
                if newcomer.since - other.since < patience:
                    break  # those that follow came later still
                if other.stage is stage and self._held[newcomer.source] < self._held[other.source]:
                    return other
        return None
