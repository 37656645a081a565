"""How many devices one address may have at an edge node, and how many connections it may open in a minute.

in: addresses, time; out: yes or no. One IPv6 /64 counts as one address: a single host has all of it. Loopback is not
counted: there everybody comes from one address, through a proxy, or is a test network.
Never: remembers more than limits.DEVICE_ADDRESSES that have no connection any more.
"""

from collections import Counter

import attrs

from volly_fed import limits
from volly_fed.handshake import Rates, source_of

_LOOPBACK_6 = source_of("::1")


@attrs.define
class Visitors:
    """One per edge node. `now` does not run backwards."""

    _here: Counter[str] = attrs.field(factory=Counter, repr=False, init=False)
    _recent: Rates[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        per_minute = limits.DEVICE_CONNECTIONS_PER_ADDRESS_PER_MINUTE
        self._recent = Rates(burst=per_minute, per_second=per_minute / 60, size=limits.DEVICE_ADDRESSES)

    def knock(self, address: str, now: float) -> bool:
        """Count a new connection, before anything was read of it; whether to go on with it.

        Raises ValueError if `address` is no IP address.
        """
        source = _source(address)
        return not source or self._recent.take(source, now)

    def enter(self, address: str) -> bool:
        """A device is connected, unless its address has too many: then False, and there is nothing to `leave`."""
        source = _source(address)
        if source and self._here[source] >= limits.DEVICES_PER_ADDRESS:
            return False
        self._here[source] += 1
        return True

    def leave(self, address: str) -> None:
        """It has gone."""
        source = _source(address)
        self._here[source] -= 1
        if self._here[source] <= 0:
            del self._here[source]


def _source(address: str) -> str:
    """As handshake.source_of; "" for loopback."""
    source = source_of(address)
    return "" if source == _LOOPBACK_6 or source.startswith("127.") else source
