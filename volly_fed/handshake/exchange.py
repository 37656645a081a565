"""What both roles of the handshake share: the verbs, the deadline, refusals, making and checking HELLO and AUTH.

in: whole messages, commands, time; out: whole messages, events. One instance serves one connection.
Never: goes on after an error: whatever leaves `receive` or `send` but a value closes it for good. For a stranger it
reads two messages of at most limits.MAX_HANDSHAKE_MESSAGE bytes and checks one signature.
Source: docs/architecture.md layer 4.
"""

import abc
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from volly_fed import limits
from volly_fed.codepoints import MAX_VERSION, MIN_VERSION, ErrorCode, Label, Role
from volly_fed.crypto.signature import IdentityKey, fingerprint, verify_identity
from volly_fed.errors import BadMessage, LocalProtocolError, Refused, RemoteError
from volly_fed.handshake.outcome import Event, Expired, Outcome
from volly_fed.handshake.state import FINAL, TRANSITIONS, Command, Expiry, Reject, State
from volly_fed.handshake.transcript import ChannelBinding, hello_hash, signed_input
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import NONCE_BYTES, Auth, Hello, Refuse


@attrs.frozen(kw_only=True)
class Party:
    """What this end brings to every handshake: its name, its identity, what it speaks and offers.

    `statement`: while our identity changes, the continuity statement to show (at most limits.MAX_CONTINUITY bytes).
    """

    name: DomainName
    key: IdentityKey
    versions: tuple[int, int] = (MIN_VERSION, MAX_VERSION)
    extensions: Mapping[int, bytes] = attrs.field(factory=dict)
    statement: bytes = attrs.field(default=b"", repr=False, validator=attrs.validators.max_len(limits.MAX_CONTINUITY))


def refusal(error: RemoteError) -> bytes:
    """The REFUSE message that answers `error`. A `Refused` is not answered: the other end is closing already."""
    text = "".join(c for c in str(error) if c.isprintable())[: limits.MAX_TEXT]  # [wire-20]
    return encode_message(Refuse(code=error.code, text=text, retry_after=error.retry_after))


class Exchange(abc.ABC):
    """The common half of Initiator and Responder."""

    _role: Role
    _state: State

    def __init__(self, *, own: Party, binding: ChannelBinding, random: RandomSource, deadline: float) -> None:
        self._own = own
        self._binding = binding
        self._nonce = random(NONCE_BYTES)  # [handshake-1]
        self._deadline = deadline
        self._events: list[Event] = []
        self._hellos: dict[Role, bytes] = {}
        self._outcome: Outcome | None = None

    @property
    def state(self) -> State:
        """Where the handshake stands, for people and tests."""
        return self._state

    @property
    def deadline(self) -> float | None:
        """When the handshake expires, on the clock of `now`; None once it is over."""
        return None if self._state in FINAL else self._deadline

    def events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        happened, self._events = self._events, []
        return happened

    def receive(self, data: bytes, now: float) -> None:
        """Take one whole message.

        Raises RemoteError, to be answered with `refusal`; Refused, a RemoteError too, where the peer refuses us.
        """
        try:
            self._check_time(now)
            message = parse_message(data, limit=limits.MAX_HANDSHAKE_MESSAGE)  # [handshake-4]
            after = TRANSITIONS.after(self._state, type(message), remote=True)  # [handshake-5]
            self._take(message, data)
            self._state = after
        except BaseException:  # a bug of ours must not leave it open either
            self._close()
            raise

    def send(self, command: Command) -> bytes:
        """Do what `command` says; the bytes are one whole message.

        Raises LocalProtocolError when the state does not allow it, which changes nothing, and RemoteError for an Accept
        whose expected identities lack the claimed one, which closes.
        """
        after = TRANSITIONS.after(self._state, type(command), remote=False)
        try:
            data = self._make(command)
            self._state = after
        except BaseException:  # as above
            self._close()
            raise
        return data

    def tick(self, now: float) -> None:
        """Let time pass; an Expired event, once, when the deadline is reached before the end."""
        if self._state not in FINAL and now >= self._deadline:
            self._state = TRANSITIONS.after(self._state, Expiry, remote=False)
            self._events = [Expired(_expired())]

    @abc.abstractmethod
    def _take_hello(self, hello: Hello) -> None:
        """Check the peer's HELLO and say so by an event."""

    @abc.abstractmethod
    def _take_proof(self, outcome: Outcome) -> None:
        """The peer's AUTH was right."""

    @abc.abstractmethod
    def _make(self, command: Command) -> bytes:
        """The message for `command`, which the state allows."""

    def _check_time(self, now: float) -> None:
        if self._state not in FINAL and now >= self._deadline:
            raise _expired()  # [handshake-38]

    def _close(self) -> None:
        self._state = State.CLOSED
        self._events.clear()
        self._outcome = None

    def _take(self, message: Message, data: bytes) -> None:
        if isinstance(message, Refuse):
            text = f"the peer refuses: {message.text or message.code.name}"
            raise Refused(text, code=message.code, retry_after=message.retry_after)
        if isinstance(message, Hello):
            self._hellos[_other(self._role)] = data  # [handshake-3]
            self._outcome = self._claim(message)
            self._take_hello(message)
        elif isinstance(message, Auth):
            self._outcome = self._check_auth(message)
            self._take_proof(self._outcome)

    def _claim(self, hello: Hello) -> Outcome:
        """What the peer's HELLO claims; whether it is true, AUTH will tell."""
        if hello.wanted != self._own.name:  # [handshake-13]
            raise RemoteError("this is not the name you want", code=ErrorCode.WRONG_NAME)
        if hello.identity == self._own.key.public:  # [handshake-14]
            raise RemoteError("you show our own identity", code=ErrorCode.IDENTITY_MISMATCH)
        return Outcome(
            peer=hello.own,
            identity=hello.identity,
            fingerprint=fingerprint(hello.identity),
            version=self._common_version(hello.versions),
            extensions=MappingProxyType(dict(hello.extensions)),  # [versioning-4] [versioning-10]
            role=self._role,
        )

    def _common_version(self, theirs: tuple[int, int]) -> int:
        ours = self._own.versions
        if theirs[0] > theirs[1]:
            raise BadMessage("a version range begins with its lower end")  # [handshake-2]
        highest = min(ours[1], theirs[1])
        if highest < max(ours[0], theirs[0]):
            raise RemoteError(
                f"no common version: you speak {theirs[0]} to {theirs[1]}, we speak {ours[0]} to {ours[1]}",
                code=ErrorCode.UNSUPPORTED_VERSION,  # [handshake-21]
            )
        return highest

    def _claimed(self) -> Outcome:
        assert self._outcome is not None, "no state that asks for it comes before the peer's HELLO"
        return self._outcome

    def _expect(self, expected: frozenset[Fingerprint]) -> None:
        if self._claimed().fingerprint not in expected:  # [handshake-18]
            raise RemoteError(
                f"the identity shown is not one that {self._claimed().peer} publishes", code=ErrorCode.IDENTITY_MISMATCH
            )

    def _hello(self, wanted: DomainName) -> bytes:
        data = encode_message(
            Hello(
                versions=self._own.versions,
                own=self._own.name,
                wanted=wanted,
                identity=self._own.key.public,
                nonce=self._nonce,
                extensions=dict(self._own.extensions),
            )
        )
        if len(data) > limits.MAX_HANDSHAKE_MESSAGE:
            raise LocalProtocolError("our extensions do not fit a HELLO")
        self._hellos[self._role] = data
        return data

    def _auth(self) -> bytes:
        signature = self._own.key.sign(self._transcript(self._role), Label.AUTH_CONTEXT)
        return encode_message(Auth(signature=signature, statement=self._own.statement))  # [handshake-32]

    def _check_auth(self, auth: Auth) -> Outcome:
        claimed = self._claimed()
        # [handshake-10]
        verify_identity(claimed.identity, auth.signature, self._transcript(_other(self._role)), Label.AUTH_CONTEXT)
        return attrs.evolve(claimed, statement=auth.statement)

    def _transcript(self, signer: Role) -> bytes:
        hellos = hello_hash(self._hellos[Role.DIALLER], self._hellos[Role.ACCEPTOR])
        return signed_input(signer, self._binding, hellos, ours=signer is self._role)

    @staticmethod
    def _reject(command: Reject) -> bytes:
        return refusal(RemoteError(command.text, code=command.code))


def _other(role: Role) -> Role:
    return Role.ACCEPTOR if role is Role.DIALLER else Role.DIALLER


def _expired() -> RemoteError:
    return RemoteError("the handshake took too long", code=ErrorCode.TIMEOUT)
