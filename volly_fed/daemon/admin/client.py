"""The commands' side of the admin socket: ask the running homeserver, wait for its answer.

in: a configuration, a command, its arguments; out: the answer's fields, or LocalError with what the homeserver said.
Never: waits longer than limits.ADMIN_TIME, or reads more than limits.ADMIN_ANSWER.
"""

import json
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from volly_fed import limits
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.files import CREDENTIALS, explain, socket_address
from volly_fed.errors import LocalError

SOCKET = "admin.sock"
_START = "start it with `volly-fed serve`, or check that --config names the configuration it runs with"


class NotRunning(LocalError):
    """No homeserver runs on this configuration's data folder."""


def socket_path(config: HomeserverConfig) -> Path:
    """Where the homeserver of `config` listens for commands."""
    return config.server.data_dir / SOCKET


def running(config: HomeserverConfig) -> bool:
    """Whether a homeserver runs on this configuration. Raises LocalError where this user may not know."""
    try:
        _connect(socket_path(config)).close()
    except NotRunning:
        return False
    return True


def call(config: HomeserverConfig, command: str, **arguments: object) -> dict[str, Any]:
    """What the running homeserver answers to `command`; `arguments` are what JSON can say.

    Raises NotRunning where there is none, LocalError with the homeserver's own words when it refuses, and LocalError
    when it does not answer in time.
    """
    path = socket_path(config)
    request = json.dumps({"command": command, "arguments": arguments}, ensure_ascii=False) + "\n"
    with _connect(path) as connection:
        try:
            connection.sendall(request.encode())
            answer = _read_line(connection, time.monotonic() + limits.ADMIN_TIME, bytearray())
        except OSError as error:
            raise _no_answer(path, explain(error)) from error
    return _result(path, answer)


@contextmanager
def following(config: HomeserverConfig, command: str, **arguments: object) -> Iterator[Iterator[dict[str, Any]]]:
    """What the running homeserver says to `command`, document after document, over one connection.

    The iterator ends when the homeserver has nothing more to say, or has gone. Raises like `call`.
    """
    path = socket_path(config)
    request = json.dumps({"command": command, "arguments": arguments}, ensure_ascii=False) + "\n"
    with _connect(path) as connection:
        try:
            connection.sendall(request.encode())
        except OSError as error:
            raise _no_answer(path, explain(error)) from error
        yield _documents(path, connection)


def _documents(path: Path, connection: socket.socket) -> Iterator[dict[str, Any]]:
    rest = bytearray()
    while True:
        try:
            line = _read_line(connection, time.monotonic() + limits.ADMIN_TIME, rest)
        except TimeoutError as error:
            raise _no_answer(path, explain(error)) from error
        except OSError:
            return  # it has gone
        if not line.endswith(b"\n"):
            return
        yield _result(path, line)


def process(config: HomeserverConfig) -> int:
    """The number of the running homeserver's process, as the kernel knows it. Raises like `call`."""
    with _connect(socket_path(config)) as connection:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(data)[0])


def wait_for_end(process_id: int, patience: float) -> bool:
    """Until that process has ended; False: it has not within `patience` seconds."""
    try:
        descriptor = os.pidfd_open(process_id)
    except OSError:
        return True  # there is none any more
    try:
        return bool(select.select([descriptor], [], [], patience)[0])
    finally:
        os.close(descriptor)


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(limits.ADMIN_TIME)
    try:
        with socket_address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        connection.close()
        raise NotRunning(f"no homeserver runs with the data in {path.parent}\nnote: {_START}") from error
    except OSError as error:
        connection.close()
        note = "run this as the user who runs the homeserver"
        raise LocalError(f"cannot reach the homeserver at {path}: {explain(error)}\nnote: {note}") from error
    return connection


def _read_line(connection: socket.socket, deadline: float, data: bytearray) -> bytes:
    """One line, or what there is where the connection ends before it. `data` holds what came with the line before."""
    seen = 0
    while (end := data.find(b"\n", seen)) < 0 and len(data) <= limits.ADMIN_ANSWER:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
        part = connection.recv(limits.RECEIVE_BUFFER)
        if not part:
            break
        seen = len(data)
        data += part
    line = bytes(data[: end + 1] if end >= 0 else data)
    del data[: len(line)]
    return line


def _result(path: Path, answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
    except ValueError:
        raise _no_answer(path, "it closed the connection") from None
    if isinstance(document, dict):
        result, error = document.get("result"), document.get("error")
        if isinstance(result, dict):
            return result
        if isinstance(error, str):
            raise LocalError(error)
    raise _no_answer(path, "it says something else")


def _no_answer(path: Path, why: str) -> LocalError:
    note = "see its log; it may be stopping, or be another version than this command"
    return LocalError(f"no answer from the homeserver at {path}: {why}\nnote: {note}")
