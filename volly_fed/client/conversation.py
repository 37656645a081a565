"""What all of a device's connections to an edge have in common: the greeting, the keepalive, the edge's farewell.

in: bytes, `now`; out: messages for whoever knows the connection's purpose, and the events that all of them have.
Never: knows what the connection is for: receiver, submitter and talk do.
"""

import abc
from typing import ClassVar, Generic, TypeAlias, TypeVar

import attrs

from volly_fed import limits
from volly_fed.client.keepalive import Keepalive, Verdict
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName
from volly_fed.wire.messages import Close, Message, Ping, Pong, Welcome, encode_message, parse_message

E = TypeVar("E")


@attrs.frozen
class AskAlive:
    """Command: send PING; allowed at any time."""


@attrs.frozen
class Welcomed:
    """The edge has named itself and serves our domain."""


@attrs.frozen
class Quiet:
    """AskAlive is wanted."""


@attrs.frozen
class Dead:
    """The other end does not answer: close the connection and open another one."""

    text: str


Always: TypeAlias = Welcomed | Quiet | Dead
"""The events of every connection."""


class Conversation(abc.ABC, Generic[E]):
    """The base of the three machines; `E`: the events that are their own."""

    _IMPATIENT: ClassVar[str] = "the edge does not greet"

    def __init__(self, domain: DomainName, now: float) -> None:
        self._domain = domain
        self._since = now
        self._keepalive = Keepalive(now)
        self._pings = 0
        self._dead = False
        self._events: list[E | Always] = []

    @property
    @abc.abstractmethod
    def _at_rest(self) -> bool:
        """Whether nothing is owed: then silence is fine for as long as the keepalive allows."""

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called at the latest."""
        if self._dead:
            return None
        return self._keepalive.deadline if self._at_rest else self._since + limits.HANDSHAKE

    def events(self) -> list[E | Always]:
        """What has happened since the last call."""
        events, self._events = self._events, []
        return events

    def tick(self, now: float) -> None:
        """Let time pass: Quiet or Dead may come of it."""
        if not self._at_rest:
            if not self._dead and now >= self._since + limits.HANDSHAKE:
                self._die(self._IMPATIENT)
            return
        verdict = self._keepalive.tick(now)
        if verdict is Verdict.ASK:
            self._events.append(Quiet())
        elif verdict is Verdict.DEAD and not self._dead:
            self._die("the edge has fallen silent")

    def _heard(self, data: bytes, now: float) -> Message | None:
        """What `data` says beyond the keepalive. Raises RemoteError, also where the edge sends us away."""
        message = parse_message(data)
        self._keepalive.hear(now)
        if isinstance(message, Pong):
            return None
        if isinstance(message, Close):
            raise RemoteError(
                f"the edge ends the connection: {message.text}", code=message.code, retry_after=message.retry_after
            )
        return message

    def _greeted(self, message: Welcome) -> None:
        if message.domain != self._domain:
            raise RemoteError("this edge serves another domain than ours", code=ErrorCode.WRONG_NAME)  # [edge-9]
        self._events.append(Welcomed())

    def _ping(self) -> bytes:
        self._pings += 1
        return encode_message(Ping(token=self._pings))

    def _die(self, text: str) -> None:
        self._dead = True
        self._events.append(Dead(text))
