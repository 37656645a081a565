"""The HTTP face of a process, if its configuration wants one.

in: the [http] section, a Face; out: listening sockets, an HTTP server.
Never: loads an HTTP server or a metrics library into a process that serves none.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from volly_fed.config.model import Http
from volly_fed.daemon.http.face import Face
from volly_fed.daemon.listen import listening
from volly_fed.observe.log import Log


@asynccontextmanager
async def http_listening(http: Http) -> AsyncIterator[list[trio.SocketListener]]:
    """Sockets on `http.listen`, closed on the way out; none where it is not set. Raises LocalError."""
    if http.listen is None:
        yield []
        return
    async with listening(http.listen, "http.listen") as listeners:
        yield listeners


async def serve_http(
    http: Http,
    listeners: list[trio.SocketListener],
    face: Face,
    log: Log,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer for `face` until cancelled; nothing where there are no `listeners`."""
    if not listeners:
        task_status.started()
        return
    # not above: they take 5 MiB and a quarter of a second
    from volly_fed.daemon.http.app import App, names_of
    from volly_fed.daemon.http.server import HttpServer

    await HttpServer(App(face, names_of(http), log)).serve(listeners, task_status=task_status)
