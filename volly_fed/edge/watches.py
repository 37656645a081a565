"""Which domains the connections of an edge node watch, what those domains show, and how far each device has read.

Of each watched domain there is one copy, as the homeserver hands it on, and one log for all its devices: the filter in
pieces, then what has changed since. A device that lags behind a log that was begun anew starts with its pieces.
in: WATCH and UNWATCH of devices, SHOWN and UNWATCH of the homeserver, links; out: the same for the other side.
Never: learns whom a device looks for in a filter, holds more than a bounded number of bytes of filters, or lets a slow
device hold up another: what it has not read is not kept for it.
"""

import attrs

from volly_fed import limits_presence
from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.edge.actions import Action, Feed, ToDevice
from volly_fed.edge.announcers import Allowance
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName
from volly_fed.presence import Appeared, Changed, View
from volly_fed.presence.placement import filter_bytes
from volly_fed.presence.state import Viewing
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.presence import PresenceSnapshot, PresenceWithdraw, Shown, Unwatch, Watch

_TOO_OFTEN = "too many requests on this connection; note: watch a domain once"
_TOO_MANY = "this edge cannot watch more domains; note: try another one, or later"
_NO_ROOM = "this edge has no room for what that domain shows; note: try another one, or later"


@attrs.define(eq=False)
class _Watched:
    """One domain. Positions count what was ever in its log, which begins at `start`."""

    domain: DomainName
    view: View = attrs.field(factory=View)
    log: list[bytes] = attrs.field(factory=list, repr=False)
    start: int = 0
    steps_bytes: int = 0
    """Of the changes in the log."""
    filter_bytes: int = 0
    """Of the filter at its beginning; 0: there is none."""
    coming_bytes: int = 0
    """Of another that comes in."""
    positions: dict[int, int] = attrs.field(factory=dict)
    """By connection: what it reads next."""
    asked: bool = False
    """The homeserver has been asked on this link."""
    broken: bool = False
    """What came could not be used; `broken_since`: when `tick` saw it first."""
    broken_since: float | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.log)

    @property
    def held(self) -> int:
        """Bytes, nearly: the filter, the pieces it began with, the changes since, and the next one."""
        return 2 * self.filter_bytes + self.steps_bytes + self.coming_bytes

    def begin(self, messages: list[Message]) -> None:
        """A log that begins with `messages`; who has read the former one to its end stands where `messages` end."""
        self.start = self.end
        self.log = [self._frame(message) for message in messages]
        self.steps_bytes = 0

    def add(self, message: Message) -> None:
        """One more change."""
        frame = self._frame(message)
        self.log.append(frame)
        self.steps_bytes += len(frame)

    def _frame(self, message: Message) -> bytes:
        return encode_message(Shown(domain=self.domain, message=encode_message(message)))


@attrs.define(eq=False)
class _Watcher:
    behind: dict[DomainName, None] = attrs.field(factory=dict)
    """Where it has something to read, in turn."""
    domains: dict[DomainName, None] = attrs.field(factory=dict)
    allowance: Allowance = attrs.field(
        factory=lambda: Allowance(limits_presence.WATCH_BURST, limits_presence.WATCH_EACH)
    )


class Watches:
    """One per edge node."""

    def __init__(self) -> None:
        self._watched: dict[DomainName, _Watched] = {}
        self._watchers: dict[int, _Watcher] = {}
        self._owed: dict[DomainName, None] = {}
        self._unasked: dict[DomainName, None] = {}  # UNWATCH is owed
        self._linked = False
        self._down_since: float | None = None
        self._pairs = 0
        self.held = 0
        """Bytes of filters, nearly."""

    def __len__(self) -> int:
        return len(self._watched)

    def __contains__(self, connection: int) -> bool:
        """Whether it watches anything."""
        return connection in self._watchers and bool(self._watchers[connection].domains)

    @property
    def owes(self) -> bool:
        """Whether `next_owed` may have something."""
        return bool(self._unasked or self._owed)

    # --- devices ---

    def take(self, connection: int, message: Watch | Unwatch, now: float) -> list[Action]:
        """What a device says; `now` is the wall clock. Raises RemoteError BUSY when it says too much."""
        watcher = self._watchers.setdefault(connection, _Watcher())
        if not watcher.allowance.take(now):  # [presence-56]
            raise RemoteError(_TOO_OFTEN, code=ErrorCode.BUSY, retry_after=limits_presence.REFUSED_RETRY)
        if isinstance(message, Unwatch):
            self._leave(connection, watcher, message.domain)
            return []
        return self._join(connection, watcher, message.domain)

    def gone(self, connection: int) -> None:
        """It has ended."""
        watcher = self._watchers.pop(connection, None)
        for domain in watcher.domains if watcher else ():
            self._forget(connection, domain)

    def next_shown(self, connection: int) -> bytes | None:
        """The next frame for a device that can take one; None: it has read everything."""
        watcher = self._watchers.get(connection)
        while watcher is not None and watcher.behind:
            domain = next(iter(watcher.behind))
            del watcher.behind[domain]
            watched = self._watched[domain]
            position = max(watched.positions[connection], watched.start)  # [presence-59]
            if position >= watched.end:
                continue
            watched.positions[connection] = position + 1
            if position + 1 < watched.end:
                watcher.behind[domain] = None  # the other domains first
            return watched.log[position - watched.start]
        return None

    def _join(self, connection: int, watcher: _Watcher, domain: DomainName) -> list[Action]:
        if domain not in watcher.domains:
            watched = self._watched.get(domain)
            if (
                len(watcher.domains) >= limits_presence.WATCHED_PER_DEVICE
                or self._pairs >= limits_presence.WATCHES_PER_EDGE
                or (watched is None and len(self._watched) >= limits_presence.WATCHED_PER_EDGE)
            ):
                # [presence-55]
                return [ToDevice(connection, Unwatch(domain=domain, code=ErrorCode.BUSY, text=_TOO_MANY))]
            if watched is None:
                self._watched[domain] = _Watched(domain)
                self._ask(domain)
            watcher.domains[domain] = None
            self._pairs += 1
        watched = self._watched[domain]
        watched.positions[connection] = watched.start  # it may have lost its copy: from the beginning
        return self._feed(watched, [connection])

    def _leave(self, connection: int, watcher: _Watcher, domain: DomainName) -> None:
        if domain in watcher.domains:
            del watcher.domains[domain]
            watcher.behind.pop(domain, None)
            self._forget(connection, domain)

    def _forget(self, connection: int, domain: DomainName) -> None:
        self._pairs -= 1
        watched = self._watched[domain]
        del watched.positions[connection]
        if not watched.positions:
            self._drop(watched)

    # --- the homeserver ---

    def link_up(self) -> None:
        """There is a link, on which the homeserver knows of no watch yet. What devices have been shown stays."""
        self._linked = True
        self._down_since = None
        for domain, watched in self._watched.items():
            watched.asked = watched.broken = False
            watched.broken_since = None
            self._ask(domain)

    def link_down(self) -> None:
        """There is none."""
        self._linked = False
        self._owed.clear()
        self._unasked.clear()

    def next_owed(self) -> Message | None:
        """What the homeserver is to be told next; None: it knows everything."""
        while self._unasked:
            domain, _ = self._unasked.popitem()
            return Unwatch(domain=domain)
        while self._owed:
            domain, _ = self._owed.popitem()
            watched = self._watched.get(domain)
            if watched is not None:
                watched.asked = True
                watched.view, watched.coming_bytes = View(), 0  # it begins anew, whatever was before
                watched.view.connected()
                return Watch(domain=domain)
        return None

    def shown(self, message: Shown, now: float) -> list[Action]:
        """What a domain shows; `now` is the wall clock. What cannot be used is no reason to end the link."""
        watched = self._watched.get(message.domain)
        if watched is None or not watched.asked or watched.broken:
            return []  # UNWATCH is under way, or WATCH is
        try:
            inner = parse_message(message.message)
            if isinstance(inner, PresenceSnapshot) and inner.offset and watched.view.state is Viewing.ASKING:
                return []  # the rest of what came for a former WATCH
            self._renew(watched)
            watched.view.receive(inner, now)
        except RemoteError:
            watched.broken, watched.broken_since = True, None  # [presence-57]
            return self._withdraw(watched)
        return self._follow(watched, inner)

    def refused(self, message: Unwatch) -> list[Action]:
        """The homeserver does not hand on what this domain shows, and says why."""
        watched = self._watched.get(message.domain)
        if watched is None or not watched.asked:
            return []
        watched.asked = False  # it need not be told
        return self._send_away(watched, message)

    def tick(self, now: float) -> list[Action]:
        """Let time pass (a clock that does not run backwards): ask again, or say that nothing is known any more."""
        actions: list[Action] = []
        if self._linked:
            for domain, watched in self._watched.items():
                if watched.broken and watched.broken_since is None:
                    watched.broken_since = now
                elif watched.broken and now >= (watched.broken_since or 0.0) + limits_presence.VIEW_RETRY:
                    watched.broken, watched.broken_since = False, None
                    self._ask(domain)
        elif self._down_since is None:
            self._down_since = now
        elif now >= self._down_since + limits_presence.VIEW_STALE:  # [presence-58]
            for watched in self._watched.values():
                if watched.filter_bytes:
                    actions += self._withdraw(watched)
        return actions

    # --- inside ---

    def _ask(self, domain: DomainName) -> None:
        """WATCH, after UNWATCH if the homeserver thinks that it has been asked already."""
        if self._linked:
            watched = self._watched[domain]
            if watched.asked:
                self._unasked[domain] = None
                watched.asked = False
            self._owed[domain] = None

    def _drop(self, watched: _Watched) -> None:
        del self._watched[watched.domain]
        self._owed.pop(watched.domain, None)
        self.held -= watched.held
        if watched.asked and self._linked:
            self._unasked[watched.domain] = None

    def _follow(self, watched: _Watched, message: Message) -> list[Action]:
        """The view has taken `message`: see that the devices get it."""
        before = watched.held
        if isinstance(message, PresenceSnapshot) and not message.offset:
            watched.coming_bytes = filter_bytes(FilterClass(message.size))
        events = watched.view.events()
        for event in events:
            if isinstance(event, Appeared):
                watched.filter_bytes, watched.coming_bytes = len(event.bits), 0
                watched.begin(list(watched.view.pieces()))
            elif isinstance(event, Changed):
                watched.add(message)
        if isinstance(message, PresenceWithdraw):
            watched.filter_bytes = watched.coming_bytes = 0
            watched.begin([message])
        self.held += watched.held - before
        if self.held > limits_presence.VIEW_BYTES_PER_EDGE and watched.held > before:
            reason = Unwatch(domain=watched.domain, code=ErrorCode.OVERLOADED, text=_NO_ROOM)
            return self._send_away(watched, reason)
        return self._feed(watched, watched.positions) if events or isinstance(message, PresenceWithdraw) else []

    def _renew(self, watched: _Watched) -> None:
        """Begin the log anew where the changes in it are more than the filter."""
        if watched.steps_bytes <= watched.filter_bytes and len(watched.log) <= limits_presence.VIEW_STEPS:
            return
        former = watched.end
        self.held -= watched.steps_bytes
        watched.begin(list(watched.view.pieces()))
        for connection, position in watched.positions.items():
            if position == former:  # it has this filter already
                watched.positions[connection] = watched.end

    def _withdraw(self, watched: _Watched) -> list[Action]:
        """Devices are to forget what they have been shown."""
        self.held -= watched.held
        watched.view, watched.filter_bytes, watched.coming_bytes = View(), 0, 0
        watched.begin([PresenceWithdraw()])
        self.held += watched.held
        return self._feed(watched, watched.positions)

    def _send_away(self, watched: _Watched, reason: Unwatch) -> list[Action]:
        """Nothing of this domain is to be had."""
        actions: list[Action] = []
        for connection in watched.positions:
            watcher = self._watchers[connection]
            del watcher.domains[watched.domain]
            watcher.behind.pop(watched.domain, None)
            actions.append(ToDevice(connection, reason))
        self._pairs -= len(watched.positions)
        self._drop(watched)
        return actions

    def _feed(self, watched: _Watched, connections: "list[int] | dict[int, int]") -> list[Action]:
        actions: list[Action] = []
        for connection in connections:
            if watched.positions[connection] < watched.end:
                self._watchers[connection].behind[watched.domain] = None
                actions.append(Feed(connection))
        return actions
