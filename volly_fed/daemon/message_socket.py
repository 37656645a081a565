"""Binary messages over an opened WebSocket: RFC 6455 by the sans-IO half of `websockets`, cut down to what we use.

in: a stream (TLS or, for devices on loopback, plain) and the library's protocol; out: whole binary messages.
Never: lets text or oversized messages through, or an error of the library out: whatever hostile bytes make it raise
costs this connection and becomes a ChannelError. Sends no WebSocket pings.
Source: RFC 6455 §5.4 (fragments), §5.5 (control frames), §7 (closing). The opening is in `websocket`.

Nothing runs in the background: whoever sends or receives drives the protocol. Only the answer to a ping gets a short
task of its own, where nobody sends at the moment: a reader that waits until it is sent could wait forever.
"""

from collections import deque

import trio
from websockets.frames import BINARY, CONT, TEXT, Frame
from websockets.protocol import OPEN, Protocol

from volly_fed import limits
from volly_fed.daemon.turn import Turn
from volly_fed.errors import ChannelError, LocalProtocolError

NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
_IN_ORDER = frozenset({NORMAL, GOING_AWAY, 1005})  # 1005: a close frame without a code
_MAX_REASON = 123  # bytes: RFC 6455 §5.5 gives control frames 125, the code takes two
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Socket:
    """An open WebSocket. One task may send and one may receive; both may run at the same time.

    Resource handling: owns its stream, and closes it when either end closes; the caller calls `aclose` in the end. Must
    not outlive its nursery, which is only used for answers to pings.
    """

    def __init__(self, nursery: trio.Nursery, stream: trio.abc.Stream, protocol: Protocol) -> None:
        self._nursery = nursery
        self._stream = stream
        self._protocol = protocol
        self._messages: deque[bytes] = deque()  # complete, and not yet taken
        self._parts: bytearray | None = None  # of a message that is not complete yet
        self._unclaimed = 0  # bytes since the last complete message
        self._taken = 0  # messages since the last checkpoint
        self._due: dict[int, bytes] = {}  # control frames to be sent: of each kind the newest (RFC 6455 §5.5.3)
        self._sending = Turn("another task is sending on this WebSocket")
        self._receiving = Turn("another task is receiving from this WebSocket")
        self._answering = False  # a task of ours is about to send what is due
        self._over = ""  # why nothing more will be received
        self._in_order = False  # it is over because the peer closed in order
        self._text = False  # the next message would be a text
        self._closing = False  # by us
        self._send_failure = ""

    # --- sending ---

    async def send(self, message: bytes) -> None:
        """Send one binary message of at most limits.MAX_MESSAGE bytes; when cancelled half-way, the socket is dead.

        Raises ChannelError when the connection is closed or broken, LocalProtocolError when the message is too long.
        """
        if len(message) > limits.MAX_MESSAGE:  # [wire-3]
            raise LocalProtocolError("a message is longer than limits.MAX_MESSAGE")
        if self._sending.busy:
            await self._sending.free()
        with self._sending:
            if self._closing or self._over or self._send_failure:
                raise ChannelError("this WebSocket was closed here" if self._closing else self._over or self._lost)
            self._protocol.send_binary(message)  # [wire-1]
            await self._send_made()
        self._answer_soon()

    @property
    def _lost(self) -> str:
        return f"the connection broke: {self._send_failure}"

    async def _send_made(self) -> None:
        """Send what is due, and what the protocol has just made."""
        made = self._protocol.data_to_send()
        if self._due:
            made = [*self._due.values(), *made]
            self._due.clear()
        data = made[0] if len(made) == 1 else b"".join(made)
        if not data:
            return
        try:
            await self._stream.send_all(data)
        except _GONE as error:
            self._send_failure = str(error) or "the transport failed"
            raise ChannelError(self._lost) from None
        except BaseException:
            self._send_failure = "sending was interrupted half-way"
            raise

    async def _send_due(self) -> None:
        """Send control frames that wait, when nobody else is sending."""
        await self._sending.free()
        with self._sending:
            while self._due and not self._send_failure:
                await self._send_made()

    def _answer_soon(self) -> None:
        """Let a task send what is due, unless somebody sends already, who will call this at the end."""
        if self._due and not (self._sending.busy or self._answering):
            self._answering = True
            self._nursery.start_soon(self._answer)

    async def _answer(self) -> None:
        try:
            await self._send_due()
        except ChannelError:
            pass  # whoever sends or receives next is told
        finally:
            self._answering = False

    # --- receiving ---

    async def receive(self) -> bytes:
        """The next binary message; being cancelled loses nothing.

        Raises EndOfChannel when either end closed in order (codes 1000, 1001, none), and ChannelError for any other
        end: another code, a text or too long message, a transport that broke or just ended.
        """
        with self._receiving:
            if self._messages:
                await self._checkpoint()
            while not self._messages:
                if self._over or self._text or self._closing:
                    break
                await self._read()
            else:
                return self._messages.popleft()
        if self._text and not self._closing:
            await self.aclose(UNSUPPORTED_DATA, "binary messages only")  # [wire-2]
            raise ChannelError("the peer sent a text message; only binary ones are allowed")
        if not self._closing:
            await self._wind_up()
        if self._closing or self._in_order:
            raise trio.EndOfChannel
        raise ChannelError(self._over)

    async def _checkpoint(self) -> None:
        """What a message costs that is here already: now and then, the other tasks' turn."""
        self._taken += 1
        if self._taken % limits.CALLS_WITHOUT_CHECKPOINT:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some(limits.RECEIVE_BUFFER)
        except _GONE as error:
            self._over = self._over or f"the connection broke: {str(error) or 'the transport failed'}"
            return
        if data:
            self.take_in(data)
        else:
            self._over = self._over or "the connection ended without a WebSocket close"

    def take_in(self, data: bytes | bytearray) -> None:
        """Let the protocol have `data`; messages and answers are queued."""
        self._unclaimed += len(data)
        try:
            self._protocol.receive_data(data)
        except Exception as error:  # foreign code, fed with hostile bytes: it costs one connection
            self._over = f"the connection broke: {type(error).__name__}"
            return
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and not self._text:
                self._take_frame(event)
        if self._unclaimed > limits.MAX_UNCLAIMED:  # [wire-5]
            # empty fragments cost time without ever reaching the limit on a message
            self._protocol.fail(POLICY_VIOLATION, "no end of a message")
            self._over = "the peer sends without ever finishing a message"  # [channel-22]
        for made in self._protocol.data_to_send():
            if made:
                self._due[made[0]] = made  # [channel-23]
        if self._protocol.state is not OPEN:
            self._note_end()
        else:
            self._answer_soon()

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is TEXT:  # [channel-19]
            self._text = True
        elif frame.opcode is BINARY and frame.fin:
            self._complete(frame.data)
        elif frame.opcode is BINARY:
            self._parts = bytearray(frame.data)
        elif frame.opcode is CONT and self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                self._complete(self._parts)
                self._parts = None

    def _complete(self, message: bytes | bytearray | memoryview) -> None:
        self._messages.append(bytes(message))
        self._unclaimed = 0

    def _note_end(self) -> None:
        """The protocol does not go on: because the peer closed, or because of what it sent, or as we closed."""
        failed = self._protocol.parser_exc is not None  # [channel-20] [channel-21]
        close = self._protocol.close_sent if failed else self._protocol.close_rcvd
        if close is not None and not self._over:
            self._over = f"the WebSocket was closed with code {int(close.code)} ({close.reason or 'no reason'!r:.100})"
            self._in_order = not failed and close.code in _IN_ORDER

    # --- closing ---

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """Close with `code` and `reason` (cut to 123 bytes), waiting for the peer's answer limits.CLOSE at most.

        When cancelled, closes at once, without a word; shield it to say goodbye. Closing again does nothing.
        """
        if self._closing:
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        try:
            with trio.move_on_after(limits.CLOSE):
                await self._say_goodbye(code, reason.encode()[:_MAX_REASON].decode("utf-8", "ignore"))  # [channel-25]
        except ChannelError:
            pass  # nobody is there to say goodbye to
        finally:
            await self._stream.aclose()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        await self._sending.free()
        if self._protocol.state is OPEN and not self._over:
            self._protocol.send_close(code, reason)
            self._due.update((made[0], made) for made in self._protocol.data_to_send())
        await self._send_due()
        while not (self._over or self._send_failure):
            await self._receiving.free()
            with self._receiving:
                if not self._over:
                    await self._read()
                    self._messages.clear()

    async def _wind_up(self) -> None:
        """The peer has closed, or broken a rule: answer within limits.CLOSE, and close the stream."""
        try:
            with trio.move_on_after(limits.CLOSE):
                await self._send_due()
        except ChannelError:
            pass  # it is gone already
        finally:
            await self._stream.aclose()
