"""The door: how many strangers may be inside at once, in all and per address.

in: connections as they come, before any byte was read; out: whether to go on.
Never: waits. A connection over a bound is closed at once, so that a flood costs an accept and a close each.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from volly_fed import limits
from volly_fed.handshake import source_of


@attrs.define(kw_only=True)
class Admission:
    """Connections of one listener that have not proved who they are."""

    total: int = limits.MAX_HALF_OPEN
    per_address: int = limits.MAX_HALF_OPEN_PER_ADDRESS
    _inside: Counter[str] = attrs.field(factory=Counter, init=False, repr=False)

    @contextmanager
    def stranger(self, address: str) -> Iterator[bool]:
        """Counts one connection from `address` while the block runs; yields False when there is no room for it.

        One IPv6 /64 counts as one address: a single host has all of it. Raises ValueError if it is no IP address.
        """
        source = source_of(address)
        if self._inside.total() >= self.total or self._inside[source] >= self.per_address:
            yield False
            return
        self._inside[source] += 1
        try:
            yield True
        finally:
            self._inside[source] -= 1
            if not self._inside[source]:
                del self._inside[source]
