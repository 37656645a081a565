"""A generator's connection to a homeserver: proved like any other, and then messages, without a session machine.

in: the configuration of an enrolled edge; out: a Line of messages.
The session machine keeps a Python object for every envelope, for its owner's sake; a generator has no such owner.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from volly_fed.channel import EDGE, Negotiated
from volly_fed.daemon import material
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.tls import make_context
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import Fingerprint
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Ack, Close, Open, Ping, Pong


@attrs.define
class Line:
    """An open link; any task may send. What ends it, ends `messages`, and nothing else."""

    socket: Socket
    ended: str = attrs.field(default="", init=False)
    """Why, once it has."""
    _sending: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def send(self, data: bytes) -> None:
        """Send one encoded message."""
        with suppress(ChannelError):  # who reads is told
            async with self._sending:
                await self.socket.send(data)

    async def say(self, message: Message) -> None:
        """Encode and send."""
        await self.send(encode_message(message))

    async def messages(self) -> AsyncIterator[Message]:
        """All that come, until the link ends; PING and OPEN are answered here."""
        while not self.ended:
            try:
                message = parse_message(await self.socket.receive())
            except (ChannelError, trio.EndOfChannel) as error:
                self.ended = str(error) or "closed"
                return
            if isinstance(message, Ping):
                await self.say(Pong(token=message.token))
            elif isinstance(message, Open):  # a stream that stays empty
                await self.say(Ack(stream=message.stream, cursor=0))
            elif isinstance(message, Close):
                self.ended = f"{message.code.name} {message.text}"
            else:
                yield message


@attrs.frozen(kw_only=True)
class EdgeKeys:
    """What an edge node proves itself with, and to whom."""

    plan: Dialled
    host: str
    port: int
    fingerprint: Fingerprint

    @classmethod
    def load(cls, config_path: Path) -> "EdgeKeys":
        """Those of an enrolled edge node that is not running."""
        edge = material.read_edge_config(config_path).edge
        keys = material.load_material(edge.data_dir)
        plan = Dialled(
            context=make_context(EDGE, server=False, identity=tls_identity(keys)),
            party=Party(name=edge.name, key=keys.identity),
            host=edge.homeserver.host,
            wanted=edge.domain,
            expected=frozenset({edge.homeserver_identity}),
            check_key=any_key,
            confirm=confirmed,
            use=_unused,
        )
        return cls(plan=plan, host=edge.homeserver.host, port=edge.homeserver.port, fingerprint=keys.fingerprint)

    async def call(self, use: Callable[[Line], Awaitable[None]]) -> None:
        """Connect, prove, and run `use`; raises what `daemon.connection.dial` raises, or OSError."""

        async def with_line(connection: Connection) -> None:
            await use(Line(connection.socket))

        stream = await trio.open_tcp_stream(self.host, self.port)
        await dial(stream, attrs.evolve(self.plan, use=with_line))


def any_key(_: Negotiated) -> None:
    """AUTH proves the identity on this very channel."""


async def confirmed(_: Outcome) -> None:
    """The identity was the expected one."""


async def _unused(_: Connection) -> None:
    raise AssertionError("each call brings its own")
