"""A scripted peer on real sockets: each message that it says and each that it waits for stands in the script.

in: who the fake is, an address to call or a port to be called on; out: a Peer for each connection, to be led through
TLS, WebSocket, handshake and session, honestly or not, one layer after the other.
Never: takes what was not expected: what came instead, and everything before it, is in the Mismatch that fails the
scenario. `fake_line` has what all layers share.
"""

import functools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from OpenSSL._util import lib

from interop.fake_dialogue import Dialogue, Mismatch
from interop.fake_hands import Hands
from interop.fake_line import PATIENCE, Line
from interop.fake_persona import Persona, Target
from interop.fake_socket import Ended, Opening, RawSocket, accept_value, headers_of
from interop.fake_tls import HONEST, Resumable, TlsHabits, make_habitual
from volly_fed.channel import FEDERATION, ChannelProfile, Negotiated
from volly_fed.codepoints import Role
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.errors import ChannelError, RemoteError
from volly_fed.handshake import ChannelBinding
from volly_fed.names import DomainName
from volly_fed.wire.messages import Ack, Auth, Batch, Hello, Open

__all__ = ["PATIENCE", "Door", "Mismatch", "Peer", "Persona", "Target", "calling", "listening"]


@attrs.define(eq=False, kw_only=True)
class Peer(Line):
    """One connection of the fake. `secure`, `upgrade`, `shake` and `begin` are its layers, each to be called once."""

    persona: Persona
    role: Role
    other: DomainName
    host: str
    tcp: trio.SocketStream
    profile: ChannelProfile = FEDERATION
    tls: PqStream | None = None
    negotiated: Negotiated | None = None
    hands: Hands = attrs.field(init=False)
    greeted: Hello | None = None
    """The other end's HELLO, once it has come."""
    stream: bytes = attrs.field(factory=functools.partial(os.urandom, 8))
    """The id of our stream."""
    far_stream: bytes = b""
    cursors: dict[bytes, int] = attrs.field(factory=dict)
    """Of the other end's streams: what `begin` answers OPEN with."""

    # --- layers ------------------------------------------------------------------------------------------------------

    async def secure(self, habits: TlsHabits = HONEST) -> Negotiated:
        """TLS, as `habits` have it. Raises ChannelError where it fails; see `fails_tls`."""
        server = self.role is Role.ACCEPTOR
        resume = habits.resume
        context = resume.context if resume else make_habitual(self.profile, habits, self.persona.tls, server=server)
        host = self.host if habits.server_name is None else habits.server_name
        self.tls = PqStream(self.tcp, context, "" if server else host)
        if resume is not None:
            self.tls._connection.set_session(resume.session)  # noqa: SLF001 - an honest stream never does
        with self.limited("the end of the TLS handshake"):
            self.negotiated = await self.tls.handshake()
        self.dialogue.note(f"TLS: {self.negotiated.version} {self.negotiated.group} {self.negotiated.alpn.decode()}")
        self.socket = RawSocket(self.tls, not server)
        return self.negotiated

    @property
    def resumable(self) -> Resumable | None:
        """What another connection may try to go on with, once something has come on this one."""
        assert self.tls is not None, "there is TLS"
        session = self.tls._connection.get_session()  # noqa: SLF001 - an honest stream has no use for it
        return Resumable(self.tls._context, session) if session is not None else None  # noqa: SLF001 - see above

    @property
    def resumed(self) -> bool:
        """Whether this connection goes on with an earlier one's session."""
        assert self.tls is not None, "there is TLS"
        return bool(lib.SSL_session_reused(self.tls._connection._ssl))  # noqa: SLF001 - pyOpenSSL does not tell

    async def expect_no_tls(self, habits: TlsHabits = HONEST) -> str:
        """The other end breaks TLS off, whether by an alert or at once; what OpenSSL says of it."""
        try:
            await self.secure(habits)
            with self.limited("the end of a TLS connection that should not have come about"):
                rest = await self.socket.receive_end()
        except (ChannelError, Ended) as error:
            self.dialogue.came(f"no TLS: {error}")
            return str(error)
        self.dialogue.came(f"the end after TLS, {len(rest)} bytes")
        if rest:
            raise self.dialogue.mismatch("TLS was to be refused")
        return ""

    async def upgrade(self, **changes: Any) -> None:
        """The WebSocket's opening; `changes` are fields of Opening (dialler) or arguments of `answer` (listener)."""
        if self.role is Role.DIALLER:
            opening = await self.request(**changes)
            answer = await self.expect_head("101")
            if headers_of(answer).get("sec-websocket-accept") != accept_value(opening.key):
                raise self.dialogue.mismatch("the answer to the opening has another Sec-WebSocket-Accept")
        else:
            head = await self.expect_head("GET")
            await self.answer(headers_of(head).get("sec-websocket-key", ""), **changes)

    async def request(self, **changes: Any) -> Opening:
        """Ask for a WebSocket, and wait for nothing."""
        honest = {"path": self.profile.path, "subprotocol": self.profile.subprotocol, "host": self.host}
        opening = Opening(**{**honest, **changes})
        await self.send_raw(opening.encode(), f"{opening.method} {opening.path}")
        return opening

    async def answer(self, key: str, *, status: str = "101 Switching Protocols", **changes: str | None) -> None:
        """Answer an opening. `changes` are header fields, with _ for -; None leaves one out."""
        honest: dict[str, str | None] = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_value(key),
            "Sec-WebSocket-Protocol": self.profile.subprotocol,
        }
        fields = {**honest, **{name.replace("_", "-"): value for name, value in changes.items()}}
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
        await self.send_raw("\r\n".join([*lines, "", ""]).encode("latin-1"), f"HTTP {status}")

    async def expect_head(self, begin: str) -> str:
        """An HTTP request or answer whose first line has `begin` among its words."""
        with self.limited(f"an HTTP head with {begin}"):
            head: str = await self.or_mismatch(self.socket.receive_head, f"an HTTP head with {begin} was expected")
        self.dialogue.came(head.partition("\r\n")[0])
        if begin not in head.partition("\r\n")[0].split():
            raise self.dialogue.mismatch(f"an HTTP head with {begin} was expected")
        return head

    def hold_hands(self) -> Hands:
        """The handshake's messages of this end, on this channel. Nothing is sent."""
        assert self.tls is not None, "the binding is of a TLS connection"
        assert self.negotiated is not None
        binding = ChannelBinding.of(
            self.tls.export,
            alpn=self.negotiated.alpn,
            group=self.negotiated.group,
            own_spki_sha256=self.negotiated.own_spki_sha256,
            peer_spki_sha256=self.negotiated.peer_spki_sha256,
        )
        key, name = self.persona.identity, self.persona.domain
        self.hands = Hands(name=name, key=key, role=self.role, binding=binding, other=self.other)
        return self.hands

    async def shake(self) -> None:
        """The whole handshake, honestly."""
        await self.exchange_hellos()
        if self.role is Role.DIALLER:
            await self.send(self.hands.auth())
            await self.expect_proof()
        else:
            await self.expect_proof()
            await self.send(self.hands.auth())

    async def exchange_hellos(self, **changes: Any) -> None:
        """Both HELLOs; `changes` are arguments of `Hands.hello`."""
        self.hold_hands()
        if self.role is Role.DIALLER:
            await self.send(self.hands.hello(**changes))
            await self.expect_hello()
        else:
            await self.expect_hello()
            await self.send(self.hands.hello(**changes))

    async def expect_hello(self) -> Hello:
        """The other end's HELLO, whose bytes the transcript has from now on."""
        hello, data = await self.expect_with_bytes(Hello)
        self.hands.hellos[self.hands.far] = data
        if self.other and hello.own != self.other:
            raise self.dialogue.mismatch(f"HELLO from {self.other} was expected")
        self.other, self.hands.other = hello.own, hello.own
        self.greeted = hello
        return hello

    async def expect_proof(self) -> Auth:
        """The other end's AUTH, which has to verify."""
        auth = await self.expect(Auth)
        assert self.greeted is not None
        try:
            self.hands.verify(auth, self.greeted.identity)
        except RemoteError as error:
            raise self.dialogue.mismatch(f"the other end's signature is wrong: {error}") from None
        return auth

    async def begin(self) -> Ack:
        """Both streams, honestly: our OPEN and its answer, the other end's OPEN and ours. The answer to our OPEN.

        Batches may come before that answer: they are there for the next `expect`.
        """
        answer: Ack | None = None
        early: list[bytes] = []
        await self.send(Open(stream=self.stream))
        while answer is None or not self.far_stream:
            message, data = await self.expect_with_bytes(Open, Ack, Batch)
            if isinstance(message, Open):
                self.far_stream = message.stream
                await self.send(Ack(stream=message.stream, cursor=self.cursors.get(message.stream, 0)))
            elif isinstance(message, Ack):
                answer = message
            elif self.far_stream:
                early.append(data)
            else:
                raise self.dialogue.mismatch("BATCH before OPEN")
        self.put_back(early)
        return answer


@asynccontextmanager
async def calling(
    persona: Persona, target: Target, *, source: str = "", profile: ChannelProfile = FEDERATION
) -> AsyncIterator[Peer]:
    """A TCP connection to `target`, from the loopback address `source`; cut at the end."""
    tcp = await trio.open_tcp_stream(target.address, target.port, local_address=source or None)
    try:
        yield Peer(
            persona=persona,
            role=Role.DIALLER,
            other=target.domain,
            host=target.host,
            tcp=tcp,
            socket=RawSocket(tcp, client=True),
            dialogue=Dialogue(f"of {persona.domain}, which has called {target.domain}", trio.current_time),
            profile=profile,
        )
    finally:
        await trio.aclose_forcefully(tcp)


@attrs.define(eq=False)
class Door:
    """A port on which a fake is called."""

    persona: Persona
    listener: trio.SocketListener
    profile: ChannelProfile = FEDERATION

    @property
    def port(self) -> int:
        """Where."""
        port: int = self.listener.socket.getsockname()[1]
        return port

    @asynccontextmanager
    async def caller(self, other: str = "", *, patience: float = PATIENCE) -> AsyncIterator[Peer]:
        """The next connection, cut at the end; `other` is who is expected to call."""
        with trio.move_on_after(patience) as scope:
            tcp = await self.listener.accept()
        if scope.cancelled_caught:
            raise Mismatch(f"nobody has called {self.persona.domain} within {patience:g} s")
        try:
            yield Peer(
                persona=self.persona,
                role=Role.ACCEPTOR,
                other=DomainName(other),
                host=self.persona.host,
                tcp=tcp,
                socket=RawSocket(tcp, client=False),
                dialogue=Dialogue(f"of {self.persona.domain}, which was called", trio.current_time),
                profile=self.profile,
            )
        finally:
            await trio.aclose_forcefully(tcp)


@asynccontextmanager
async def listening(
    persona: Persona, address: str = "127.0.0.1", port: int = 0, *, profile: ChannelProfile = FEDERATION
) -> AsyncIterator[Door]:
    """A port on which `persona` is called; whoever calls waits until the script takes the connection."""
    (listener,) = await trio.open_tcp_listeners(port, host=address)
    async with listener:
        yield Door(persona, listener, profile)
