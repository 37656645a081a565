"""One connection, message by message: what a script says on it, and what it waits for.

in: messages, frames and bytes of the script's; out: what the other end says, or a Mismatch with the whole dialogue.
Never: takes what was not expected, or does anything by itself but answer WebSocket pings and what was allowed.
"""

import functools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import attrs
import trio

from interop.fake_dialogue import Dialogue, describe, tell
from interop.fake_socket import Ended, Frame, Opcode, RawSocket, close_frame
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import BadMessage
from volly_fed.wire import Message, encode_message, parse_message
from volly_fed.wire.messages import Close, Ping, Pong, Refuse

M = TypeVar("M", bound=Message)
Handler = Callable[[Message], Awaitable[None]]

PATIENCE: Final = 10.0
"""Seconds for anything that is to come: a limit for what never comes, longer than any answer on a busy machine."""
NORMAL: Final = 1000


@attrs.define(eq=False, kw_only=True)
class Line:
    """What every connection of a fake can do, whichever layers it has."""

    dialogue: Dialogue
    patience: float = PATIENCE
    socket: RawSocket
    _handlers: dict[type[Message], Handler] = attrs.field(factory=dict, init=False)
    _again: deque[Frame] = attrs.field(factory=deque, init=False)
    """Has come, and counts as not read yet."""

    # --- saying ------------------------------------------------------------------------------------------------------

    async def send(self, *messages: Message | bytes) -> None:
        """Each as one honest WebSocket message; bytes are sent as they are."""
        for message in messages:
            data = encode_message(message) if isinstance(message, Message) else message
            await self.send_frame(Frame(payload=data), describe(data))

    async def send_frame(self, frame: Frame, what: str = "") -> None:
        """One frame, as it is; masked where that is the role's and the frame says nothing."""
        self.dialogue.sent(what or str(frame))
        await self.or_mismatch(functools.partial(self.socket.send, frame), "the connection was to take a frame")

    async def send_raw(self, data: bytes, what: str = "") -> None:
        """Bytes below the WebSocket, inside TLS where there is TLS."""
        self.dialogue.sent(what or f"{len(data)} raw bytes")
        await self.or_mismatch(functools.partial(self.socket.send_bytes, data), "the connection was to take bytes")

    async def hang_up(self, code: int | None = NORMAL) -> None:
        """Close the WebSocket; whatever is still under way is passed over."""
        await self.send_frame(close_frame(code))
        with self.limited("the answer to our close frame"), suppress(Ended):
            while (await self.socket.receive()).opcode != Opcode.CLOSE:
                pass
        await self.socket.stream.aclose()

    # --- hearing -----------------------------------------------------------------------------------------------------

    def allow(self, kind: type[Message], handler: Handler | None = None) -> None:
        """From now on a message of this kind may come at any time: `handler` sees to it, or it is passed over."""
        self._handlers[kind] = handler or _pass_over

    def allow_pings(self) -> None:
        """Answer PING as an honest end does."""

        async def answer(message: Message) -> None:
            assert isinstance(message, Ping)
            await self.send(Pong(token=message.token))

        self.allow(Ping, answer)

    def put_back(self, messages: Iterable[bytes]) -> None:
        """Let these come once more, before all others."""
        self._again.extend(Frame(payload=data) for data in messages)

    async def expect(self, *kinds: type[M]) -> M:
        """The next message that is not allowed for; of one of `kinds`, or the scenario has failed."""
        return (await self.expect_with_bytes(*kinds))[0]

    async def expect_refuse(self, code: ErrorCode) -> Refuse:
        """REFUSE with `code`, the WebSocket's close with 1000, and the end."""
        refuse = await self.expect(Refuse)
        self._check_code(refuse.code, code)
        await self.expect_websocket_close(NORMAL)
        return refuse

    async def expect_close(self, code: ErrorCode) -> Close:
        """CLOSE with `code`, the WebSocket's close with 1000, and the end."""
        close = await self.expect(Close)
        self._check_code(close.code, code)
        await self.expect_websocket_close(NORMAL)
        return close

    async def expect_websocket_close(self, code: int) -> None:
        """A close frame with `code`, which is answered, and the end of the connection."""
        frame = await self._frame(f"a close frame with {code}")
        while frame.opcode == Opcode.BINARY and await self._handled(frame.payload):
            frame = await self._frame(f"a close frame with {code}")
        if frame.close_code != code:
            raise self.dialogue.mismatch(f"a close frame with {code} was expected")
        with suppress(Ended):  # who closes for a fault may be gone already
            await self.socket.send(close_frame(code))
        await self.expect_end()

    async def expect_end(self) -> None:
        """Nothing more, and the end of the connection, in whatever way."""
        with self.limited("the end of the connection"):
            rest = await self.socket.receive_end()
        self.dialogue.came("the end")
        if rest:
            raise self.dialogue.mismatch(f"the end was expected, and {len(rest)} more bytes came: {rest[:64].hex()}")

    async def expect_pong(self, payload: bytes) -> None:
        """The WebSocket's pong with `payload`."""
        frame = await self._frame("a pong of the WebSocket")
        if frame.opcode != Opcode.PONG or frame.payload != payload:
            raise self.dialogue.mismatch(f"a pong with {payload.hex()} was expected")

    async def expect_quiet(self, seconds: float) -> None:
        """No message for so long, but those that are allowed."""
        with trio.move_on_after(seconds):
            await self._expect_nothing()

    # --- how ---------------------------------------------------------------------------------------------------------

    async def expect_with_bytes(self, *kinds: type[M]) -> tuple[M, bytes]:
        """As `expect`; also the message as it was on the wire."""
        names = " or ".join(kind.__name__ for kind in kinds)
        while True:
            frame = await self._frame(names)
            if frame.opcode != Opcode.BINARY:
                raise self.dialogue.mismatch(f"{names} was expected")
            try:
                message = parse_message(frame.payload)
            except BadMessage:
                raise self.dialogue.mismatch(f"{names} was expected") from None
            if isinstance(message, kinds):
                return message, frame.payload
            if not await self._handled(frame.payload):
                raise self.dialogue.mismatch(f"{names} was expected, and {tell(message)} came")

    async def _expect_nothing(self) -> None:
        frame = Frame(opcode=Opcode.PONG)
        while frame.opcode == Opcode.PONG or (frame.opcode == Opcode.BINARY and await self._handled(frame.payload)):
            frame = await self.or_mismatch(self._heed, "nothing was expected")
        raise self.dialogue.mismatch(f"nothing was expected, and a {frame} came")

    async def _handled(self, data: bytes) -> bool:
        try:
            message = parse_message(data)
        except BadMessage:
            return False
        handler = self._handlers.get(type(message))
        if handler is not None:
            await handler(message)
        return handler is not None

    async def _frame(self, what: str) -> Frame:
        """The next frame that is not a ping."""
        with self.limited(what):
            frame: Frame = await self.or_mismatch(self._heed, f"{what} was expected")
            return frame

    async def _heed(self) -> Frame:
        if self._again:
            return self._again.popleft()
        while True:
            frame = await self._whole()
            self.dialogue.came(describe(frame.payload) if frame.opcode == Opcode.BINARY else str(frame))
            if frame.opcode != Opcode.PING:
                return frame
            await self.socket.send(Frame(opcode=Opcode.PONG, payload=frame.payload))

    async def _whole(self) -> Frame:
        """The next frame, or the next fragments as one. No control frames between fragments are expected of anybody."""
        frame = await self.socket.receive()
        if frame.fin:
            return frame
        parts = [frame.payload]
        while not frame.fin:
            frame = await self.socket.receive()
            parts.append(frame.payload)
        return Frame(payload=b"".join(parts))

    async def or_mismatch(self, step: Callable[[], Awaitable[Any]], problem: str) -> Any:
        """What `step` gives; an end of the connection fails the script with `problem`."""
        try:
            return await step()
        except Ended as error:
            raise self.dialogue.mismatch(f"{problem}, but {error}") from None

    @contextmanager
    def limited(self, what: str) -> Iterator[None]:
        """The block has `patience` seconds, or the script fails: `what` did not come."""
        with trio.move_on_after(self.patience) as scope:
            yield
        if scope.cancelled_caught:
            raise self.dialogue.mismatch(f"{what} did not come within {self.patience:g} s")

    def _check_code(self, came: ErrorCode, wanted: ErrorCode) -> None:
        if came is not wanted:
            raise self.dialogue.mismatch(f"the code was to be {wanted.name}, and is {came.name}")


async def _pass_over(_: Message) -> None:
    pass
