"""The acceptor's half: hears a claim, waits until it is looked up, proves itself only to a caller that did so first.

in: whole messages, Accept, Prove, Reject; out: whole messages, Claimed, Proved, Established.
Never: looks a claim up itself, or signs anything for a caller that has not proved the claimed identity.
"""

from volly_fed.codepoints import Role
from volly_fed.handshake.exchange import Exchange, Party
from volly_fed.handshake.outcome import Claimed, Established, Outcome, Proved
from volly_fed.handshake.state import Accept, Command, Prove, Reject, State
from volly_fed.handshake.transcript import ChannelBinding
from volly_fed.machine import RandomSource
from volly_fed.wire.messages import Hello


class Responder(Exchange):
    """One handshake of an acceptor; `deadline` covers the look-up of the caller too."""

    _role = Role.ACCEPTOR

    def __init__(self, *, own: Party, binding: ChannelBinding, random: RandomSource, deadline: float) -> None:
        super().__init__(own=own, binding=binding, random=random, deadline=deadline)
        self._state = State.LISTENING

    def _take_hello(self, hello: Hello) -> None:
        self._events.append(Claimed(domain=hello.own, fingerprint=self._claimed().fingerprint, hello=hello))

    def _take_proof(self, outcome: Outcome) -> None:
        self._events.append(Proved(outcome))

    def _make(self, command: Command) -> bytes:
        if isinstance(command, Reject):
            return self._reject(command)
        if isinstance(command, Accept):
            self._expect(command.expected)
            return self._hello(self._claimed().peer)
        assert isinstance(command, Prove), "the table has no other command in an acceptor's states"
        data = self._auth()
        self._events.append(Established(self._claimed()))
        return data
