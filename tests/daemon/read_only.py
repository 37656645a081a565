"""A disk that takes no writes while the test says so, for a store of this process.

in: `stuck`; out: SQLITE_IOERR for every write, as after an error of the file system; reading goes on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import apsw


class ReadOnly(apsw.VFS):
    """A way to the disk that takes no writes while `stuck`."""

    name: Final = "read-only"

    def __init__(self) -> None:
        self.stuck = False
        super().__init__(self.name, "unix")

    @contextmanager
    def taking_nothing(self) -> Iterator[None]:
        """No writes inside; what closes the store afterwards has them."""
        self.stuck = True
        try:
            yield
        finally:
            self.stuck = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, vfs: ReadOnly, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._vfs = vfs

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        if self._vfs.stuck:
            raise apsw.IOError("read-only")
        super().xWrite(data, offset)
