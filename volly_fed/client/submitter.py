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
from volly_fed.client.conversation import Always, AskAlive, Conversation
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.machine import Transitions
from volly_fed.names import DomainName
from volly_fed.wire.messages import (
    Message,
    Outcome,
    Receipt,
    Submit,
    Submitted,
    Welcome,
    encode_message,
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


Event: TypeAlias = Settled | RefusedLate | Always

TRANSITIONS: Final = Transitions(
    {
        State.OPENED: {Welcome: State.READY},
        State.READY: {Submitted: State.READY, Receipt: State.READY, HandOver: State.READY},
    }
)


class Submitter(Conversation[Settled | RefusedLate]):
    """The machine of one submitting connection."""

    def __init__(self, domain: DomainName, now: float) -> None:
        super().__init__(domain, now)
        self._state = State.OPENED
        self._under_way: dict[bytes, bytes] = {}

    @property
    def _at_rest(self) -> bool:
        return self._state is State.READY

    @property
    def room(self) -> int:
        """How many more envelopes may be handed over now."""
        return limits.DEVICE_QUEUE - len(self._under_way)

    @property
    def unanswered(self) -> list[tuple[bytes, bytes]]:
        """(id, envelope) of what was handed over and not answered, oldest first."""
        return list(self._under_way.items())  # [edge-33] [client-18]

    def receive(self, data: bytes, now: float) -> None:
        """Take one message of the edge. Raises RemoteError when the edge breaks the protocol or sends us away."""
        message = self._heard(data, now)
        if message is None:
            return
        self._state = TRANSITIONS.after(self._state, type(message), remote=True)
        self._take(message)

    def send(self, command: Command) -> bytes:
        """The message that does what `command` says. Raises LocalProtocolError when it is not its time, or too much."""
        if isinstance(command, AskAlive):
            return self._ping()
        TRANSITIONS.after(self._state, HandOver, remote=False)
        if len(command.items) > min(limits.SUBMIT_ENVELOPES, self.room):
            raise LocalProtocolError("more envelopes than there is room for")
        self._under_way.update(command.items)
        return encode_message(Submit(envelopes=[frame for _, frame in command.items]))

    def _take(self, message: Message) -> None:
        match message:
            case Welcome():
                self._greeted(message)
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
