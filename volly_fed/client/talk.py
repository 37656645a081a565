"""A device's connection for presence: one that announces, or one that watches, by the table it is given.

in: WELCOME, PONG, CLOSE, and what the table allows; out: events, and what the caller says, when the table allows it.
Never: claims, submits, or does both of these: nothing on the connection leads to a mailbox.
"""

import enum
from typing import Final, TypeAlias

import attrs

from volly_fed.client.conversation import Always, AskAlive, Conversation
from volly_fed.errors import RemoteError
from volly_fed.machine import Transitions
from volly_fed.names import DomainName
from volly_fed.wire.messages import Message, Welcome, encode_message
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


Event: TypeAlias = Heard | Always

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


class Talk(Conversation[Heard]):
    """The machine of one such connection."""

    def __init__(self, table: Transitions[State], domain: DomainName, now: float) -> None:
        super().__init__(domain, now)
        self._table = table
        self._state = State.OPENED

    @property
    def _at_rest(self) -> bool:
        return self._state is State.READY

    def receive(self, data: bytes, now: float) -> None:
        """Take one message of the edge. Raises RemoteError when the edge breaks the protocol or sends us away."""
        message = self._heard(data, now)
        if message is None:
            return
        if not isinstance(message, _RECEIVED):
            raise RemoteError(f"an edge does not send {type(message).__name__} here")
        self._state = self._table.after(self._state, type(message), remote=True)
        if isinstance(message, Welcome):
            self._greeted(message)
        else:
            self._events.append(Heard(message))

    def send(self, command: Command) -> bytes:
        """The message that does what `command` says. Raises LocalProtocolError when it is not its time."""
        if isinstance(command, AskAlive):
            return self._ping()
        assert isinstance(command.message, _SENT)
        self._table.after(self._state, type(command.message), remote=False)
        return encode_message(command.message)
