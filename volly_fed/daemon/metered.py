"""A stream that brings only so many bytes while its other end is a stranger.

in: a stream; out: the same, with an end to what is read before the proof.
Never: counts what is sent, or anything after `trust`.
"""

import attrs
import trio

from volly_fed import limits


@attrs.define(eq=False)
class Metered(trio.abc.Stream):
    """As `stream`, which it owns. `heard` is how many bytes have come."""

    stream: trio.abc.Stream
    heard: int = 0
    limit: float = limits.MAX_BEFORE_PROOF

    @property
    def exceeded(self) -> bool:
        """Whether more has come than may."""
        return self.heard > self.limit

    def trust(self) -> None:
        """The other end is a stranger no more."""
        self.limit = float("inf")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream; BrokenResourceError beyond the limit."""
        data = await self.stream.receive_some(max_bytes)
        self.heard += len(data)
        if self.exceeded:
            raise trio.BrokenResourceError("too many bytes before a proof")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream."""
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream."""
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream."""
        await self.stream.aclose()
