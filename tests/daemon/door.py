"""A door for devices before a homeserver that takes everything at once, and devices whose words tests choose."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from tests.daemon.sites import A, LogTap
from volly_fed.channel import DEVICE, Negotiated
from volly_fed.config.model import Devices
from volly_fed.config.values import HostPort, Listen
from volly_fed.daemon.device_door import DeviceDoor
from volly_fed.daemon.tls import TlsFiles
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, connect_websocket
from volly_fed.edge.registry import Action, HangUp, Offer, Registry, ToDevice
from volly_fed.errors import RemoteError
from volly_fed.names import Fingerprint
from volly_fed.observe.log import Log
from volly_fed.wire import Message, encode_message, parse_message

FINGERPRINT = Fingerprint(bytes([3]) * 32)


@attrs.define
class Edge:
    """A door with a registry behind it, and a homeserver that takes everything at once."""

    devices: Devices
    room: trio.Event = attrs.field(factory=trio.Event)
    log: LogTap = attrs.field(factory=LogTap)
    taken: list[bytes] = attrs.field(factory=list)
    registry: Registry = attrs.field(factory=lambda: Registry(domain=A, edge=FINGERPRINT))
    door: DeviceDoor = attrs.field(init=False)
    port: int = 0

    def __attrs_post_init__(self) -> None:
        self.room.set()
        self.door = DeviceDoor(
            devices=self.devices,
            registry=self.registry,
            perform=self.perform,
            room=self.wait_room,
            log=Log("debug", "json", self.log),
        )

    async def wait_room(self) -> None:
        await self.room.wait()

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case ToDevice(connection, message):
                    self.door.send(connection, message)
                case HangUp(connection, code, text):
                    self.door.hang_up(connection, RemoteError(text, code=code))
                case Offer(items):
                    self.taken += [frame for _, frame in items]
                    self.perform(self.registry.settled([key for key, _ in items], []))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Edge"]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(self.door.serve, listeners)
            yield self
            nursery.cancel_scope.cancel()


@attrs.define
class Client:
    socket: Socket
    negotiated: Negotiated | None
    tcp: trio.SocketStream

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self.socket.send(encode_message(message))

    async def hear(self) -> Message:
        return parse_message(await self.socket.receive())


@asynccontextmanager
async def device(edge: Edge, tls: object = None) -> AsyncIterator[Client]:
    tcp = await trio.open_tcp_stream("127.0.0.1", edge.port)
    stream: trio.abc.Stream = tcp
    negotiated = None
    try:
        if tls is not None:
            stream = secured = PqStream(tcp, tls, "server.test")  # type: ignore[arg-type] # object keeps signatures short
            negotiated = await secured.handshake()
        async with trio.open_nursery() as nursery:
            yield Client(await connect_websocket(nursery, stream, DEVICE, "server.test"), negotiated, tcp)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(tcp)


def plain() -> Edge:
    return Edge(Devices(listen=Listen(HostPort("127.0.0.1", 0)), allow_plain_loopback=True))


def with_tls(files: TlsFiles, *, allow_classical: bool = False) -> Edge:
    return Edge(Devices(tls_certificate=files.certificate, tls_key=files.key, allow_classical=allow_classical))


class Deaf(trio.abc.Stream):
    """Reads only as far as the opening, or for `until` times."""

    def __init__(self, stream: trio.abc.Stream, until: int = 1) -> None:
        self.stream, self.heard, self.until = stream, 0, until

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.heard += 1
        if self.heard > self.until:
            await trio.sleep_forever()
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()
