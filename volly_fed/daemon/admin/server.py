"""The admin socket: what commands ask a running homeserver to do or to tell.

in: one line of JSON per connection, {"command": …, "arguments": {…}}; out: one line, {"result": {…}} or {"error": …},
or, of a command that is followed, one line after the other until it ends or the client goes.
Several at once, each bounded in size and time. What a handler refuses (VollyFedError, ValueError) is its error line;
anything else is a bug of ours and ends the process, as everywhere.
Never: is reachable for another user than the homeserver's own and root; leaves its socket behind when it ends.
"""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import trio

from volly_fed import limits, limits_admin
from volly_fed.daemon.files import CREDENTIALS, PRIVATE_FILE, explain, socket_address
from volly_fed.errors import LocalError, VollyFedError

Arguments: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[[Arguments], Awaitable[dict[str, Any]]]
"""Answers one command with what JSON can say. Its arguments come from outside: check them."""
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Stream: TypeAlias = Callable[[Arguments, Send], Awaitable[None]]
"""Answers one command with as many documents as it likes; cancelled when the client has gone."""


def text_argument(arguments: Arguments, name: str, default: str | None = None) -> str | None:
    """The text `name` among `arguments`; `default` where it is absent or null. Raises LocalError for anything else."""
    value = arguments.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise LocalError(f"{name} must be text\nnote: use a volly-fed command of this version")
    return value


@asynccontextmanager
async def admin_listening(path: Path) -> AsyncIterator[trio.SocketListener]:
    """A listener on the unix socket `path`, mode 0600; removed on the way out. One that is left over is replaced.

    The caller holds the lock of the store beside it: no other homeserver can be using that name. Raises LocalError.
    """
    bound, inode = await trio.to_thread.run_sync(_bind, path)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    try:
        yield listener
    finally:
        listener.socket.close()
        _remove(path, inode)


@attrs.define
class AdminServer:
    """Answers on the admin socket with `handlers` and `streams`, by name."""

    handlers: Mapping[str, Handler]
    streams: Mapping[str, Stream] = attrs.field(factory=dict)
    _clients: int = attrs.field(default=0, init=False)
    _followers: int = attrs.field(default=0, init=False)

    async def serve(
        self, listener: trio.SocketListener, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            await trio.serve_listeners(self._welcome, [listener], handler_nursery=nursery)

    async def _welcome(self, stream: trio.SocketStream) -> None:
        self._clients += 1
        try:
            async with stream:
                followed: _Followed | None = None
                with trio.move_on_after(limits.ADMIN_TIME), suppress(trio.BrokenResourceError):
                    followed = await self._serve(stream)
                if followed is not None:
                    await self._follow(stream, followed)
        finally:
            self._clients -= 1

    async def _serve(self, stream: trio.SocketStream) -> "_Followed | None":
        """Answer the command, unless it is one to be followed."""
        if not _is_ours(stream):
            return None  # the mode of the socket keeps strangers out already
        if self._clients > limits.ADMIN_CLIENTS:
            await stream.send_all(_line(_refusal("too many commands at once\nnote: try again")))
            return None
        line = await _read_line(stream)
        if line is None:
            return None
        try:
            command, arguments = _parse(line)
            if command in self.streams:
                return partial(self.streams[command], arguments)
            answer = _document(await self._handler(command)(arguments))
        except (VollyFedError, ValueError) as error:
            answer = _line(_refusal(str(error)))
        await stream.send_all(answer)
        return None

    async def _follow(self, stream: trio.SocketStream, followed: "_Followed") -> None:
        """Let `followed` say what it has to say, for as long as the client is there and reads."""
        self._followers += 1
        try:
            async with trio.open_nursery() as nursery:

                async def send(document: dict[str, Any]) -> None:
                    with trio.move_on_after(limits.ADMIN_TIME) as patience:
                        await stream.send_all(_document(document))
                    if patience.cancelled_caught:
                        raise trio.BrokenResourceError("the client does not read")

                nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
                with suppress(trio.BrokenResourceError):
                    try:
                        if self._followers > limits_admin.ADMIN_WATCHERS:
                            raise LocalError(
                                "too many follow this homeserver already\nnote: end another watch or drain"
                            )
                        await followed(send)
                    except (VollyFedError, ValueError) as error:
                        await stream.send_all(_line(_refusal(str(error))))
                nursery.cancel_scope.cancel()
        finally:
            self._followers -= 1

    def _handler(self, command: str) -> Handler:
        handler = self.handlers.get(command)
        if handler is None:
            known = ", ".join(sorted([*self.handlers, *self.streams]))
            raise LocalError(f"the running homeserver does not know this command; it knows {known}\nnote: restart it")
        return handler


_Followed: TypeAlias = Callable[[Send], Awaitable[None]]


def _parse(line: bytes) -> tuple[str, Arguments]:
    """The command and its arguments. Raises LocalError."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise LocalError("a request is one line of JSON") from None
    command = request.get("command") if isinstance(request, dict) else None
    arguments = request.get("arguments", {}) if isinstance(request, dict) else None
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise LocalError('a request has a "command" and "arguments"')
    return command, arguments


async def _until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Cancel `scope` when the client has gone; what it says meanwhile means nothing."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(limits.ADMIN_REQUEST):
            pass
    scope.cancel()


def _document(document: dict[str, Any]) -> bytes:
    answer = _line({"result": document})
    if len(answer) > limits.ADMIN_ANSWER:
        return _line(_refusal(f"the answer is larger than {limits.ADMIN_ANSWER} bytes\nnote: ask for less"))
    return answer


async def _read_line(stream: trio.SocketStream) -> bytes | None:
    """The first line; None where the client goes without one, or sends more than a request can have."""
    data = bytearray()
    while b"\n" not in data:
        part = await stream.receive_some(limits.ADMIN_REQUEST)
        if not part or len(data) + len(part) > limits.ADMIN_REQUEST:
            return None
        data += part
    return bytes(data[: data.index(b"\n")])


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"


def _refusal(message: str) -> dict[str, Any]:
    return {"error": message}


def _is_ours(stream: trio.SocketStream) -> bool:
    """Whether the process at the other end is root's or our own user's."""
    data = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return CREDENTIALS.unpack(data)[1] in {0, os.geteuid()}


def _bind(path: Path) -> tuple[socket.socket, int]:
    """A listening socket of that name and its inode number."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_leftover(path)
        with socket_address(path) as address:
            bound.bind(address)
        path.chmod(PRIVATE_FILE)
        status = path.stat()
        _check_mode(path, status)
        bound.listen()  # from now on, and not before its mode was right, somebody can connect
    except OSError as error:
        bound.close()
        note = f"it must be possible to make a socket in {path.parent}; check who owns that folder"
        raise LocalError(f"admin socket {path} cannot be opened: {explain(error)}\nnote: {note}") from error
    except BaseException:
        bound.close()
        raise
    return bound, status.st_ino


def _check_mode(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) != PRIVATE_FILE:
        path.unlink()
        raise LocalError(
            f"admin socket {path}: this file system keeps no permissions\n"
            "note: put server.data_dir on one that does; the keys in it need that too"
        )


def _remove_leftover(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise LocalError(f"{path} is in the way of the admin socket\nnote: move it away; the homeserver needs the name")
    path.unlink()


def _remove(path: Path, inode: int) -> None:
    with suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()
