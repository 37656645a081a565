"""Edge nodes in the test's process: scripted ones, and real ones behind a link that fails on demand."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import attrs
import trio

from tests.daemon.sites import CAPABILITY, A, LogTap, Site, material, sites
from volly_fed.channel import EDGE, Negotiated
from volly_fed.config.model import Devices, EdgeConfig
from volly_fed.config.model import Edge as EdgeSection
from volly_fed.config.values import HostPort, Listen, Remote
from volly_fed.crypto.kem import MailboxKey, mailbox_id
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.connection import Connection, Dialled, dial
from volly_fed.daemon.credentials import tls_identity
from volly_fed.daemon.device.link import PlainEdge
from volly_fed.daemon.edge_node import EdgeNode
from volly_fed.daemon.tls import TlsContext, make_context
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.edge.registration import encode_registration, make_registration
from volly_fed.edge.registry import Registry
from volly_fed.errors import ChannelError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName, MailboxId
from volly_fed.observe.log import Log
from volly_fed.relay.envelope import parse_envelope
from volly_fed.testing.link_shim import LinkShim
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Acknowledge, Challenge, Claim, Open

E1, E2 = DomainName("edge-1"), DomainName("edge-2")


@cache
def context(name: DomainName) -> TlsContext:
    return make_context(EDGE, server=False, identity=tls_identity(material(name)))


@attrs.define
class Edge:
    """An edge whose every message a test writes and reads; `hear` passes over the session's own."""

    connection: Connection
    key: MailboxKey = attrs.field(factory=lambda: MailboxKey.generate(os.urandom))
    acknowledge_key: Secret | None = None

    @property
    def mailbox(self) -> MailboxId:
        return mailbox_id(self.key.public)

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self.connection.socket.send(encode_message(message))

    async def hear(self) -> Message:
        while True:
            message = parse_message(await self.connection.socket.receive())
            if not isinstance(message, Open):
                return message

    async def ask(self, request: int = 1, *, name: DomainName = E1) -> Message:
        """Claim the mailbox; the answer to its proof."""
        await self.say(Claim(request=request, key=self.key.public))
        challenge = await self.hear()
        assert isinstance(challenge, Challenge)
        registration = encode_registration(make_registration({CAPABILITY: ("*",)}))
        fingerprint = material(name).fingerprint
        proof, self.acknowledge_key = answer_challenge(
            self.key, challenge, registration, domain=A, edge=fingerprint, now=time.time()
        )
        await self.say(proof)
        return await self.hear()

    def acknowledge(self, *frames: bytes) -> Acknowledge:
        assert self.acknowledge_key is not None
        received = [(parse_envelope(frame).id, frame_digest(frame)) for frame in frames]
        return make_acknowledge(self.acknowledge_key, self.mailbox, received)

    async def over(self) -> list[Message]:
        """All until the homeserver closes."""
        heard: list[Message] = []
        try:
            while True:
                heard.append(await self.hear())
        except (trio.EndOfChannel, ChannelError):
            return heard


@asynccontextmanager
async def home(site: Site, *names: DomainName) -> AsyncIterator[int]:
    """A running homeserver with these edges enrolled; its port for them."""
    async with site.running(), trio.open_nursery() as nursery:
        site.server.edges.enrolled = lambda: [(name, material(name).fingerprint) for name in names]
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port: int = listeners[0].socket.getsockname()[1]
        await nursery.start(site.server._listeners()[1].serve, listeners)
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def edge(port: int, name: DomainName = E1, *, wanted: DomainName = A) -> AsyncIterator[Edge]:
    linked, done = trio.Event(), trio.Event()
    found: list[Edge] = []

    async def use(connection: Connection) -> None:
        found.append(Edge(connection))
        linked.set()
        await done.wait()

    def any_key(_: Negotiated) -> None:
        pass

    async def confirm(_: Outcome) -> None:
        pass

    plan = Dialled(
        context=context(name),
        party=Party(name=name, key=material(name).identity),
        host="127.0.0.1",
        wanted=wanted,
        expected=frozenset({material(wanted).fingerprint}),
        check_key=any_key,
        confirm=confirm,
        use=use,
    )
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial, stream, plan)
        await linked.wait()
        yield found[0]
        nursery.cancel_scope.cancel()


def one(tmp_path: Path) -> Site:
    (a,) = sites(tmp_path, A)
    return a


async def stored(a: Site, mailbox: MailboxId) -> list[bytes]:
    return [row.frame for row in await a.store.read_mailbox(mailbox)]


# --- real ones -------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class RunningNode:
    """An edge node that devices can use; `shim` is its way to the homeserver, `front` the devices' way to it."""

    node: EdgeNode
    shim: LinkShim
    front: LinkShim
    way: PlainEdge
    log: LogTap
    scope: trio.CancelScope

    def kill(self) -> None:
        """As SIGKILL looks from outside: no goodbye to anybody."""
        self.shim.reset()
        self.front.reset()
        self.front.refuse()
        self.scope.cancel()


@asynccontextmanager
async def edge_node(port: int, name: DomainName = E1) -> AsyncIterator[RunningNode]:
    """A real edge node, linked to the homeserver at `port`."""
    shim, log = LinkShim(("127.0.0.1", port)), LogTap()
    async with trio.open_nursery() as outside:
        host, shim_port = await outside.start(shim.serve)
        section = EdgeSection(
            name=name,
            domain=A,
            homeserver=Remote(HostPort(host, shim_port)),
            homeserver_identity=material(A).fingerprint,
        )
        devices = Devices(listen=Listen(HostPort("127.0.0.1", 0)), allow_plain_loopback=True)
        node = EdgeNode(
            config=EdgeConfig(edge=section, devices=devices),
            keys=material(name),
            log=Log("debug", "json", log),
            context=context(name),
            registry=Registry(domain=A, edge=material(name).fingerprint),
            path=Path("edge.toml"),
        )
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        front = LinkShim(("127.0.0.1", listeners[0].socket.getsockname()[1]))
        way = PlainEdge(*await outside.start(front.serve))
        scope = await outside.start(_run, node, listeners)
        await log.wait("homeserver_up")
        yield RunningNode(node, shim, front, way, log, scope)
        outside.cancel_scope.cancel()


async def _run(
    node: EdgeNode, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node._keep_link)
        await nursery.start(node.door.serve, listeners)
        task_status.started(nursery.cancel_scope)
