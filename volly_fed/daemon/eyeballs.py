"""TCP connections to literal addresses, several tried at once (RFC 8305 §5).

in: addresses that came out of validated DNS answers, best first, and a port; out: the first stream that connects.
Never: resolves a name.
"""

import os
from collections.abc import Sequence

import trio

from volly_fed import limits
from volly_fed.errors import ChannelError


async def connect_any(addresses: Sequence[str], port: int) -> trio.SocketStream:
    """The first connection that comes about; the next address is tried after 250 ms, or as soon as one fails.

    Raises ChannelError that names every address and what became of it.

    Resource handling: the stream is the caller's; connections that lost the race are closed here.
    """
    failures: dict[str, str] = {}
    winners: list[trio.SocketStream] = []
    failed = [trio.Event() for _ in addresses]

    async with trio.open_nursery() as nursery:

        async def attempt(number: int) -> None:
            if number:
                with trio.move_on_after(limits.HAPPY_EYEBALLS):
                    await failed[number - 1].wait()
            if number + 1 < len(addresses):
                nursery.start_soon(attempt, number + 1)
            try:
                with trio.fail_after(limits.CONNECT):
                    stream = await trio.open_tcp_stream(addresses[number], port)
            except (OSError, trio.TooSlowError) as error:
                failures[addresses[number]] = _reason(error)
                failed[number].set()
            else:
                winners.append(stream)
                nursery.cancel_scope.cancel()

        if addresses:
            nursery.start_soon(attempt, 0)
    if not winners:
        tried = ", ".join(f"{address} port {port}: {why}" for address, why in failures.items()) or "no address at all"
        raise ChannelError(f"cannot connect ({tried})")
    for loser in winners[1:]:
        await trio.aclose_forcefully(loser)
    return winners[0]


def _reason(error: BaseException) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {limits.CONNECT:g} s"
    while isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        error = error.__cause__  # trio wraps the attempts; the cause says what happened
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # its own words, strerror, say the address once more
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
