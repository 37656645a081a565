"""A stream that a stranger may send only so much on.

in: the stream of a fresh connection; out: the same, broken off when too much came before it was trusted.
"""

import attrs
import trio

from volly_fed import limits


@attrs.define(eq=False)
class Measured(trio.abc.Stream):
    """Counts what arrives until `trusted` is set; limits.DEVICE_FIRST_BYTES may come before that."""

    stream: trio.abc.Stream
    trusted: bool = False
    _came: int = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream; BrokenResourceError when a stranger has sent too much."""
        data = await self.stream.receive_some(max_bytes)
        if not self.trusted:
            self._came += len(data)
            if self._came > limits.DEVICE_FIRST_BYTES:
                raise trio.BrokenResourceError("a stranger sent more than a first message")
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
