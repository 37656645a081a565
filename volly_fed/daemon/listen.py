"""Sockets to listen on, with errors that name the address and the option it comes from.

in: an address of the configuration; out: trio listeners, all of them or none.
Never: leaves one family listening when the other failed.
"""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from volly_fed.config.values import HostPort
from volly_fed.errors import LocalError

_STEPS = {
    errno.EADDRINUSE: "another process listens there (`ss -ltnp` shows which); stop it, or change {option}",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; change {option}",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; change {option}, or grant it",
}


async def open_listeners(address: HostPort, option: str) -> list[trio.SocketListener]:
    """Listeners on `address`; `option` is the key of the configuration to name in errors. Raises LocalError.

    Resource handling: the caller closes them; `trio.serve_listeners` does, once it runs. See `listening`.
    """
    try:
        return await trio.open_tcp_listeners(address.port, host=address.bind_host)
    except OSError as error:
        number = _number(error)
        step = _STEPS.get(number, "change {option}").format(option=option)
        words = os.strerror(number).lower() if number else str(error)
        raise LocalError(f"cannot listen on {address} ({option}): {words}\nnote: {step}") from error


@asynccontextmanager
async def listening(address: HostPort, option: str) -> AsyncIterator[list[trio.SocketListener]]:
    """Like `open_listeners`, and closes them on the way out, whether or not anybody has begun to serve them."""
    listeners = await open_listeners(address, option)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.socket.close()  # not aclose(): nothing here may be interrupted


def local_port(listeners: list[trio.SocketListener]) -> int:
    """The port that `listeners` got: what the system chose if 0 was asked for."""
    port: int = listeners[0].socket.getsockname()[1]
    return port


def _number(error: OSError) -> int:
    # trio wraps what happened to each address family
    return error.errno or (error.__cause__.errno if isinstance(error.__cause__, OSError) else None) or 0
