"""Two threads for the work of handshakes: signatures of milliseconds, during which the loop serves everybody else.

in: a function that computes and waits for nothing; out: what it returns or raises.
Never: leaves its thread behind: a caller that is cancelled waits for the function's end, so that what it works on is
nobody else's meanwhile. OpenSSL lets go of Python's lock, so two threads are two cores.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from volly_fed import limits

T = TypeVar("T")

# one for each event loop: an application may run a device in a thread of its own
_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("handshake threads")


async def in_pool(compute: Callable[[], T]) -> T:
    """What `compute` returns, from a thread of the pool."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(limits.HANDSHAKE_THREADS)
        _limiter.set(limiter)
    return await trio.to_thread.run_sync(compute, limiter=limiter)
