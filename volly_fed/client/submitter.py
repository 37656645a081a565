"""A device's submitting connection: hands envelopes over in batches, several under way, and hears what became of them.

in: WELCOME, SUBMITTED, RECEIPT, PONG; out: events, and SUBMIT, PING.
An envelope that was handed over and not answered is given back by `unanswered`: submit it again, under the same id, on
another connection; the homeserver knows it by its id.
Never: claims anything, or signs; the connection has no name.
"""

import enum
from typing import Final, TypeAlias

import attrs

from volly_fed import limits
from volly_fed.client.keepalive import Keepalive, Verdict
from volly_fed.client.receiver import AskAlive, Dead, Quiet, Welcomed
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.machine import Transitions
from volly_fed.names import DomainName
from volly_fed.wire.messages import (
    Close,
    Message,
    Outcome,
    Ping,
    Pong,
    Receipt,
    Submit,
    Submitted,
    Welcome,
    encode_message,
    parse_message,
)


class State(enum.Enum):
    """What is known of this connection."""

    OPENED = "nothing has come yet"
    READY = "the edge has named itself and takes envelopes"


@attrs.frozen(kw_only=True)
class HandOver:
    """Submit these: (id, encoded envelope), at most limits.SUBMIT_ENVELOPES and `room`."""

    items: list[tuple[bytes, bytes]]


Command: TypeAlias = HandOver | AskAlive


@attrs.frozen(kw_only=True)
class Settled:
    """`accepted` are on our homeserver's disk; `refused` are not: (id, code, text)."""

    accepted: list[bytes]
    refused: tuple[Outcome, ...]


@attrs.frozen(kw_only=True)
class RefusedLate:
    """Accepted before, then refused by the recipient's homeserver."""

    refused: tuple[Outcome, ...]


Event: TypeAlias = Welcomed | Settled | RefusedLate | Quiet | Dead

TRANSITIONS: Final = Transitions(
    {
        State.OPENED: {Welcome: State.READY},
        State.READY: {Submitted: State.READY, Receipt: State.READY, HandOver: State.READY},
    }
)


class Submitter:
    """The machine of one submitting connection."""

    def __init__(self, domain: DomainName, now: float) -> None:
        self._domain = domain
        self._state = State.OPENED
        self._keepalive = Keepalive(now)
        self._since = now
        self._under_way: dict[bytes, bytes] = {}
        self._pings = 0
        self._dead = False
        self._events: list[Event] = []

    @property
    def room(self) -> int:
        """How many more envelopes may be handed over now."""
        return limits.DEVICE_QUEUE - len(self._under_way)

    @property
    def unanswered(self) -> list[tuple[bytes, bytes]]:
        """(id, envelope) of what was handed over and not answered, oldest first."""
        return list(self._under_way.items())

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
        self._state = TRANSITIONS.after(self._state, type(message), remote=True)
        self._take(message)

    def send(self, command: Command) -> bytes:
        """The message that does what `command` says. Raises LocalProtocolError when it is not its time, or too much."""
        if isinstance(command, AskAlive):
            self._pings += 1
            return encode_message(Ping(token=self._pings))
        TRANSITIONS.after(self._state, HandOver, remote=False)
        if len(command.items) > min(limits.SUBMIT_ENVELOPES, self.room):
            raise LocalProtocolError("more envelopes than there is room for")
        self._under_way.update(command.items)
        return encode_message(Submit(envelopes=[frame for _, frame in command.items]))

    def _take(self, message: Message) -> None:
        match message:
            case Welcome():
                if message.domain != self._domain:
                    raise RemoteError("this edge serves another domain than ours", code=ErrorCode.WRONG_NAME)
                self._events.append(Welcomed())
            case Submitted():
                self._settle(message)
            case Receipt():
                self._events.append(RefusedLate(refused=message.refused))

    def _settle(self, message: Submitted) -> None:
        settled = [*message.accepted, *(outcome[0] for outcome in message.refused)]
        for envelope_id in settled:
            if self._under_way.pop(envelope_id, None) is None:
                raise RemoteError("an answer for an envelope that is not under way")
        self._events.append(Settled(accepted=message.accepted, refused=message.refused))

    def _die(self, text: str) -> None:
        self._dead = True
        self._events.append(Dead(text))
