"""SIGTERM as an exception, for commands that have something to undo.

in: nothing; out: a block in which SIGTERM raises Terminated, as Ctrl-C raises KeyboardInterrupt.
Never: used by `serve` and `edge`, which drain instead.
"""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated, so that what was half done is undone."""
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
