"""Where devices connect to an edge node: WebSockets over TLS, or plain on loopback, each with a reader and a writer.

in: sockets of devices; out: their messages for the registry, and what the registry sends them.
Never: reads a device faster than the homeserver takes its messages, or lets a slow device hold up another.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import DEVICE, DEVICE_CLASSICAL, ChannelProfile, check_negotiated
from volly_fed.codepoints import ErrorCode
from volly_fed.config.model import Devices
from volly_fed.daemon.acceptor import Acceptor, address_of
from volly_fed.daemon.admission import Admission
from volly_fed.daemon.tls import TlsContext, TlsFiles, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, accept_websocket
from volly_fed.edge.outbox import Outbox
from volly_fed.edge.registry import Action, Registry
from volly_fed.errors import ChannelError, LocalError, RemoteError
from volly_fed.observe.log import Log
from volly_fed.wire import Message, encode_message, parse_message

_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1


@attrs.define
class _Device:
    """One connection: what waits to be sent, and its end."""

    outbox: Outbox = attrs.field(factory=Outbox)
    work: trio.Event = attrs.field(factory=trio.Event)
    overflown: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(kw_only=True)
class DeviceDoor:
    """The listener for devices of one edge node."""

    devices: Devices
    registry: Registry
    perform: Callable[[list[Action]], None]
    room: Callable[[], Awaitable[None]]
    log: Log
    _tls: "DeviceTls | None" = attrs.field(init=False)
    _admission: Admission = attrs.field(factory=Admission, init=False)
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
        await self._acceptor.serve(listeners, task_status=task_status)

    def stop(self) -> None:
        """Accept nobody any more."""
        self._acceptor.stop()

    def send(self, connection: int, message: Message) -> None:
        """Queue `message` for a device; one whose queue is full is disconnected, its envelopes stay where they are."""
        device = self._connections.get(connection)
        if device is not None:
            if not device.outbox.offer(encode_message(message)):
                device.overflown.set()
            device.work.set()

    def _not_reloaded(self, reason: str) -> None:
        self.log.reload_failed(reason=reason)

    async def _welcome(self, stream: trio.SocketStream) -> None:
        address = address_of(stream)
        if not address:  # gone already
            await trio.aclose_forcefully(stream)
            return
        try:
            async with trio.open_nursery() as nursery:
                socket = None  # as it stays, where a stranger has to give way
                with self._admission.stranger(address) as stranger:
                    socket = None if stranger.objection else await self._open(nursery, stream)
                if socket is not None:
                    await self._serve_device(socket, address)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _open(self, nursery: trio.Nursery, stream: trio.SocketStream) -> Socket | None:
        try:
            with trio.fail_after(limits.TLS_HANDSHAKE):
                channel: trio.abc.Stream = stream
                if self._tls is not None:
                    channel = tls = PqStream(stream, self._tls.context())
                    check_negotiated(self._tls.profile, await tls.handshake())
                return await accept_websocket(nursery, channel, DEVICE)
        except (ChannelError, trio.TooSlowError):
            self.log.device_refused(address=address_of(stream), code="CHANNEL")
        except LocalError as error:
            self.log.defect(reason=str(error))
        return None

    async def _serve_device(self, socket: Socket, address: str) -> None:
        self._last += 1
        number = self._last
        try:
            welcome = self.registry.connect(number)
        except RemoteError as error:
            self.log.device_refused(address=address, code=error.code.name)
            await socket.aclose(_POLICY_VIOLATION, str(error))
            return
        device = self._connections[number] = _Device()
        self.log.device_up(address=address)
        self.send(number, welcome)
        code = ErrorCode.NONE
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, device, socket, nursery.cancel_scope)
                nursery.start_soon(_cut_off, device, nursery.cancel_scope)
                code = await self._read(number, socket)
                nursery.cancel_scope.cancel()
        finally:
            del self._connections[number]
            self.perform(self.registry.disconnect(number))
            self.log.device_down(address=address, code=code.name)

    async def _read(self, number: int, socket: Socket) -> ErrorCode:
        try:
            while True:
                message = parse_message(await _hear(socket))
                await self.room()
                self.perform(self.registry.receive_device(number, message, time.time()))
        except trio.EndOfChannel:
            return ErrorCode.NONE
        except ChannelError as error:
            return error.code
        except RemoteError as error:
            with trio.move_on_after(limits.CLOSE, shield=True):
                await socket.aclose(_POLICY_VIOLATION, str(error))
            return error.code

    async def _write(self, device: _Device, socket: Socket, connection: trio.CancelScope) -> None:
        try:
            while not device.overflown.is_set():
                for data in device.outbox.take():
                    with trio.fail_after(limits.SEND):
                        await socket.send(data)
                if not len(device.outbox):
                    await device.work.wait()
                    device.work = trio.Event()
            await socket.aclose(_POLICY_VIOLATION, "this device does not keep up; note: connect again")
        except (ChannelError, trio.TooSlowError):
            pass  # nobody is there to be told
        connection.cancel()


async def _cut_off(device: _Device, connection: trio.CancelScope) -> None:
    """End the connection of a device that does not keep up: its writer may be stuck, and cannot."""
    await device.overflown.wait()
    await trio.sleep(limits.CLOSE)
    connection.cancel()


async def _hear(socket: Socket) -> bytes:
    """The next message. Raises like `Socket.receive`, and ChannelError after limits.DEVICE_SILENCE without one."""
    with trio.move_on_after(limits.DEVICE_SILENCE):
        return await socket.receive()
    raise ChannelError("no sign of the device", code=ErrorCode.TIMEOUT)


@attrs.define
class DeviceTls:
    """The certificate for devices; made anew when one of its files has changed."""

    files: TlsFiles
    classical: bool
    complain: Callable[[str], None]
    """Told why a changed certificate cannot be used; the former one stays."""
    _context: TlsContext | None = attrs.field(default=None, init=False)
    _stamp: tuple[tuple[int, ...], ...] = attrs.field(default=(), init=False)

    @classmethod
    def of(cls, devices: Devices, complain: Callable[[str], None]) -> "DeviceTls | None":
        """As configured; None for plain WebSockets on loopback. Raises LocalError for files that cannot be used."""
        if devices.tls_certificate is None or devices.tls_key is None:
            return None
        tls = cls(TlsFiles(certificate=devices.tls_certificate, key=devices.tls_key), devices.allow_classical, complain)
        tls.context()
        return tls

    @property
    def profile(self) -> ChannelProfile:
        """What a device's channel must be."""
        return DEVICE_CLASSICAL if self.classical else DEVICE

    def context(self) -> TlsContext:
        """The settings for the next connection; those of the last certificate that could be used."""
        stamp = tuple(_stamp(path) for path in (self.files.certificate, self.files.key))
        if self._context is None or stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = make_context(self.profile, server=True, identity=self.files)
            except LocalError as error:
                if self._context is None:
                    raise
                self.complain(str(error))
        return self._context


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does; the time alone stands still for milliseconds."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
