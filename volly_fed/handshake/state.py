"""The handshake as one table: states, the commands that move it from our side, the messages that move it from theirs.

in: nothing; out: TRANSITIONS. A missing entry is a protocol error, and an error closes from any state.
The two roles have states of their own because the protocol tells them apart: the dialler proves itself first.
"""

import enum

import attrs

from volly_fed.codepoints import ErrorCode
from volly_fed.machine import Transitions
from volly_fed.names import Fingerprint
from volly_fed.wire.messages import Auth, Hello, Refuse


class State(enum.Enum):
    """The value says what we know in that state."""

    START = "dialler: nothing was said"
    GREETING = "dialler: our HELLO is out"
    GREETED = "dialler: the peer claims the name and identity we expect; it proved neither"
    PROVING = "dialler: our proof is out"
    LISTENING = "acceptor: nothing was said"
    CLAIMED = "acceptor: somebody claims a name and an identity; neither was looked up"
    ACCEPTED = "acceptor: the claimed identity is one that the name publishes; our HELLO is out"
    PROVED = "acceptor: the caller proved its identity, ours is not proved to it"
    ESTABLISHED = "both proved their identities on this channel"
    CLOSED = "over: refused, expired or broken; nothing leads out of here"


class Expiry:
    """The trigger of the deadline passing."""


@attrs.frozen
class Start:
    """Dialler: makes our HELLO."""


@attrs.frozen(kw_only=True)
class Accept:
    """Acceptor: the claim passed the gate, the limits and discovery, and the caller's TLS key is a published one.

    `expected`: the fingerprints that the claimed name publishes (or is enrolled with); makes our HELLO.
    """

    expected: frozenset[Fingerprint]


@attrs.frozen
class Prove:
    """Makes our AUTH: about 1 to 2 ms of signing, which may run in a thread."""


@attrs.frozen
class Reject:
    """Makes a REFUSE with this code and text, and ends the handshake."""

    code: ErrorCode
    text: str


Command = Start | Accept | Prove | Reject

_ENDINGS: dict[type, State] = dict.fromkeys((Refuse, Reject, Expiry), State.CLOSED)

TRANSITIONS = Transitions(
    {
        State.START: {Start: State.GREETING, **_ENDINGS},
        State.GREETING: {Hello: State.GREETED, **_ENDINGS},
        State.GREETED: {Prove: State.PROVING, **_ENDINGS},  # [handshake-8]
        State.PROVING: {Auth: State.ESTABLISHED, **_ENDINGS},
        State.LISTENING: {Hello: State.CLAIMED, **_ENDINGS},
        State.CLAIMED: {Accept: State.ACCEPTED, **_ENDINGS},
        State.ACCEPTED: {Auth: State.PROVED, **_ENDINGS},  # [handshake-19]
        State.PROVED: {Prove: State.ESTABLISHED, **_ENDINGS},
        State.ESTABLISHED: {},
        State.CLOSED: {},
    }
)
FINAL = frozenset({State.ESTABLISHED, State.CLOSED})
