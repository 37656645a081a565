"""A device's connection for presence: one that announces, or one that watches, by the table it is given.

in: WELCOME, PONG, CLOSE, and what the table allows; out: events, and what the caller says, when the table allows it.
Never: claims, submits, or does both of these: nothing on the connection leads to a mailbox.
"""

import enum
from typing import Final, TypeAlias

import attrs

from volly_fed import limits
from volly_fed.client.keepalive import Keepalive, Verdict
from volly_fed.client.receiver import AskAlive, Dead, Quiet, Welcomed
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import RemoteError
from volly_fed.machine import Transitions
from volly_fed.names import DomainName
from volly_fed.wire.messages import Close, Message, Ping, Pong, Welcome, encode_message, parse_message
from volly_fed.wire.presence import Announce, Retract, Shown, Unwatch, Watch


class State(enum.Enum):
    """What is known of this connection."""

    OPENED = "nothing has come yet"
    READY = "the edge has named itself"


@attrs.frozen
class Say:
    """Send this message."""

    message: Message


Command: TypeAlias = Say | AskAlive


@attrs.frozen
class Heard:
    """The edge says this: SHOWN or UNWATCH."""

    message: Message


Event: TypeAlias = Welcomed | Heard | Quiet | Dead

ANNOUNCING: Final = Transitions(
    {State.OPENED: {Welcome: State.READY}, State.READY: {Announce: State.READY, Retract: State.READY}}
)
"""ANNOUNCE and RETRACT are sent; nothing is answered."""
WATCHING: Final = Transitions(
    {
        State.OPENED: {Welcome: State.READY},
        State.READY: {Watch: State.READY, Unwatch: State.READY, Shown: State.READY},
    }
)
"""WATCH is sent, SHOWN received, UNWATCH both."""
_SENT: Final = (Announce, Retract, Watch, Unwatch)
_RECEIVED: Final = (Welcome, Shown, Unwatch)


class Talk:
    """The machine of one such connection."""

    def __init__(self, table: Transitions[State], domain: DomainName, now: float) -> None:
        self._table = table
        self._domain = domain
        self._state = State.OPENED
        self._keepalive = Keepalive(now)
        self._since = now
        self._pings = 0
        self._dead = False
        self._events: list[Event] = []

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called at the latest."""
        if self._dead:
            return None
        return self._keepalive.deadline if self._state is State.READY else self._since + limits.HANDSHAKE

    def events(self) -> list[Event]:
        """What has happened since the last call."""
        events, self._events = self._events, []
        return events

    def tick(self, now: float) -> None:
        """Let time pass: Quiet or Dead may come of it."""
        if self._state is State.OPENED:
            if not self._dead and now >= self._since + limits.HANDSHAKE:
                self._die("the edge does not greet")
            return
        verdict = self._keepalive.tick(now)
        if verdict is Verdict.ASK:
            self._events.append(Quiet())
        elif verdict is Verdict.DEAD and not self._dead:
            self._die("the edge has fallen silent")

    def receive(self, data: bytes, now: float) -> None:
        """Take one message of the edge. Raises RemoteError when the edge breaks the protocol or sends us away."""
        message = parse_message(data)
        self._keepalive.hear(now)
        if isinstance(message, Pong):
            return
        if isinstance(message, Close):
            raise RemoteError(
                f"the edge ends the connection: {message.text}", code=message.code, retry_after=message.retry_after
            )
        if not isinstance(message, _RECEIVED):
            raise RemoteError(f"an edge does not send {type(message).__name__} here")
        self._state = self._table.after(self._state, type(message), remote=True)
        if not isinstance(message, Welcome):
            self._events.append(Heard(message))
            return
        if message.domain != self._domain:
            raise RemoteError("this edge serves another domain than ours", code=ErrorCode.WRONG_NAME)
        self._events.append(Welcomed())

    def send(self, command: Command) -> bytes:
        """The message that does what `command` says. Raises LocalProtocolError when it is not its time."""
        if isinstance(command, AskAlive):
            self._pings += 1
            return encode_message(Ping(token=self._pings))
        assert isinstance(command.message, _SENT)
        self._table.after(self._state, type(command.message), remote=False)
        return encode_message(command.message)

    def _die(self, text: str) -> None:
        self._dead = True
        self._events.append(Dead(text))
