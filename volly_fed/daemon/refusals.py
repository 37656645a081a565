"""Refusals in the log: the first of a kind at once, then how many there were, every limits.REFUSALS_SUMMED seconds.

in: refusals, each with its kind and the words for it; out: at most one line of each kind in that time.
Never: makes a flood of callers a flood of lines, or lets one pass unmentioned.
"""

from collections.abc import Callable

import attrs
import trio

from volly_fed import limits

Say = Callable[[int], None]
"""Writes the line; how many refusals it stands for."""


@attrs.define
class _Kind:
    say: Say
    count: int = 0
    """Since the last line."""


@attrs.define
class Refusals:
    """The kinds that were seen lately. Kinds are our own words, so there are few."""

    _kinds: dict[str, _Kind] = attrs.field(factory=dict, init=False)
    _some: trio.Event = attrs.field(factory=trio.Event, init=False)

    def note(self, kind: str, say: Say) -> None:
        """Somebody was refused; `say` speaks now, or for all of them when the time has come."""
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(say)
            self._some.set()
            say(1)
        else:
            known.count += 1
            known.say = say

    async def run(self) -> None:
        """Say the sums when it is time, until cancelled; what is left is said then."""
        try:
            while True:
                await self._some.wait()
                await trio.sleep(limits.REFUSALS_SUMMED)
                self._say_sums()
        finally:
            self._say_sums()

    def _say_sums(self) -> None:
        self._kinds = {name: kind for name, kind in self._kinds.items() if kind.count}
        for kind in self._kinds.values():
            kind.say(kind.count)
            kind.count = 0
        if not self._kinds:
            self._some = trio.Event()
