"""From a stream to a proved connection, in both roles, and what becomes of everything that goes wrong on the way."""

from functools import cache
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import A, B, C, material
from volly_fed import limits
from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.codepoints import ErrorCode, Role
from volly_fed.daemon.connection import Accepted, Connection, Dialled, accept, dial
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.tls import TlsContext, make_context
from volly_fed.errors import (
    Bogus,
    ChannelError,
    LocalError,
    NoMatch,
    Refused,
    RemoteError,
    StorageError,
    VollyFedError,
)
from volly_fed.handshake import Claimed, Outcome, Party
from volly_fed.names import DomainName, Fingerprint


@cache
def context(name: DomainName, *, server: bool) -> TlsContext:
    return make_context(FEDERATION, server=server, identity=tls_identity(material(name)))


def party(name: DomainName) -> Party:
    return Party(name=name, key=material(name).identity)


@attrs.define
class Ends:
    """A dials B. What each end does is replaced by tests; what became of each is kept."""

    connections: dict[str, Connection] = attrs.field(factory=dict)
    errors: dict[str, VollyFedError] = attrs.field(factory=dict)
    proved: int = 0
    refuse: VollyFedError | None = None
    """What judging the claim raises."""
    at_gate: dict[str, VollyFedError] = attrs.field(factory=dict)
    admitting: trio.Event | None = None
    admitted: frozenset[Fingerprint] = frozenset({material(A).fingerprint})

    def check_key(self, negotiated: Negotiated) -> None:
        if negotiated.peer_spki_sha256 != material(B).tls.key.spki_sha256:
            raise NoMatch("another key")

    async def admit(self, claimed: Claimed, _: Negotiated) -> frozenset[Fingerprint]:
        assert claimed.domain == A
        if self.admitting is not None:
            await self.admitting.wait()
        if self.refuse is not None:
            raise self.refuse
        return self.admitted

    def confirm(self, side: str) -> Any:
        async def gate(_: Outcome) -> None:
            if side in self.at_gate:
                raise self.at_gate[side]

        return gate

    def use(self, side: str) -> Any:
        async def talk(connection: Connection) -> None:
            self.connections[side] = connection
            try:
                await connection.socket.send(side.encode())
                assert await connection.socket.receive() != side.encode()
            except trio.EndOfChannel:
                pass

        return talk

    def note_proof(self) -> None:
        self.proved += 1

    def dialled(self, **changes: Any) -> Dialled:
        plan = Dialled(
            context=context(A, server=False),
            party=party(A),
            host="fed.b.test",
            wanted=B,
            expected=frozenset({material(B).fingerprint}),
            check_key=self.check_key,
            confirm=self.confirm("near"),
            use=self.use("near"),
        )
        return attrs.evolve(plan, **changes)

    def accepted(self, name: DomainName = B) -> Accepted:
        return Accepted(
            context=context(name, server=True),
            party=party(name),
            admit=self.admit,
            confirm=self.confirm("far"),
            use=self.use("far"),
        )

    async def accept(self, stream: trio.abc.Stream, name: DomainName = B) -> None:
        try:
            await accept(stream, self.accepted(name), proved=self.note_proof)
        except VollyFedError as error:
            self.errors["far"] = error

    async def dial(self, stream: trio.abc.Stream, **changes: Any) -> None:
        try:
            await dial(stream, self.dialled(**changes))
        except VollyFedError as error:
            self.errors["near"] = error

    async def run(self, near: trio.abc.Stream, far: trio.abc.Stream, **changes: Any) -> "Ends":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.accept, far)
            await self.dial(near, **changes)
        return self


async def meet(**changes: Any) -> Ends:
    return await Ends(**changes).run(*trio.testing.memory_stream_pair())


async def test_both_ends_prove_themselves_and_talk() -> None:
    ends = await meet()
    assert ends.errors == {}
    near, far = ends.connections["near"], ends.connections["far"]
    assert (near.outcome.peer, near.outcome.role) == (B, Role.DIALLER)
    assert (far.outcome.peer, far.outcome.role) == (A, Role.ACCEPTOR)
    assert near.negotiated.group.lower() == FEDERATION.group.lower()
    assert near.took > 0
    assert ends.proved == 1


@pytest.mark.spec("wire-25")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RemoteError("busy", code=ErrorCode.BUSY), ErrorCode.BUSY),
        (Bogus("your zone is broken"), ErrorCode.DISCOVERY),
        (NoMatch("not your key"), ErrorCode.DISCOVERY),
        (StorageError("/var/lib/secret/path is full"), ErrorCode.BUSY),
        (LocalError("our own trouble with /etc/secret"), ErrorCode.BUSY),
    ],
)
@pytest.mark.parametrize("where", ["claim", "gate"])
@pytest.mark.spec("handshake-16", "handshake-22", "handshake-23", "handshake-24", "discovery-29")
async def test_a_refusal_is_told_with_its_code_and_without_our_affairs(
    where: str, error: VollyFedError, code: ErrorCode
) -> None:
    ends = await (meet(refuse=error) if where == "claim" else meet(at_gate={"far": error}))
    assert ends.errors["far"] is error
    told = ends.errors["near"]
    assert isinstance(told, Refused)
    assert told.code is code
    assert "secret" not in str(told)
    assert ends.connections == {}
    assert ends.proved == 0


@pytest.mark.spec("handshake-12")
async def test_the_diallers_gate_refuses_too() -> None:
    error = RemoteError("not them", code=ErrorCode.POLICY)
    ends = await meet(at_gate={"near": error})
    assert ends.errors["near"] is error
    assert "near" not in ends.connections


async def test_a_claim_of_an_identity_that_is_not_published() -> None:
    ends = await meet(admitted=frozenset({material(C).fingerprint}))
    assert isinstance(ends.errors["far"], RemoteError)
    assert ends.errors["far"].code is ErrorCode.IDENTITY_MISMATCH
    assert ends.connections == {}


@pytest.mark.spec("channel-9")
async def test_a_server_with_another_tls_key_hears_nothing_from_us() -> None:
    ends = Ends()
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.accept, far, C)
        await ends.dial(near)
    assert isinstance(ends.errors["near"], NoMatch)
    assert isinstance(ends.errors["far"], ChannelError)


async def test_a_server_of_another_name_or_identity() -> None:
    ends = await Ends().run(*trio.testing.memory_stream_pair(), expected=frozenset({material(C).fingerprint}))
    assert isinstance(ends.errors["near"], RemoteError)
    assert ends.errors["near"].code is ErrorCode.IDENTITY_MISMATCH
    ends = await Ends().run(*trio.testing.memory_stream_pair(), wanted=C)
    assert isinstance(ends.errors["near"], Refused)
    assert ends.errors["near"].code is ErrorCode.WRONG_NAME


async def test_the_stream_is_closed_whatever_happens() -> None:
    for refuse in (None, RemoteError("no")):
        near, far = trio.testing.memory_stream_pair()
        await Ends(refuse=refuse).run(near, far)
        for stream in (near, far):
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")


class Cut(trio.abc.Stream):
    """A stream that ends, as by a crash, after so many bytes from this end."""

    def __init__(self, stream: trio.abc.Stream, left: int, *, garbage: bool = False) -> None:
        self.stream, self.left, self.garbage = stream, left, garbage

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        piece = bytes(data)[: max(0, self.left)]
        self.left -= len(data)
        await self.stream.send_all(piece)
        if self.left < 0:
            if self.garbage:
                await self.stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(range(32)))
            await self.stream.aclose()
            raise trio.BrokenResourceError("cut")

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("garbage", [False, True])
async def test_a_connection_that_breaks_anywhere_is_one_plain_error(side: str, *, garbage: bool) -> None:
    """No ExceptionGroup, no foreign error: either would end the listener, and with it the process."""
    for left in (0, 1, 500, 1500, 6000, 12_000, 13_000, 14_000, 16_000, 17_500, 19_000, 21_000):
        near, far = trio.testing.memory_stream_pair()
        ends = Ends()
        streams = (Cut(near, left, garbage=garbage), far) if side == "near" else (near, Cut(far, left, garbage=garbage))
        with trio.fail_after(limits.TLS_HANDSHAKE):
            await ends.run(*streams)
        if not ends.connections:
            assert set(ends.errors) == {"near", "far"}, left


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(600), bytes(70_000)])
async def test_strangers_that_speak_something_else(first: bytes) -> None:
    near, far = trio.testing.memory_stream_pair()
    ends = Ends()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.accept, far)
        await near.send_all(first)
        await near.aclose()
    assert isinstance(ends.errors["far"], ChannelError)


async def test_a_stranger_that_says_nothing_is_sent_away(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    ends = Ends()
    await ends.accept(far)
    assert trio.current_time() == pytest.approx(limits.TLS_HANDSHAKE, abs=1)
    assert isinstance(ends.errors["far"], ChannelError)
    assert ends.errors["far"].code is ErrorCode.TIMEOUT
    await near.aclose()


async def test_a_look_up_that_takes_too_long_is_told_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE", 0.2)
    ends = await meet(admitting=trio.Event())
    assert isinstance(ends.errors["far"], RemoteError)
    assert ends.errors["far"].code is ErrorCode.TIMEOUT
    assert isinstance(ends.errors["near"], RemoteError)
    assert ends.connections == {}


async def test_an_error_of_the_user_of_a_connection_comes_out_as_it_is() -> None:
    async def fail(_: Connection) -> None:
        raise RemoteError("no room", code=ErrorCode.BUSY)

    ends = await Ends().run(*trio.testing.memory_stream_pair(), use=fail)
    assert isinstance(ends.errors["near"], RemoteError)
    assert ends.errors["near"].code is ErrorCode.BUSY
