"""Target: both roles of the handshake, against a peer that knows its keys and keeps to no rule.

in: the role, then steps: bytes as they are; the peer's HELLO with some fields changed; its AUTH, really signed over
whatever HELLOs went over the line, with some fields changed; our own side's commands; time. Keys and nonces are fixed.
Never lets through: another error than RemoteError, a proof believed that was not signed over this exchange, a way out
of CLOSED.
"""

from functools import cache, lru_cache
from random import Random

from fuzz import mutators
from fuzz.target import Target, join, pick, split
from volly_fed import limits
from volly_fed.codepoints import ALPN_FEDERATION, TLS_GROUP, ErrorCode, Label, Role
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.handshake import Accept, ChannelBinding, Command, Established, Initiator, Party, Prove, Reject, Responder
from volly_fed.handshake.exchange import Exchange
from volly_fed.handshake.outcome import Event, Expired, Proved
from volly_fed.handshake.state import FINAL, Start, State
from volly_fed.handshake.transcript import EXPORTER_BYTES, hello_hash, signed_input
from volly_fed.names import DomainName
from volly_fed.wire import codec, encode_message
from volly_fed.wire.messages import Auth, Hello

RAW, HELLO, AUTH, COMMAND, TICK = range(5)
_COMMANDS = 4
_SIGNATURE = 1  # the number of AUTH's field


class _Key(IdentityKey):
    """An identity that signs the same only once: it costs a thousand times the rest."""

    @lru_cache(maxsize=4096)  # noqa: B019 # there are two, and they live as long as the process
    def sign(self, message: bytes, context: bytes) -> bytes:
        return super().sign(message, context)


@cache
def _party(name: str) -> Party:
    seed = Secret(Random(name).randbytes(64))
    return Party(name=DomainName(name), key=_Key.from_seed(seed), statement=b"")


def _binding(role: Role) -> ChannelBinding:
    spkis = (b"d" * 32, b"a" * 32) if role is Role.DIALLER else (b"a" * 32, b"d" * 32)
    return ChannelBinding(
        exporter_dialler=b"D" * EXPORTER_BYTES,
        exporter_acceptor=b"A" * EXPORTER_BYTES,
        alpn=ALPN_FEDERATION,
        group=TLS_GROUP.encode(),
        own_spki_sha256=spkis[0],
        peer_spki_sha256=spkis[1],
    )


class _Exchange:
    """The machine under test, and what the peer knows."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.own, self.peer = _party("own.example"), _party("peer.example")
        self.hellos: dict[Role, bytes] = {}
        self.now = 0.0
        self.proved = False
        """The last AUTH was signed over the HELLOs of this exchange."""
        self.established = 0
        self.machine: Exchange
        fixed = Random(1).randbytes
        expected = frozenset({fingerprint(self.peer.key.public)})
        if role is Role.DIALLER:
            self.machine = Initiator(
                own=self.own,
                wanted=self.peer.name,
                expected=expected,
                binding=_binding(role),
                random=fixed,
                deadline=limits.HANDSHAKE,
            )
        else:
            self.machine = Responder(own=self.own, binding=_binding(role), random=fixed, deadline=limits.HANDSHAKE)
        self.commands: list[Command] = [
            Start() if role is Role.DIALLER else Accept(expected=expected),
            Prove(),
            Reject(ErrorCode.BUSY, "no"),
            Accept(expected=frozenset()),
        ]

    @property
    def other(self) -> Role:
        return Role.ACCEPTOR if self.role is Role.DIALLER else Role.DIALLER

    def receive(self, data: bytes) -> None:
        before = self.machine.state
        try:
            self.machine.receive(data, self.now)
        except RemoteError:
            assert self.machine.state is State.CLOSED, "an error left it open"
            return
        assert before not in FINAL, "a message was taken after the end"
        if before in (State.GREETING, State.LISTENING):
            self.hellos[self.other] = data

    def send(self, command: Command) -> None:
        before = self.machine.state
        try:
            data = self.machine.send(command)
        except LocalProtocolError:
            assert self.machine.state is before, "what is not allowed changed something"
            return
        except RemoteError:
            assert self.machine.state is State.CLOSED
            return
        if isinstance(command, Start | Accept):
            self.hellos[self.role] = data

    def hello(self, changes: bytes) -> bytes:
        """The peer's HELLO, but for `changes`, a CBOR map."""
        honest = Hello(
            versions=(1, 1),
            own=self.peer.name,
            wanted=self.own.name,
            identity=self.peer.key.public,
            nonce=b"n" * 32,
            extensions={},
        )
        return _patched(encode_message(honest), changes)

    def auth(self, changes: bytes) -> bytes:
        """The peer's AUTH over what was said, but for `changes`."""
        hellos = hello_hash(self.hellos.get(Role.DIALLER, b""), self.hellos.get(Role.ACCEPTOR, b""))
        message = signed_input(self.other, _binding(self.other), hellos, ours=True)
        signature = self.peer.key.sign(message, Label.AUTH_CONTEXT)
        data = _patched(encode_message(Auth(signature=signature)), changes)
        try:
            value = codec.decode(data)
        except BadMessage:
            return data
        self.proved = len(self.hellos) > 1 and isinstance(value, dict) and value.get(_SIGNATURE) == signature
        return data

    def look(self) -> None:
        """What must hold after every step."""
        events: list[Event] = self.machine.events()
        for event in events:
            if isinstance(event, Established | Proved):
                self.established += isinstance(event, Established)
                assert self.proved, "believed without a proof"
                assert event.outcome.peer == self.peer.name
                assert event.outcome.fingerprint == fingerprint(self.peer.key.public)
            elif isinstance(event, Expired):
                assert self.now >= limits.HANDSHAKE
        assert self.established <= 1
        assert self.machine.state is not State.ESTABLISHED or self.established
        assert (self.machine.deadline is None) == (self.machine.state in FINAL)


def _patched(data: bytes, changes: bytes) -> bytes:
    try:
        value, patch = codec.decode(data), codec.decode(changes)
    except BadMessage:
        return data
    assert isinstance(value, dict)
    return codec.encode(value | patch) if isinstance(patch, dict) else data


def run(data: bytes) -> None:
    """The first byte is the role."""
    exchange = _Exchange(Role.DIALLER if pick(data, 0) % 2 else Role.ACCEPTOR)
    for number, payload in split(data[1:]):
        match number:
            case 0:
                exchange.proved = False
                exchange.receive(payload)
            case 1:
                exchange.receive(exchange.hello(payload))
            case 2:
                exchange.receive(exchange.auth(payload))
            case 3:
                exchange.send(exchange.commands[pick(payload, 0) % _COMMANDS])
            case _:
                exchange.now += pick(payload, 0)
                exchange.machine.tick(exchange.now)
        exchange.look()


_WRONG: tuple[dict[int, codec.Value], ...] = ({1: [2, 3]}, {3: "x.example"}, {1: [3, 1]})


def seeds() -> list[bytes]:
    """Whole handshakes of both roles, and what happens on the way."""
    none, patch = codec.encode({}), codec.encode
    dialler = [(COMMAND, b"\0"), (HELLO, none), (COMMAND, b"\1"), (AUTH, none)]
    acceptor = [(HELLO, none), (COMMAND, b"\0"), (AUTH, none), (COMMAND, b"\1")]
    refuse = patch({0: 3, 1: 6, 2: "busy", 3: 5})
    more = patch({6: {5: b"x", 0x1A1A: b"grease"}, 1: [1, 9], 23: "unknown"})
    both = [b"\1" + join(dialler), b"\0" + join(acceptor)]
    return [
        *both,
        b"\1" + join([*dialler[:1], (HELLO, more), *dialler[2:3], (AUTH, patch({2: b"statement"}))]),
        b"\0" + join([(HELLO, more), *acceptor[1:]]),
        b"\0" + join([*acceptor[:2], (AUTH, patch({1: bytes(3373)})), acceptor[3]]),
        b"\1" + join([*dialler[:3], (AUTH, patch({1: bytes(3373)}))]),
        *(b"\0" + join([(HELLO, patch(change))]) for change in _WRONG),
        *(one + join([(TICK, b"\x20"), (RAW, refuse)]) for one in both),
        *(one[:9] + join([(RAW, refuse)]) for one in both),
        b"\0" + join([*acceptor[:1], (COMMAND, b"\2"), *acceptor]),
        b"\0" + join([*acceptor[:1], (COMMAND, b"\3"), *acceptor]),
    ]


TARGET = Target(run=run, seeds=seeds, mutate=mutators.prefixed(1, mutators.steps(5, inner=mutators.cbor)))
