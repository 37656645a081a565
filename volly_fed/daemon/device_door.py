"""Where devices connect to an edge node: WebSockets over TLS, or plain on loopback, each with a reader and a writer.

in: sockets of devices; out: their messages for the registry, and what the registry sends them.
Never: reads a device faster than the homeserver takes its messages, or lets a slow device hold up another.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import DEVICE
from volly_fed.codepoints import ErrorCode
from volly_fed.config.model import Devices
from volly_fed.daemon.acceptor import Acceptor, address_of
from volly_fed.daemon.admission import Admission
from volly_fed.daemon.device_tls import DeviceTls
from volly_fed.daemon.metered import Metered
from volly_fed.daemon.socket_stream import direct
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, accept_websocket
from volly_fed.edge.outbox import Outbox, Pool
from volly_fed.edge.registry import Action, Registry
from volly_fed.edge.visitors import Visitors
from volly_fed.errors import ChannelError, LocalError, RemoteError
from volly_fed.observe.log import Log
from volly_fed.session import closing
from volly_fed.wire import Message, parse_message

_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1
_TOO_SLOW = "this device does not keep up; note: connect again, nothing is lost"


@attrs.define
class _Device:
    """One connection: what waits to be sent, and its end."""

    outbox: Outbox
    work: trio.Event = attrs.field(factory=trio.Event)
    farewell: RemoteError | None = None
    """Why it is to end."""
    leaving: trio.Event = attrs.field(factory=trio.Event)

    def leave(self, why: RemoteError) -> None:
        """End the connection, and tell the device why."""
        if self.farewell is None:
            self.farewell = why
            self.leaving.set()
            self.work.set()


@attrs.define(kw_only=True)
class DeviceDoor:
    """The listener for devices of one edge node."""

    devices: Devices
    registry: Registry
    perform: Callable[[list[Action]], None]
    room: Callable[[], Awaitable[None]]
    log: Log
    _tls: DeviceTls | None = attrs.field(init=False)
    _admission: Admission = attrs.field(factory=Admission, init=False)
    _visitors: Visitors = attrs.field(factory=Visitors, init=False)
    _pool: Pool = attrs.field(factory=Pool, init=False)
    _connections: dict[int, _Device] = attrs.field(factory=dict, init=False, repr=False)
    _last: int = attrs.field(default=0, init=False)
    _acceptor: Acceptor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tls = DeviceTls.of(self.devices, self._not_reloaded)
        self._acceptor = Acceptor(self._welcome)

    async def serve(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept devices until `stop`; see `Acceptor.serve`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            await self._acceptor.serve(listeners, task_status=task_status)
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Accept nobody any more."""
        self._acceptor.stop()

    def send(self, connection: int, message: Message) -> None:
        """Queue `message` for a device; one whose queue is full is disconnected, its envelopes stay where they are."""
        device = self._connections.get(connection)
        if device is not None:
            if not device.outbox.offer(message):
                device.leave(RemoteError(_TOO_SLOW, code=ErrorCode.OVERLOADED))
            device.work.set()

    def feed(self, connection: int) -> None:
        """`Registry.next_shown` has something for this device; its writer asks for it when nothing else waits."""
        device = self._connections.get(connection)
        if device is not None:
            device.work.set()

    def hang_up(self, connection: int, why: RemoteError) -> None:
        """End a connection, and tell the device why."""
        device = self._connections.get(connection)
        if device is not None:
            device.leave(why)

    def configure(self, devices: Devices) -> None:
        """Show these files and keep to these settings from the next connection on; `listen` stays what it is.

        Raises LocalError for files that cannot be used; then nothing has changed.
        """
        self._tls = DeviceTls.of(devices, self._not_reloaded)
        self.devices = devices

    def __len__(self) -> int:
        """How many connections of devices there are."""
        return len(self._connections)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(limits.DEVICE_SWEEP)
            self.perform(self.registry.tick(trio.current_time()))

    def _not_reloaded(self, reason: str) -> None:
        self.log.reload_failed(reason=reason)

    async def _welcome(self, stream: trio.SocketStream) -> None:
        address = address_of(stream)
        if not address or not self._visitors.knock(address, trio.current_time()):  # gone already, or one of a flood
            await trio.aclose_forcefully(stream)
            return
        metered = Metered(direct(stream), limit=limits.DEVICE_FIRST_BYTES)
        try:
            async with trio.open_nursery() as nursery:
                socket = None  # as it stays, where a stranger has to give way
                with self._admission.stranger(address) as stranger:
                    socket = None if stranger.objection else await self._open(nursery, metered, address)
                if socket is not None:
                    await self._serve_device(socket, metered, address)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _open(self, nursery: trio.Nursery, stream: Metered, address: str) -> Socket | None:
        try:
            with trio.fail_after(limits.TLS_HANDSHAKE):
                channel: trio.abc.Stream = stream
                if self._tls is not None:
                    channel = tls = PqStream(stream, self._tls.context())
                    await tls.handshake()
                return await accept_websocket(nursery, channel, DEVICE)
        except (ChannelError, trio.TooSlowError):
            self.log.device_refused(address=address, code="CHANNEL")
        except LocalError as error:
            self.log.defect(reason=str(error))
        return None

    async def _serve_device(self, socket: Socket, metered: Metered, address: str) -> None:
        if not self._visitors.enter(address):
            await self._turn_away(socket, address, _crowded())
            return
        self._last += 1
        number = self._last
        code = ErrorCode.NONE
        try:
            welcome = self.registry.connect(number)
            device = self._connections[number] = _Device(Outbox(self._pool))
            self.log.device_up(address=address)
            self.send(number, welcome)
            async with trio.open_nursery() as nursery:
                shown = partial(self.registry.presence.next_shown, number)
                nursery.start_soon(_write, device, shown, socket, nursery.cancel_scope)
                nursery.start_soon(_cut_off, device, nursery.cancel_scope)
                code = await self._read(number, device, socket, metered)
                nursery.cancel_scope.cancel()
        except RemoteError as error:
            await self._turn_away(socket, address, error)
        finally:
            self._visitors.leave(address)
            if number in self._connections:
                device = self._connections.pop(number)
                device.outbox.clear()
                self.perform(self.registry.disconnect(number))
                self.log.device_down(address=address, code=(device.farewell or RemoteError("", code=code)).code.name)

    async def _turn_away(self, socket: Socket, address: str, why: RemoteError) -> None:
        self.log.device_refused(address=address, code=why.code.name)
        await _part(socket, why)

    async def _read(self, number: int, device: _Device, socket: Socket, metered: Metered) -> ErrorCode:
        try:
            while device.farewell is None:
                message = parse_message(await _hear(socket))
                metered.trust()
                await self.room()
                self.perform(self.registry.receive_device(number, message, time.time()))
        except trio.EndOfChannel:
            return ErrorCode.NONE
        except ChannelError as error:
            return error.code
        except RemoteError as error:
            device.leave(error)
        await trio.sleep_forever()  # until the writer has said why, or could not
        raise AssertionError("sleeps for ever")


async def _write(
    device: _Device, shown: Callable[[], bytes | None], socket: Socket, connection: trio.CancelScope
) -> None:
    try:
        while device.farewell is None or device.farewell.code is not ErrorCode.OVERLOADED:
            data = device.outbox.next()
            if data is None and device.farewell is None:
                data = shown()
            if data is not None:
                with trio.fail_after(limits.SEND):
                    await socket.send(data)
            elif device.farewell is not None:
                break
            else:
                await device.work.wait()
                device.work = trio.Event()
        await _part(socket, device.farewell)
    except (ChannelError, trio.TooSlowError):
        pass  # nobody is there to be told
    connection.cancel()


async def _part(socket: Socket, why: RemoteError) -> None:
    """Tell a device why, and close: in its own protocol, and for who looks at the WebSocket only."""
    with trio.move_on_after(limits.CLOSE), suppress(ChannelError):
        await socket.send(closing(why))
    await socket.aclose(_POLICY_VIOLATION, str(why))  # [wire-26]


async def _cut_off(device: _Device, connection: trio.CancelScope) -> None:
    """End the connection of a device that is to leave: its writer may be stuck, and cannot."""
    await device.leaving.wait()
    await trio.sleep(2 * limits.CLOSE)
    connection.cancel()


def _crowded() -> RemoteError:
    text = "too many devices are connected from this address; note: try again later"
    return RemoteError(text, code=ErrorCode.BUSY, retry_after=limits.DEVICE_BUSY)


async def _hear(socket: Socket) -> bytes:
    """The next message. Raises like `Socket.receive`, and ChannelError after limits.DEVICE_SILENCE without one."""
    with trio.move_on_after(limits.DEVICE_SILENCE):
        return await socket.receive()
    raise ChannelError("no sign of the device", code=ErrorCode.TIMEOUT)
