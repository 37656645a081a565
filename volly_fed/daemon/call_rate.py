"""How many connections are taken up: each costs a TLS handshake, whoever it is.

in: addresses of callers, as they come and as they prove themselves; out: whether to begin with one. Bounded memory.
Never: waits, or lets few addresses spend what all have together.
"""

# There are three rules; an address is an IPv4 address or an IPv6 /64.
#
# 1. One address has limits.CONNECTIONS_PER_MINUTE.
# 2. All addresses together have limits.CONNECTIONS_PER_SECOND, and the second half of what has been saved up is for
#    those that have not called lately: who keeps calling, from however many addresses, does not use it up.
# 3. An address at which somebody has proved himself is not under rule 2.
#
# Left over: whoever calls from thousands of addresses, each once in a while, competes with every first contact.

from collections import OrderedDict

import attrs

from volly_fed import limits
from volly_fed.handshake import Rates

_ALL = ""


@attrs.define(kw_only=True)
class CallRate:
    """The counts of one listener."""

    per_minute: int = limits.CONNECTIONS_PER_MINUTE
    _sources: Rates[str] = attrs.field(init=False)
    _together: Rates[str] = attrs.field(init=False)
    _proved: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._sources = Rates(burst=self.per_minute, per_second=self.per_minute / 60, size=limits.CALLERS)
        burst = 2 * limits.CONNECTIONS_PER_SECOND
        self._together = Rates(burst=burst, per_second=limits.CONNECTIONS_PER_SECOND, size=1)

    def objection(self, source: str, now: float) -> str:
        """Why a connection from `source` is not taken up; "": it is, and is counted."""
        if self._sources.wait(source, now):
            return "too many connections from one address"
        if not self.knows(source):
            together = self._together.level(_ALL, now)
            if together < 1 or (together < 1 + self._together.burst / 2 and not self._is_new(source, now)):
                return "too many connections in all"
            self._together.take(_ALL, now)
        self._sources.take(source, now)
        return ""

    def proved(self, source: str) -> None:
        """Somebody has proved himself at `source`."""
        self._proved[source] = None
        self._proved.move_to_end(source)
        if len(self._proved) > limits.CALLERS:
            self._proved.popitem(last=False)

    def knows(self, source: str) -> bool:
        """Whether somebody has proved himself there before."""
        return source in self._proved

    def _is_new(self, source: str, now: float) -> bool:
        return self._sources.level(source, now) >= self.per_minute
