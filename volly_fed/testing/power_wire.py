"""Wires in memory between the parts of the path: ordered, late by a little, cut off at any message.

in: whole messages; out: the same at the other end, or the first ones and an end. Each is a point before it is handed
over, and another once it is taken. A machine that died either resets its connections or leaves them half-open: then
nothing tells the other end, until the machine is back and does not know them.
Never: alters, reorders or doubles a message, for that is TCP's part and TLS's.
"""

import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import trio

from volly_fed.daemon.websocket import NORMAL, Socket
from volly_fed.errors import ChannelError
from volly_fed.wire import Message, parse_message

_LATEST: Final = 0.02
"""Seconds under way, at most."""


class End(Socket):
    """One end of a wire, for a Link or a device: what they need of a WebSocket, and nothing below it."""

    def __init__(self, wire: "Wire", owner: str, other: str) -> None:  # no WebSocket, so nothing of Socket's own
        self.wire = wire
        self.owner = owner
        self.label = f"{owner}>{other}"
        self.other = self
        self.gone = False
        """The machine at this end is off."""
        self._inbox: deque[tuple[float, bytes, str]] = deque()
        self._closed: Exception | None = None
        self._changed = trio.Event()
        self._last = -math.inf

    async def send(self, message: bytes) -> None:
        """Raises ChannelError: closed or broken."""
        parsed = parse_message(message)
        kind = f"{self.label} {type(parsed).__name__}"
        self.wire.reach(f"{kind} to be sent")
        await trio.lowlevel.checkpoint()  # a machine that went off just now sends nothing
        if self.gone or self._closed is not None:
            raise ChannelError("the wire is cut")
        if self.other.gone:
            if self.wire.knows(self.other.owner):
                return  # half-open: it goes nowhere
            self.fail(ChannelError("the other end does not know this connection"))
            raise ChannelError("the wire is cut")
        self.wire.note(self.label, parsed)
        self.other.put(message, kind)

    async def receive(self) -> bytes:
        """Raises EndOfChannel, ChannelError."""
        while True:
            await trio.lowlevel.checkpoint()  # and nothing after the message is taken: it would be lost if cancelled
            if self._inbox:
                if self._inbox[0][0] <= trio.current_time():
                    _, message, kind = self._inbox.popleft()
                    self.wire.reach(f"{kind} taken")
                    return message
                await trio.sleep_until(self._inbox[0][0])
                continue
            if self._closed is not None:
                raise self._closed
            await self._changed.wait()

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """What is under way to the other end still arrives."""
        await trio.lowlevel.checkpoint()
        if self._closed is None:
            self._closed = ChannelError("this WebSocket was closed here")
            self._tell()
            if not self.gone:
                in_order = code == NORMAL
                self.other.fail(trio.EndOfChannel() if in_order else ChannelError(f"closed with {code}: {reason}"))

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is sent or received here, but for what has come already."""
        return self._closed is not None

    # --- for the wire ----------------------------------------------------------------------------------------------

    def put(self, message: bytes, kind: str) -> None:
        """A message is under way to this end."""
        if self._closed is None:
            self._last = max(self._last, trio.current_time() + self.wire.random.uniform(0, _LATEST))
            self._inbox.append((self._last, message, kind))
            self._tell()

    def lose_some(self) -> None:
        """Of what is under way to this end, only the first messages arrive."""
        arrived = sum(at <= trio.current_time() for at, _, _ in self._inbox)
        for _ in range(self.wire.random.randint(arrived, len(self._inbox)), len(self._inbox)):
            self._inbox.pop()

    def fail(self, error: Exception) -> None:
        """Nothing comes any more but what is under way."""
        if self._closed is None:
            self._closed = error
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Wire:
    """A connection between two machines; `name` is its place."""

    def __init__(
        self,
        name: str,
        dialler: str,
        acceptor: str,
        *,
        random: Random,
        reach: Callable[[str, str], None],
        note: Callable[[str, Message], None],
    ) -> None:
        """`reach` has the points, `note` sees what is handed over, with who sent it to whom."""
        self.name, self.random, self.note = name, random, note
        self._reach = reach
        self._forgotten: set[str] = set()
        self.ends = End(self, dialler, acceptor), End(self, acceptor, dialler)
        self.ends[0].other, self.ends[1].other = self.ends[1], self.ends[0]

    def reach(self, what: str) -> None:
        """Pass a point."""
        self._reach(f"wire {self.name}", what)

    def knows(self, machine: str) -> bool:
        """Whether `machine` has not come back since it died on this wire: nobody is there to say that it has."""
        return machine not in self._forgotten

    def forget(self, machine: str) -> None:
        """`machine` is back, and resets what it does not know."""
        self._forgotten.add(machine)

    def open_at(self, machine: str) -> bool:
        """Whether the end there was not closed."""
        return any(end.owner == machine and not end.is_closed for end in self.ends)

    def die(self, machine: str) -> None:
        """One end's machine goes off."""
        for end in self.ends:
            if end.owner == machine and not end.gone:
                end.gone = True
                end.fail(ChannelError("off"))
                end.other.lose_some()
                if self.random.random() < 0.7:
                    end.other.fail(ChannelError("the connection was reset"))

    def cut(self) -> None:
        """Both ends lose the connection, and what was under way in part."""
        for end in self.ends:
            end.lose_some()
            end.fail(ChannelError("the connection broke"))
