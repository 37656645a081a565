"""How much one peer may hand over per second: two token buckets, envelopes and bytes.

in: what came, and time; out: how long to wait before more may come. A bucket holds what flows in within a second.
Never: refuses what was granted: it is taken, and paid for by waiting.
"""

from volly_fed import limits


class RateLimit:
    """One peer's buckets. `now` is on the caller's clock."""

    def __init__(self, envelopes: float, size: float, now: float) -> None:
        """So many envelopes, and bytes, per second."""
        self._rates = (envelopes, size)
        self._left = [envelopes, size]
        self._at = now

    @property
    def window(self) -> int:
        """Envelopes to grant at once, at most: a second's worth."""
        return max(1, min(limits.WINDOW_ENVELOPES, int(self._rates[0])))

    @property
    def window_bytes(self) -> int:
        """The same in bytes."""
        return max(1, min(limits.WINDOW_BYTES, int(self._rates[1])))

    def take(self, envelopes: int, size: int, now: float) -> float:
        """So much has come; `wait`, afterwards."""
        wait = self.wait(now)
        self._left[0] -= envelopes
        self._left[1] -= size
        return max(wait, self.wait(now))

    def wait(self, now: float) -> float:
        """Seconds until more may come; 0: now."""
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        self._left = [min(rate, left + rate * passed) for rate, left in zip(self._rates, self._left, strict=True)]
        return max(0.0, *(-left / rate for rate, left in zip(self._rates, self._left, strict=True)))
