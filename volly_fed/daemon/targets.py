"""In which order to try the targets of a domain: as discovery says, but not first where we have just failed.

in: targets in their order (RFC 2782), failures as they happen; out: the order for the next attempt. Bounded memory.
Never: prefers a target of a lower priority, or leaves one out: one that has failed may be the only one that works.
"""

from collections import OrderedDict
from collections.abc import Iterable

import attrs

from volly_fed import limits
from volly_fed.discovery.endpoint import Target


@attrs.define
class Failures:
    """Where connections failed, or links broke, and when. Domains may share a host: so do they what is known of it."""

    _last: OrderedDict[tuple[str, int], float] = attrs.field(factory=OrderedDict, init=False, repr=False)

    def note(self, target: Target, now: float) -> None:
        """No link came about there, or it broke."""
        self._last[target.host, target.port] = now
        self._last.move_to_end((target.host, target.port))
        if len(self._last) > limits.FAILED_TARGETS:
            self._last.popitem(last=False)

    def forget(self, target: Target) -> None:
        """A link has come about there."""
        self._last.pop((target.host, target.port), None)

    def in_order(self, targets: Iterable[Target], now: float) -> list[Target]:
        """`targets`; inside each priority those that failed within limits.TARGET_FAILED come last."""

        def failed(target: Target) -> bool:
            return self._last.get((target.host, target.port), float("-inf")) > now - limits.TARGET_FAILED

        # [discovery-8]
        return sorted(targets, key=lambda target: (target.priority, failed(target)))  # stable: weights drew the rest
