"""The HTTP face on its sockets: hypercorn's trio worker, one request per connection, everything bounded.

in: listening sockets, an ASGI application; out: HTTP.
Never: takes more connections, bytes or time than limits_http says, whatever clients do; lets one outlive the process.

`hypercorn.trio.serve` bounds neither the number of connections nor how long one that reads nothing may last, so its
connection handler is used and the accepting is ours.
"""

from contextlib import suppress

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from volly_fed import limits_http
from volly_fed.daemon.http.bounded import Bounded


def _config() -> Config:
    config = Config()
    config.errorlog = config.accesslog = None  # what goes wrong in the application, it says itself
    config.include_server_header = False
    config.keep_alive_max_requests = 1
    config.h11_max_incomplete_size = limits_http.REQUEST
    config.alpn_protocols = ["http/1.1"]
    return config


class HttpServer:
    """Serves `app` until cancelled."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = ASGIWrapper(app)
        self._config = _config()
        self._open: set[trio.SocketStream] = set()
        self._places = trio.CapacityLimiter(limits_http.CONNECTIONS)

    async def serve(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer on all of `listeners`; who finds no place waits in the kernel's queue."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, nursery, listener)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                for stream in self._open:  # hypercorn does not hear a cancellation while it sends
                    stream.socket.close()

    async def _accept(self, nursery: trio.Nursery, listener: trio.SocketListener) -> None:
        while True:
            place = object()
            await self._places.acquire_on_behalf_of(place)
            try:
                stream = await listener.accept()
            except OSError:  # no descriptors are left: the places of others will be
                self._places.release_on_behalf_of(place)
                await trio.sleep(limits_http.PAGE_REFRESH)
                continue
            nursery.start_soon(self._serve, stream, place)

    async def _serve(self, stream: trio.SocketStream, place: object) -> None:
        self._open.add(stream)
        try:
            with trio.move_on_after(limits_http.CONNECTION_TIME), suppress(OSError, trio.BrokenResourceError):
                server = TCPServer(
                    self._app,
                    self._config,
                    WorkerContext(None),
                    ConnectionState({}),
                    Bounded(stream),  # type: ignore[arg-type]  # it says SSLStream, and takes any stream
                )
                await server.run()
        finally:
            self._open.remove(stream)
            self._places.release_on_behalf_of(place)
            await trio.aclose_forcefully(stream)
