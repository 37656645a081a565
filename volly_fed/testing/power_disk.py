"""A disk that loses its power: what was written and not synced may be there afterwards, or in part, or not at all.

in: writes, truncations, syncs and changes of the folder, in their order; out: one folder that a power loss may leave.
Never: loses what was synced, changes a sector but by a write to it (SQLITE_IOCAP_POWERSAFE_OVERWRITE), or holds
anything but bytes: the files themselves are `power_loss`'s.
Source: sqlite.org/atomiccommit.html §2, sqlite.org/psow.html; fsync(2): the name of a new file is the folder's to sync.
"""

from collections.abc import Mapping
from enum import Enum
from random import Random
from typing import Final, NamedTuple, TypeVar

SECTOR: Final = 512
"""Bytes that a disk writes as one, or not at all."""

T = TypeVar("T")


class Fate(Enum):
    """What becomes of the operations that no sync had covered."""

    DROPPED = "dropped"
    """None has reached the disk."""
    KEPT = "kept"
    """All have, for the system had written them back by itself."""
    CUT_OFF = "cut off"
    """The first ones have, the next one in part."""
    REORDERED = "reordered"
    """Some have, later ones before earlier ones."""
    TORN = "torn"
    """Some sectors have, of whichever write; and the file may have grown without its new contents."""


class Change(NamedTuple):
    """A write of `data` at `offset`, or, with None for data, a truncation to `offset` bytes."""

    offset: int
    data: bytes | None


class Inode:
    """A file's contents: what is synced, and the changes that wait for a sync."""

    __slots__ = ("synced", "waiting")

    def __init__(self) -> None:
        self.synced = bytearray()
        self.waiting: list[Change] = []

    def sync(self) -> None:
        """All changes are on the disk from now on."""
        for change in self.waiting:
            _apply(self.synced, change)
        self.waiting.clear()

    def lose_power(self, random: Random) -> Fate:
        """Settle by `random` what becomes of the waiting changes; which fate it was."""
        fate, changes, fill = random.choice(tuple(Fate)), self.waiting, bytes(SECTOR)
        if fate is Fate.CUT_OFF:
            cut = random.randint(0, len(changes))
            changes = [*changes[:cut], *_some(_sectors(changes[cut : cut + 1]), random)]
        elif fate is Fate.REORDERED:
            changes = _some(changes, random)
        elif fate is Fate.TORN:
            changes = _some(_sectors(changes), random)
            size = self._size()
            if random.random() < 0.5:  # the size is there before the contents, which are what lay there before
                fill = random.choice((fill, random.randbytes(SECTOR)))
                changes = [*changes, Change(size, b"")]
        elif fate is Fate.DROPPED:
            changes = []
        for change in changes:
            _apply(self.synced, change, fill)
        self.waiting.clear()
        return fate

    def _size(self) -> int:
        size = len(self.synced)
        for offset, data in self.waiting:
            size = offset if data is None else max(size, offset + len(data))
        return size


class Disk:
    """One folder: its files by name as programs see it, and what of that would survive."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """`files` are there already, and synced."""
        self.names: dict[str, Inode] = {}
        for name, contents in files.items():
            self.names[name] = inode = Inode()
            inode.synced[:] = contents
        self._synced = dict(self.names)
        self._waiting: list[tuple[str, Inode | None]] = []

    def create(self, name: str) -> Inode:
        """A new and empty file."""
        inode = self.names[name] = Inode()
        self._waiting.append((name, inode))
        return inode

    def delete(self, name: str) -> None:
        """The name goes; who has the file open may go on with it."""
        del self.names[name]
        self._waiting.append((name, None))

    def sync_folder(self) -> None:
        """All names are on the disk from now on; what is in the files is another matter."""
        self._synced = dict(self.names)
        self._waiting.clear()

    def lose_power(self, random: Random) -> tuple[dict[str, bytes], list[str]]:
        """The files after a power loss, as `random` has it, and what became of what was not synced, to be printed."""
        account = []
        fate, changes = random.choice((Fate.DROPPED, Fate.KEPT, Fate.CUT_OFF, Fate.REORDERED)), self._waiting
        if changes:
            account.append(f"folder: {len(changes)} {fate.value}")
        if fate is Fate.DROPPED:
            changes = []
        elif fate is Fate.CUT_OFF:
            changes = changes[: random.randint(0, len(changes))]
        elif fate is Fate.REORDERED:
            changes = _some(changes, random)
        for name, inode in changes:
            if inode is None:
                self._synced.pop(name, None)
            else:
                self._synced[name] = inode
        for name, inode in sorted(self._synced.items()):
            if inode.waiting:
                account.append(f"{name}: {len(inode.waiting)} {inode.lose_power(random).value}")
        self.names = dict(self._synced)
        self._waiting.clear()
        return {name: bytes(inode.synced) for name, inode in self.names.items()}, account


def _apply(contents: bytearray, change: Change, fill: bytes = bytes(SECTOR)) -> None:
    offset, data = change
    if data is None:
        del contents[offset:]
    missing = offset - len(contents)
    if missing > 0:
        contents += (fill * (missing // len(fill) + 1))[:missing]
    if data is not None:
        contents[offset : offset + len(data)] = data


def _sectors(changes: list[Change]) -> list[Change]:
    """`changes`, with writes taken apart where sectors begin."""
    parts = []
    for offset, data in changes:
        if data is None:
            parts.append(Change(offset, None))
            continue
        end = offset + len(data)
        while offset < end:
            following = min(end, (offset // SECTOR + 1) * SECTOR)
            start = offset - end + len(data)
            parts.append(Change(offset, data[start : start + following - offset]))
            offset = following
    return parts


def _some(items: list[T], random: Random) -> list[T]:
    """A choice of `items`, in their order: few, half or most of them."""
    share = random.choice((0.1, 0.5, 0.9))
    return [item for item in items if random.random() < share]
