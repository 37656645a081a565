"""How often somebody may do something: token buckets, one for each key, in bounded memory.

in: keys, time; out: how much is left, and how long until there is more.
Never: reads a clock, or remembers a key whose bucket is full again: that is the same as knowing nothing of it.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

K = TypeVar("K", bound=Hashable)


@attrs.define(kw_only=True)
class Rates(Generic[K]):
    """`burst` at once and `per_second` in the long run, for every key; the `size` keys that were seen last."""

    burst: float
    per_second: float
    size: int
    _spent: OrderedDict[K, tuple[float, float]] = attrs.field(factory=OrderedDict, init=False, repr=False)
    """Key -> what its bucket held, and when."""

    def level(self, key: K, now: float) -> float:
        """What `key` may take now."""
        left, at = self._spent.get(key, (self.burst, now))
        return min(self.burst, left + (now - at) * self.per_second)

    def wait(self, key: K, now: float) -> float:
        """Seconds until `key` may take one; 0.0 if it may now."""
        return max(0.0, 1 - self.level(key, now)) / self.per_second

    def take(self, key: K, now: float) -> bool:
        """Take one, if there is one."""
        left = self.level(key, now)
        if left < 1:
            return False
        self._spent[key] = (left - 1, now)
        self._spent.move_to_end(key)
        while len(self._spent) > self.size or self._is_full(next(iter(self._spent)), now):
            self._spent.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._spent)

    def _is_full(self, key: K, now: float) -> bool:
        return self.level(key, now) >= self.burst
