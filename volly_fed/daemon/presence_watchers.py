"""The edges that watch domains: each is sent every domain's filter once, and then what changes in it.

in: filters in pieces and their changes; out: SHOWN messages on the edges' links, and UNWATCH with the reason where
nothing is shown.
Never: has more wait for an edge than a filter and some changes a domain: one that does not keep up is sent the filter
anew, as it is by then.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from volly_fed import limits, limits_presence
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.names import DomainName
from volly_fed.presence import bounds
from volly_fed.presence.placement import filter_bytes
from volly_fed.wire import Message, encode_message
from volly_fed.wire.messages import PresenceSnapshot, Shown, Unwatch

_BUSY = limits.EXTRA_MESSAGES - 2
"""As for deliveries (daemon.edges): so both have their turns."""
_MOST = filter_bytes(FilterClass.TAGS_1M) // bounds.SNAPSHOT_PIECE + limits_presence.STEPS_WAITING
"""Messages of one domain."""
TOO_MANY = "this server cannot watch more domains; note: try again later"
NO_ROOM = "this server has no room for what that domain shows; note: try again later"


class EdgeWay(Protocol):
    """What of daemon.link.Link is used."""

    @property
    def extra_room(self) -> int:
        """How many more messages it takes; 0 also when it is over."""
        ...

    def send(self, message: Message) -> bool:
        """Whether it takes this message."""
        ...

    async def wait_extra_room(self, spare: int = 0) -> None:
        """Until it takes more than `spare` messages, or is over."""
        ...


class Watcher:
    """One edge's link."""

    def __init__(self, way: EdgeWay, pieces: Callable[[DomainName], Sequence[PresenceSnapshot]]) -> None:
        """`pieces` gives a domain's filter as it is now."""
        self._way = way
        self._pieces = pieces
        self._waiting: dict[DomainName, deque[Message]] = {}
        self._refusals: dict[DomainName, Unwatch] = {}
        self._work = trio.Event()

    def __contains__(self, domain: object) -> bool:
        return domain in self._waiting

    @property
    def domains(self) -> list[DomainName]:
        """All that it watches."""
        return list(self._waiting)

    def watch(self, domain: DomainName) -> bool:
        """Whether there is room for one more; the edge hears if not. A domain that is watched already is shown anew."""
        if domain not in self._waiting and len(self._waiting) >= limits_presence.WATCHED_PER_EDGE:
            self.refuse(domain, ErrorCode.BUSY, TOO_MANY)
            return False
        self._refusals.pop(domain, None)
        self._waiting[domain] = deque()
        self.show_filter(domain)
        return True

    def unwatch(self, domain: DomainName) -> bool:
        """Whether it was watched."""
        return self._waiting.pop(domain, None) is not None

    def refuse(self, domain: DomainName, code: ErrorCode, reason: str) -> None:
        """The edge watches it no more, and hears why, for whoever watched it there."""
        self._waiting.pop(domain, None)
        text = "".join(c if c.isprintable() else " " for c in reason.partition("\n")[0][: limits.MAX_TEXT])
        refusal = Unwatch(domain=domain, code=code, text=text)
        if self._way.extra_room > _BUSY:
            self._way.send(refusal)
        elif len(self._refusals) < limits_presence.WATCHED_PER_EDGE:  # an edge of ours does not ask for more
            self._refusals[domain] = refusal
            self._work.set()

    def show_filter(self, domain: DomainName) -> None:
        """The domain shows this filter from now on, if any: whatever of another still waits is dropped."""
        waiting = self._waiting[domain]
        waiting.clear()
        waiting.extend(self._pieces(domain))
        self._work.set()

    def show(self, domain: DomainName, message: Message) -> None:
        """A change, or that nothing is shown any more."""
        waiting = self._waiting[domain]
        if not waiting and self._way.extra_room > _BUSY:
            self._send(domain, message)
        elif len(waiting) < _MOST:
            waiting.append(message)
            self._work.set()
        else:
            self.show_filter(domain)

    async def run(self) -> None:
        """Send what waits, as the link has room for it, until it is over."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._refusals:
                await self._way.wait_extra_room(_BUSY)
                if not self._way.extra_room:
                    return
                if self._refusals:
                    self._way.send(self._refusals.pop(next(iter(self._refusals))))
            while ready := [domain for domain, waiting in self._waiting.items() if waiting]:
                for domain in ready:  # one of each: a large filter does not hold up the others' changes
                    await self._way.wait_extra_room(_BUSY)
                    if not self._way.extra_room:
                        return
                    if waiting := self._waiting.get(domain):
                        self._send(domain, waiting.popleft())

    def _send(self, domain: DomainName, message: Message) -> None:
        self._way.send(Shown(domain=domain, message=encode_message(message)))
