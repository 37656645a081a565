"""Signals: which one ends the process, which one reloads.

in: SIGTERM, SIGINT, SIGHUP; out: a wait that ends, or calls of the reloader.
"""

import signal
from collections.abc import Awaitable, Callable

import trio


async def wait_for_stop() -> str:
    """Until SIGTERM or SIGINT; its name."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for number in received:
            return signal.Signals(number).name
    raise AssertionError("the receiver goes on until it is left")


async def reloads(reload: Callable[[], Awaitable[None]]) -> None:
    """Call `reload` at every SIGHUP, one at a time, until cancelled."""
    with trio.open_signal_receiver(signal.SIGHUP) as received:
        async for _ in received:
            await reload()
