"""A device's receiving connection: claims the mailbox, takes what is delivered, acknowledges what is safely stored.

in: WELCOME, CHALLENGE, CLAIMED, NOT_CLAIMED, DELIVER, PONG; out: events, and CLAIM, PROOF, ACKNOWLEDGE, PING.
`now` is a clock that does not run backwards; the wall clock comes in with the command Prove.
Never: acknowledges by itself. Confirm says that the caller holds the envelopes, or knows that they are worthless.
"""

import enum
from typing import Final, TypeAlias

import attrs

from volly_fed.client.conversation import Always, AskAlive, Conversation
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.errors import RemoteError
from volly_fed.machine import Transitions
from volly_fed.names import Fingerprint
from volly_fed.relay.envelope import Envelope, parse_envelope
from volly_fed.wire.messages import (
    Challenge,
    Claim,
    Claimed,
    Deliver,
    Message,
    NotClaimed,
    Welcome,
    encode_message,
)


class State(enum.Enum):
    """What is known of this connection."""

    OPENED = "nothing has come yet"
    WELCOMED = "the edge has named itself; no claim is under way"
    CLAIMING = "CLAIM was sent"
    CHALLENGED = "the challenge has come"
    PROVING = "PROOF was sent"
    HOLDING = "the mailbox is ours on this connection"


@attrs.frozen
class StartClaim:
    """Claim the mailbox."""


@attrs.frozen
class Prove:
    """Answer the challenge; `wall` is the wall clock in Unix seconds."""

    wall: float


@attrs.define
class Item:
    """One delivered envelope, and the digest that its acknowledgement needs."""

    envelope: Envelope
    digest: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Confirm:
    """These are safely stored, or known to be worthless: at most limits.ACK_IDS, delivered under claim `claim`.

    Gives no bytes when that claim has ended meanwhile: the envelopes come again, and are known then.
    """

    claim: int
    items: list[Item]


Command: TypeAlias = StartClaim | Prove | Confirm | AskAlive


@attrs.frozen
class Challenged:
    """Prove is wanted."""


@attrs.frozen
class Holding:
    """Envelopes come from now on, those that were never acknowledged first."""


@attrs.frozen(kw_only=True)
class Delivered:
    """Store these, then Confirm them."""

    claim: int
    items: list[Item]


@attrs.frozen(kw_only=True)
class Lost:
    """The claim failed or has ended. StartClaim is allowed again; wait limits.CLAIM_RETRY first.

    REPLACED: another connection holds the mailbox now; claiming again would take it from there.
    """

    code: ErrorCode
    text: str


Own: TypeAlias = Challenged | Holding | Delivered | Lost
Event: TypeAlias = Own | Always

TRANSITIONS: Final = Transitions(
    {
        State.OPENED: {Welcome: State.WELCOMED},
        State.WELCOMED: {StartClaim: State.CLAIMING},
        State.CLAIMING: {Challenge: State.CHALLENGED, NotClaimed: State.WELCOMED},
        State.CHALLENGED: {Prove: State.PROVING, NotClaimed: State.WELCOMED},
        State.PROVING: {Claimed: State.HOLDING, NotClaimed: State.WELCOMED},
        State.HOLDING: {Deliver: State.HOLDING, NotClaimed: State.WELCOMED},
    }
)
_AT_REST = frozenset({State.WELCOMED, State.HOLDING})


class Receiver(Conversation[Own]):
    """The machine of one receiving connection."""

    _IMPATIENT = "the edge does not go on with the claim"

    def __init__(self, keys: DeviceKeys, now: float) -> None:
        super().__init__(keys.domain, now)
        self._keys = keys
        self._mailbox = keys.address.mailbox
        self._state = State.OPENED
        self._edge = Fingerprint(b"")
        self._challenge: Challenge | None = None
        self._key: Secret | None = None
        self._claim = 0

    @property
    def _at_rest(self) -> bool:
        return self._state in _AT_REST

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self._state

    def receive(self, data: bytes, now: float) -> None:
        """Take one message of the edge. Raises RemoteError when the edge breaks the protocol or sends us away."""
        message = self._heard(data, now)
        if message is None:
            return
        if isinstance(message, Challenge | Claimed | NotClaimed) and message.request != self._claim:
            raise RemoteError("an answer to a claim that was not made")
        self._state = TRANSITIONS.after(self._state, type(message), remote=True)
        self._since = now
        self._take(message)

    def send(self, command: Command) -> bytes:
        """The message that does what `command` says; empty for a Confirm that came too late.

        Raises LocalProtocolError when it is not its time; Prove raises RemoteError for a challenge that must not
        be answered.
        """
        match command:
            case Confirm():  # [security-2]
                return self._confirm(command)
            case AskAlive():
                return self._ping()
            case StartClaim():
                self._state = TRANSITIONS.after(self._state, StartClaim, remote=False)
                self._claim += 1
                return encode_message(Claim(request=self._claim, key=self._keys.mailbox.public))
            case Prove():
                self._state = TRANSITIONS.after(self._state, Prove, remote=False)
                return self._prove(command)

    def _take(self, message: Message) -> None:
        match message:
            case Welcome():
                self._greeted(message)
                self._edge = Fingerprint(message.edge)
            case Challenge():
                self._challenge = message
                self._events.append(Challenged())
            case Claimed():
                if message.mailbox != self._mailbox:
                    raise RemoteError("another mailbox than ours was confirmed")
                self._events.append(Holding())
            case NotClaimed():
                self._key = None
                self._events.append(Lost(code=message.code, text=message.text))
            case Deliver():
                self._events.append(Delivered(claim=self._claim, items=self._items(message)))

    def _items(self, message: Deliver) -> list[Item]:
        items = [Item(parse_envelope(frame), frame_digest(frame)) for frame in message.envelopes]
        if any(item.envelope.mailbox != self._mailbox for item in items):
            raise RemoteError("an envelope for another mailbox was delivered")
        return items

    def _prove(self, command: Prove) -> bytes:
        assert self._challenge is not None  # by the table
        proof, self._key = answer_challenge(
            self._keys.mailbox,
            self._challenge,
            self._keys.registration,
            domain=self._keys.domain,
            edge=self._edge,
            now=command.wall,
        )
        return encode_message(proof)

    def _confirm(self, command: Confirm) -> bytes:
        if command.claim != self._claim or self._state is not State.HOLDING or self._key is None:
            return b""
        received = [(item.envelope.id, item.digest) for item in command.items]
        return encode_message(make_acknowledge(self._key, self._mailbox, received))
