"""Files that hold keys and configuration: written whole or not at all; secret ones read only if nobody else can.

in: paths and texts; out: texts, or LocalError with the next step. Creations undo themselves when they fail half-way.
Never: follows a failure with a half-written file, or overwrites what it was asked to create.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from volly_fed.errors import LocalError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PUBLIC_FILE = 0o644
_OTHERS = 0o077
_MAX_FILE = 1 << 20
_SOCKET_PATH = 107
"""Bytes of sun_path that a name can have (unix(7))."""
_DESCRIPTORS = "/proc/self/fd"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}


def read_text(path: Path, what: str, missing: str = "") -> str:
    """The text of `path`. `what` names it in errors; `missing` is the next step when it is not there.

    Raises LocalError when it is absent, no regular file, larger than 1 MiB, unreadable or not UTF-8.
    """
    return _decode(_read(path, what, missing, private=False), path, what)


def read_private_text(path: Path, what: str, missing: str = "") -> str:
    """Like `read_text`, but refuses a file that anybody except its owner can read, with the command that repairs it."""
    return _decode(_read(path, what, missing, private=True), path, what)


def read_bytes(path: Path, what: str, missing: str = "") -> bytes:
    """Like `read_text`, for what is no text."""
    return _read(path, what, missing, private=False)


def there_is(path: Path) -> bool:
    """Whether there is something of that name. Raises LocalError where the system does not say."""
    try:
        return path.exists()
    except OSError as error:
        raise _unreadable(path, "file", error) from error


def write_text(path: Path, text: str, mode: int = PRIVATE_FILE) -> None:
    """Replace `path` by `text` in one step that survives a crash. Raises LocalError; the old file is then intact."""
    write_bytes(path, text.encode(), mode)


def write_bytes(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Like `write_text`, for what is no text."""
    with explained(path):
        temporary = _write_temporary(path, content, mode)
        try:
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def creating(path: Path) -> Iterator[BinaryIO]:
    """A new file for what is too large for one write: it has its name when the block has ended well, and is synced.

    Raises LocalError if there is something of that name, or it cannot be written.
    """
    with explained(path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with open_new(temporary) as file:
                _keep_owner(file.fileno(), path)
                yield file
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def move_over(source: Path, target: Path) -> None:
    """Give `source` the name of `target`, which is replaced, in one step that survives a crash. Raises LocalError."""
    with explained(target):
        source.replace(target)
        sync_folder(target.parent)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time is inside, per `folder`: for read, change and write. Waits for the others."""
    with explained(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with explained(folder):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


CREDENTIALS = struct.Struct("3i")
"""struct ucred, what SO_PEERCRED of a unix socket gives: process, user, group."""


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """What to bind or connect to for the unix socket `path`: the path itself where it fits into a socket address.

    Otherwise its folder is opened and named by the descriptor, while the block runs. Raises LocalError where the
    system has no such names, and OSError where the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= _SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        short = Path(_DESCRIPTORS) / str(folder)
        if not short.exists():
            raise LocalError(
                f"{path} is too long for a socket: {_SOCKET_PATH} bytes is the most\n"
                "note: choose a shorter server.data_dir, or mount /proc"
            )
        yield str(short / path.name)
    finally:
        os.close(folder)


class Creation:
    """Makes several new files and folders, or none: leaving the block with an error removes what was made.

    Resource handling: use it with `with`. Nothing that existed before is ever touched.
    """

    def __init__(self) -> None:
        self._made: list[Path] = []

    def __enter__(self) -> "Creation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.undo()

    def folder(self, path: Path, mode: int = PRIVATE_FOLDER) -> None:
        """Make `path` and what is missing above it. A folder that exists already is not an error."""
        if path.is_dir():
            return
        self.folder(path.parent, mode)
        with explained(path), _uninterrupted():
            path.mkdir(mode=mode)
            self._made.append(path)

    def file(self, path: Path, text: str, mode: int = PRIVATE_FILE) -> None:
        """Write a new file. Raises LocalError if it exists."""
        with explained(path), _uninterrupted():
            temporary = _write_temporary(path, text.encode(), mode)
            try:
                _publish(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            self._made.append(path)
            sync_folder(path.parent)

    def undo(self) -> None:
        """Remove what was made, the last first. Folders that others have put something into stay."""
        while self._made:
            path = self._made.pop()
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


def open_new(path: Path) -> BinaryIO:
    """A new file, mode 0600, to be written. Raises OSError: also where there is something of that name."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE), "wb")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts Ctrl-C and SIGTERM off, so that nothing is made without being noted for `undo`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the system's errors into one message about `path`."""
    try:
        yield
    except OSError as error:
        raise LocalError(f"cannot write {path}: {explain(error)}\nnote: {_next_step(path, error)}") from error


def explain(error: OSError) -> str:
    """What the system says, without its number and file name."""
    return (error.strerror or str(error)).lower()


def _next_step(path: Path, error: OSError) -> str:
    if error.errno == errno.EEXIST:
        return "nothing was changed; move it away first, or choose another place"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "nothing was changed; make room on that disk and try again"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"run this as the user who owns {path.parent}"
    return "nothing was changed; repair that and try again"


def _write_temporary(path: Path, content: bytes, mode: int) -> Path:
    """A complete, synced file beside `path`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            _keep_owner(file.fileno(), path)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _keep_owner(descriptor: int, path: Path) -> None:
    """Where root runs a command, the file is its predecessor's owner's, or its folder's: the daemon must read it."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _publish(temporary: Path, path: Path) -> None:
    """Give `temporary` its name, unless there is something of that name."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # a file system without hard links: the check and the rename are then two steps
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        temporary.rename(path)


def sync_folder(folder: Path) -> None:
    """Let the disk confirm what names there are in `folder`. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, what: str, missing: str, *, private: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe must not block us
    except FileNotFoundError as error:
        raise LocalError(f"{what} {path} does not exist\nnote: {missing or 'check the path'}") from error
    except OSError as error:
        raise _unreadable(path, what, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LocalError(f"{what} {path} is not a file\nnote: check the path")
        if private:
            _refuse_shared(path, what, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise _unreadable(path, what, error) from error
    finally:
        os.close(descriptor)
    if len(content) > _MAX_FILE:
        raise LocalError(f"{what} {path} is larger than {_MAX_FILE} bytes, so it cannot be one\nnote: check the path")
    return content


def _unreadable(path: Path, what: str, error: OSError) -> LocalError:
    owner = "run this as the user who owns it, or `chown` it to the user who runs volly-fed"
    return LocalError(f"{what} {path} cannot be read: {explain(error)}\nnote: {owner}")


def _refuse_shared(path: Path, what: str, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        raise LocalError(
            f"{what} {path} can be read or changed by other users (mode {stat.S_IMODE(status.st_mode):04o})\n"
            f"note: run `chmod 600 {path}`, and consider whether the key is still secret"
        )


def _decode(content: bytes, path: Path, what: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        # no cause: it would carry the content, which may be a key
        raise LocalError(f"{what} {path} is not a text file\nnote: restore it from your backup") from None
