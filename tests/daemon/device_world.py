"""One domain on loopback: edge registry and homeserver claims behind a real WebSocket, with a list as the store.

The glue is what a daemon needs: actions in, messages out. Everything behind it is the product's.
"""

import os
import time
from collections import defaultdict
from functools import partial

import attrs
import trio

from tests.edge.net import by_mailbox
from tests.edge.shows import Hub
from volly_fed.channel import DEVICE
from volly_fed.client import DeviceKeys
from volly_fed.client.seal import Content, seal
from volly_fed.codepoints import ErrorCode, TrustLevel
from volly_fed.daemon.device.link import PlainEdge
from volly_fed.daemon.tls import TlsContext
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, accept_websocket
from volly_fed.edge import claims as hs
from volly_fed.edge import registry as node
from volly_fed.edge.admission import REFUSAL, decide_admission
from volly_fed.edge.claims import Claims
from volly_fed.edge.delivery import Row
from volly_fed.edge.registration import parse_registration
from volly_fed.edge.registry import Registry
from volly_fed.errors import RemoteError
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.relay.envelope import encode_envelope, parse_envelope
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Receipt
from volly_fed.wire.presence import Shown, Unwatch

EDGE = Fingerprint(b"e" * 32)
LINK = 1


@attrs.define(eq=False)
class DeviceWorld:
    """`deaf` swallows acknowledgements; `remote_refuses` accepts for other domains and refuses later."""

    domain: DomainName
    tls: TlsContext | None = None
    hub: Hub = attrs.field(init=False)
    claims: Claims = attrs.field(init=False)
    registry: Registry = attrs.field(init=False)
    rows: list[tuple[MailboxId, Row]] = attrs.field(factory=list)
    registrations: dict[MailboxId, bytes] = attrs.field(factory=dict)
    seen: set[bytes] = attrs.field(factory=set)
    elsewhere: list[bytes] = attrs.field(factory=list)
    wire: list[tuple[str, Message]] = attrs.field(factory=list)
    deaf: bool = False
    settle: bool = True
    port: int = 0
    sockets: dict[int, Socket] = attrs.field(factory=dict)
    _outbox: dict[int, trio.MemorySendChannel[bytes]] = attrs.field(factory=dict)
    _changed: dict[str, trio.Event] = attrs.field(factory=lambda: defaultdict(trio.Event))
    _connections: int = 0
    _last_row: int = 0

    def __attrs_post_init__(self) -> None:
        self.hub = Hub(self.domain)
        self.claims = Claims(self.domain)
        self.claims.add_link(LINK, EDGE)
        self.registry = Registry(domain=self.domain, edge=EDGE)
        self.registry.link_up()

    @property
    def way(self) -> PlainEdge:
        return PlainEdge("127.0.0.1", self.port)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self._serve_one, listeners))
            task_status.started()

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            try:
                transport: trio.abc.Stream = stream
                if self.tls is not None:
                    transport = PqStream(stream, self.tls)
                    await transport.handshake()
                socket = await accept_websocket(nursery, transport, DEVICE)
                await self._device(socket, nursery)
            except (RemoteError, trio.EndOfChannel, trio.BrokenResourceError):
                pass
            nursery.cancel_scope.cancel()

    async def _device(self, socket: Socket, nursery: trio.Nursery) -> None:
        self._connections += 1
        number = self._connections
        self.sockets[number] = socket
        self._outbox[number], receive = trio.open_memory_channel[bytes](1000)
        nursery.start_soon(self._write, socket, receive)
        try:
            self._tell(number, self.registry.connect(number))
            while True:
                message = parse_message(await socket.receive())
                self.wire.append(("up", message))
                self.note("up")
                self.at_edge(self.registry.receive_device(number, message, time.time()))
        finally:
            del self._outbox[number]
            del self.sockets[number]
            self.at_edge(self.registry.disconnect(number))
            with trio.CancelScope(shield=True):
                await socket.aclose()

    async def _write(self, socket: Socket, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        try:
            async for data in receive:
                await socket.send(data)
        except RemoteError:
            pass

    def _tell(self, connection: int, message: Message) -> None:
        self.wire.append(("down", message))
        if connection in self._outbox:
            self._outbox[connection].send_nowait(encode_message(message))

    # --- edge glue

    def at_edge(self, actions: list[node.Action]) -> None:
        for action in actions:
            match action:
                case node.ToDevice():
                    self._tell(action.connection, action.message)
                case node.ToHomeserver():
                    if self.deaf and type(action.message).__name__ == "Acknowledge":
                        self.note("unheard")
                        continue
                    now = time.time()
                    self.at_homeserver(self.claims.receive(LINK, action.message, now=now, random=os.urandom))
                case node.Offer():
                    self._commit(action.items)
                case node.Feed():
                    self._feed(action.connection)
                case node.Speak():
                    self._speak()
        self._deliver()

    def _feed(self, connection: int) -> None:
        while (frame := self.registry.presence.next_shown(connection)) is not None:
            self.wire.append(("down", parse_message(frame)))
            if connection in self._outbox:
                self._outbox[connection].send_nowait(frame)

    def _speak(self) -> None:
        while (message := self.registry.presence.next_owed()) is not None:
            self.wire.append(("owed", message))
            self.note("owed")
            self.show(self.hub.receive(message, time.time()))

    def show(self, messages: list[Shown | Unwatch]) -> None:
        """The homeserver hands these on."""
        for message in messages:
            self.at_edge(self.registry.receive_homeserver(message, time.time()))

    # --- homeserver glue

    def at_homeserver(self, actions: list[hs.Action]) -> None:
        for action in actions:
            match action:
                case hs.ToEdge():
                    self.at_edge(self.registry.receive_homeserver(action.message))
                case hs.Register():
                    self.registrations[action.claimed.mailbox] = action.claimed.registration_bytes
                    self.at_homeserver(self.claims.registered(action))
                case hs.Delete():
                    self.rows = [(m, row) for m, row in self.rows if row.row not in action.rows]
                    self.note("deleted")

    def _deliver(self) -> None:
        while (read := self.claims.next_read(LINK)) is not None:
            wanted = (read.mailbox, read.lane.urgency)
            rows = [row for m, row in self.rows if (m, row.urgency) == wanted and row.row > read.after]
            self.claims.give_read(read, rows[: read.limit])
            self._pass_on()

    def _pass_on(self) -> None:
        while (message := self.claims.next_delivery(LINK)) is not None:
            self.at_homeserver([hs.ToEdge(LINK, message)])

    def _commit(self, items: list[tuple[int, bytes]]) -> None:
        refused: list[tuple[int, ErrorCode, str]] = []
        stored: list[tuple[MailboxId, Row]] = []
        for key, frame in items:
            envelope = parse_envelope(frame)
            if envelope.domain != self.domain:
                self.elsewhere.append(frame)
                continue
            raw = self.registrations.get(envelope.mailbox)
            decision = decide_admission(
                parse_registration(raw) if raw is not None else None,
                envelope.capability,
                self.domain,
                own=self.domain,
                level=TrustLevel.FULL,
            )
            if not decision.allowed:
                refused.append((key, *REFUSAL))
            elif envelope.id not in self.seen:
                self.seen.add(envelope.id)
                stored.append((envelope.mailbox, self._row(envelope.id, frame)))
        self.rows += stored
        if self.settle:
            self.at_edge(self.registry.settled([key for key, _ in items], refused))
        self.claims.stored(by_mailbox(stored))
        self._pass_on()

    def _row(self, envelope_id: bytes, frame: bytes) -> Row:
        self._last_row += 1
        return Row(self._last_row, envelope_id, frame)

    # --- for tests

    def put(self, sender: DeviceKeys, to: DeviceKeys, text: str, frame: bytes | None = None) -> bytes:
        """Store a message as if it had come from a peer; its frame."""
        if frame is None:
            content = Content(sent_at=int(time.time()), text=text)
            expiry = int(time.time()) + 3600
            envelope = seal(content, identity=sender.identity, to=to.card(), envelope_id=os.urandom(16), expiry=expiry)
            frame = encode_envelope(envelope)
        envelope = parse_envelope(frame)
        rows = [(envelope.mailbox, self._row(envelope.id, frame))]
        self.rows += rows
        self.claims.stored(by_mailbox(rows))
        self._pass_on()
        self._deliver()
        return frame

    def refuse_late(self, envelope_id: bytes) -> None:
        self.at_edge(self.registry.receive_homeserver(Receipt(refused=((envelope_id, *REFUSAL),))))

    def note(self, what: str) -> None:
        self._changed.pop(what, trio.Event()).set()

    async def changed(self, what: str) -> None:
        """Until `what` happens next."""
        await self._changed[what].wait()
