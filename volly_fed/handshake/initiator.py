"""The dialler's half: says HELLO first, checks the answer against what discovery promised, proves itself first.

in: whole messages, Start, Prove, Reject; out: whole messages, Greeted, Established.
Never: proves itself to a name or identity other than the wanted one.
"""

from volly_fed.codepoints import ErrorCode, Role
from volly_fed.errors import RemoteError
from volly_fed.handshake.exchange import Exchange, Party
from volly_fed.handshake.outcome import Established, Greeted, Outcome
from volly_fed.handshake.state import Command, Prove, Reject, Start, State
from volly_fed.handshake.transcript import ChannelBinding
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire.messages import Hello


class Initiator(Exchange):
    """One handshake of a dialler with `wanted`, whose identity must be one of `expected`.

    `expected` comes from DNS (Evidence.expected) or from enrolment; empty means that nobody will do. `deadline` is on
    the clock of `now`: usually the start plus limits.HANDSHAKE.
    """

    _role = Role.DIALLER

    def __init__(
        self,
        *,
        own: Party,
        wanted: DomainName,
        expected: frozenset[Fingerprint],
        binding: ChannelBinding,
        random: RandomSource,
        deadline: float,
    ) -> None:
        super().__init__(own=own, binding=binding, random=random, deadline=deadline)
        self._state = State.START
        self._wanted = wanted
        self._expected = expected

    def _take_hello(self, hello: Hello) -> None:
        if hello.own != self._wanted:  # [handshake-6]
            raise RemoteError(f"{self._wanted} was wanted, another name answers", code=ErrorCode.WRONG_NAME)
        self._expect(self._expected)  # [handshake-7]
        self._events.append(Greeted(domain=hello.own, fingerprint=self._claimed().fingerprint, hello=hello))

    def _take_proof(self, outcome: Outcome) -> None:
        self._events.append(Established(outcome))

    def _make(self, command: Command) -> bytes:
        if isinstance(command, Reject):
            return self._reject(command)
        if isinstance(command, Prove):
            return self._auth()
        assert isinstance(command, Start), "the table has no other command in a dialler's states"
        return self._hello(self._wanted)
