"""A sign of life from work that takes long: what is being done and how far it is, on a terminal, after a second.

in: bytes done of bytes in all; out: a line on standard error that is gone at the end. Never: writes into a pipe.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from volly_fed import limits
from volly_fed.daemon.wording import size

_PERCENT = 100


@contextmanager
def progress(clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str, int, int], None]]:
    """What to call, as often as one likes, with (what is done, bytes done, bytes in all; 0: not known)."""
    status = Console(stderr=True).status("")
    since, shown = clock(), ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal shown
        line = f"{what}: {_PERCENT * done // total} % of {size(total)}" if total else what
        if line == shown or clock() - since < limits.PROGRESS_AFTER:
            return
        status.update(Text(line))
        if not shown:
            status.start()
        shown = line

    try:
        yield tell
    finally:
        status.stop()
