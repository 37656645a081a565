"""The archive of a backup: an uncompressed tar file, the manifest first, then each of its members in its order.

in: files and a manifest, or an archive; out: an archive, or the members' bytes, each checked against the manifest.
Whoever has `tar` can read it. We read it ourselves, header by header: only regular files, only the names and sizes of
the manifest, in its order, and nothing after them; there are no links, no paths and no extensions to be careful with.
Never: raises anything but DamagedBackup for what is in an archive, or holds more than a chunk of the store in memory.
Source: POSIX.1-2001 pax, "ustar Interchange Format"; GNU's base-256 sizes for stores of 8 GiB and more.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from volly_fed import limits_backup
from volly_fed.daemon.backup.manifest import MANIFEST, Manifest, Member, format_manifest, parse_manifest
from volly_fed.errors import BadMessage, LocalError

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)
_MODE: Final = 0o600

Told = Callable[[int], None]
"""Hears how many more bytes are done."""
Begin = Callable[[Member], Callable[[bytes], object]]
"""Is told which member comes, and gives what takes its bytes."""


class DamagedBackup(LocalError):
    """The file is no backup, or not whole."""


def digest_of(file: BinaryIO, told: Told) -> tuple[int, str]:
    """Size and SHA-256 of what is in `file` from its beginning; it stands there again afterwards."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(limits_backup.ARCHIVE_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        told(len(chunk))
    file.seek(0)
    return size, digest.hexdigest()


def write_archive(target: BinaryIO, manifest: Manifest, sources: Sequence[BinaryIO], told: Told) -> None:
    """The archive of `manifest`, whose members' bytes are in `sources`. Raises LocalError where they have changed."""
    content = format_manifest(manifest)
    target.write(_header(MANIFEST, len(content), manifest.made_at) + content + _padding(len(content)))
    for member, source in zip(manifest.members, sources, strict=True):
        target.write(_header(member.name, member.size, manifest.made_at))
        digest, left = hashlib.sha256(), member.size
        while chunk := source.read(min(left, limits_backup.ARCHIVE_CHUNK)):
            digest.update(chunk)
            left -= len(chunk)
            target.write(chunk)
            told(len(chunk))
        if left or digest.hexdigest() != member.sha256:
            raise LocalError(f"{member.name} has changed while it was written\nnote: look at that disk, and try again")
        target.write(_padding(member.size))
    target.write(_END)


def read_manifest(file: BinaryIO, path: Path) -> Manifest:
    """The manifest at the beginning of the archive `file`. Raises DamagedBackup, which names `path`."""
    with _checking(path):
        size = _expect(file, MANIFEST)
        if size > limits_backup.MANIFEST_BYTES:
            raise BadMessage("the manifest is too large")
        content = _exactly(file, size)
        _exactly(file, -size % _BLOCK)
        return parse_manifest(content)


def read_members(file: BinaryIO, path: Path, manifest: Manifest, begin: Begin, told: Told) -> None:
    """All members after the manifest, handed to what `begin` gives for each. Raises DamagedBackup.

    What was handed out may be wrong until this returns.
    """
    with _checking(path):
        for member in manifest.members:
            if _expect(file, member.name) != member.size:
                raise BadMessage(f"{member.name} has another size than its manifest says")
            _read_member(file, member, begin(member), told)
        if file.read(len(_END)) != _END or file.read(1):
            raise BadMessage("there is something behind its last file")


def _read_member(file: BinaryIO, member: Member, take: Callable[[bytes], object], told: Told) -> None:
    digest, left = hashlib.sha256(), member.size
    while left:
        chunk = _exactly(file, min(left, limits_backup.ARCHIVE_CHUNK))
        digest.update(chunk)
        left -= len(chunk)
        take(chunk)
        told(len(chunk))
    if digest.hexdigest() != member.sha256:
        raise BadMessage(f"{member.name} is damaged")
    _exactly(file, -member.size % _BLOCK)


def _expect(file: BinaryIO, name: str) -> int:
    """The size of the regular file `name`, whose header comes next."""
    try:
        info = tarfile.TarInfo.frombuf(_exactly(file, _BLOCK), "ascii", "strict")
    except (tarfile.TarError, ValueError, OverflowError):
        raise BadMessage("it is no tar archive, or is damaged") from None
    if info.name != name or info.type != tarfile.REGTYPE or info.size < 0:
        raise BadMessage(f"something else stands where {name} belongs")
    return info.size


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise BadMessage("it ends too early")
    return content


def _header(name: str, size: int, made_at: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, _MODE, made_at
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


@contextmanager
def _checking(path: Path) -> Iterator[None]:
    try:
        yield
    except BadMessage as error:
        note = "take another copy of it, or another one"
        raise DamagedBackup(f"{path} is no backup that can be used: {error}\nnote: {note}") from None
