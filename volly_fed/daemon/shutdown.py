"""Signals: which one ends the process, which one reloads.

in: SIGTERM, SIGINT, SIGHUP, or the word of an operator; out: a wait that ends, or calls of the reloader.
"""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import trio


@attrs.define
class StopRequest:
    """An operator's word over the admin socket, which does what SIGTERM does."""

    reason: str = ""
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False)

    def ask(self, reason: str) -> None:
        """End this process, in order."""
        self.reason = self.reason or reason
        self._asked.set()

    async def wait(self) -> str:
        """Until it is asked for; why."""
        await self._asked.wait()
        return self.reason


async def wait_for_stop(request: StopRequest | None = None) -> str:
    """Until SIGTERM, SIGINT or `request`; which."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        if request is None:
            return await _first(received)
        reasons: list[str] = []
        async with trio.open_nursery() as nursery:

            async def take(wait: Callable[[], Awaitable[str]]) -> None:
                reasons.append(await wait())
                nursery.cancel_scope.cancel()

            nursery.start_soon(take, lambda: _first(received))
            nursery.start_soon(take, request.wait)
        return reasons[0]


async def _first(received: AsyncIterator[int]) -> str:
    async for number in received:
        return signal.Signals(number).name
    raise AssertionError("the receiver goes on until it is left")


async def reloads(reload: Callable[[], Awaitable[None]]) -> None:
    """Call `reload` at every SIGHUP, one at a time, until cancelled."""
    with trio.open_signal_receiver(signal.SIGHUP) as received:
        async for _ in received:
            await reload()
