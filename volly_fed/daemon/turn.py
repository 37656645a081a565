"""Whose turn it is to send, or to receive: a lock that costs nothing where nobody waits.

in: tasks; out: BusyResourceError for a second one at once (trio's rule, so a mistake here and no answer to the peer),
or a wait for those that ask for one.
Never: is fair: of those that wait, who runs first takes it.
"""

from types import TracebackType

import trio


class Turn:
    """`text` says what is wrong with two at once."""

    __slots__ = ("_freed", "_text", "busy")

    def __init__(self, text: str) -> None:
        self._text = text
        self._freed: trio.Event | None = None
        self.busy = False

    async def free(self) -> None:
        """Until nobody has it. Whoever takes it at once, without another await, gets it."""
        while self.busy:
            if self._freed is None:
                self._freed = trio.Event()
            await self._freed.wait()

    def __enter__(self) -> None:
        if self.busy:
            raise trio.BusyResourceError(self._text)
        self.busy = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.busy = False
        if self._freed is not None:
            self._freed.set()
            self._freed = None
