"""What the HTTP application asks of the process behind it.

in: nothing; out: documents and words. Never: changes anything.
"""

from collections.abc import Sequence
from typing import Any, Protocol


class Face(Protocol):
    """A homeserver or an edge node, as its operator sees it. Raises StorageError where the disk cannot be asked."""

    async def status(self) -> dict[str, Any]:
        """Everything, for programs (/status.json)."""
        ...

    def page(self, status: dict[str, Any]) -> str:
        """The same for people: HTML."""
        ...

    async def troubles(self) -> Sequence[str]:
        """Why it is not ready for work, in words; nothing: it is."""
        ...

    async def metrics(self) -> bytes:
        """In Prometheus' text format."""
        ...
