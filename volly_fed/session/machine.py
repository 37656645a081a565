"""An established link: both streams, acknowledgements, keepalive, and the way out.

in: messages of the peer; commands; time. out: events; and, for Next, the most urgent message that wants to leave.
Never: acknowledges by itself, or sends a batch before the peer has told its cursor.
One writer per link calls Next until it gives b"": what piles up meanwhile is what the next batch is made of.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.errors import LocalProtocolError, RemoteError
from volly_fed.session.events import (
    Acknowledge,
    Closing,
    Command,
    Drain,
    Event,
    Extra,
    Finished,
    Grant,
    Lost,
    Next,
    Other,
    Settled,
    StreamOpened,
)
from volly_fed.session.inbound import Inbound
from volly_fed.session.keepalive import Keepalive
from volly_fed.session.outbound import Outbound
from volly_fed.session.state import SENDING, Receiving, Sending
from volly_fed.wire.messages import (
    Ack,
    Batch,
    Close,
    Message,
    Open,
    Ping,
    Pong,
    encode_message,
    parse_message,
)

K = TypeVar("K", bound=Hashable)


class Session(Generic[K]):
    """One link's session. `events` wants to be asked after each of the other verbs.

    `extra` names the message classes that pass beside the streams (edge links); all others are refused.
    Making a Session takes `outbound` over from the session before it, which then sends and settles nothing more.
    """

    def __init__(self, outbound: Outbound[K], *, now: float, extra: frozenset[type[Message]] = frozenset()) -> None:
        self._outbound = outbound
        outbound.attach(self)
        self._inbound = Inbound(now)
        self._now = now
        self._keepalive = Keepalive(now)
        self._extra = extra
        self._sending = Sending.IDLE
        self._streams: set[bytes] = set()  # ours, on this link; acknowledgements of former ones are old news
        self._stream = b""  # the last of them
        self._carried = 0  # the last sequence number of it that was sent here
        self._answered = 0  # and the last that was acknowledged here
        self._open_due = True
        self._cursor_due = True  # the next acknowledgement tells where the peer stands
        self._events: list[Event[K]] = []
        self._ping: Ping | None = None
        self._pong: Pong | None = None
        self._extras: deque[bytes] = deque()  # encoded: what they hold of memory is known
        self._extra_bytes = 0
        self._extra_was_last = False
        self._drain: Drain | None = None
        self._drain_until: float | None = None
        self._over = False

    # --- the five verbs ---

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called at the latest; None once the session is over."""
        if self._over:
            return None
        if self._drain is None:
            return min(self._keepalive.deadline, self._inbound.ack_at)
        # commands bring no time, so that draining begins with the next tick, which is wanted at once
        return self._keepalive.last_heard if self._drain_until is None else self._drain_until

    def receive(self, data: bytes, now: float) -> None:
        """Take one message. Raises RemoteError: answer with `closing(error)`; the session is over then.

        What still comes in when the session is over is ignored.
        """
        if self._over:
            return
        self._keepalive.heard(now)
        self._now = max(now, self._now)
        try:
            self._take(parse_message(data))
        except RemoteError:
            self._over = True
            raise
        self._maybe_finish()

    def events(self) -> list[Event[K]]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def send(self, command: Command) -> bytes:
        """Do what `command` says. Only Next gives bytes: one whole message, or b"" if nothing wants to leave.

        The other commands take effect at once and leave with a later Next, so that acknowledgements pile up into one
        while the writer is busy. Raises LocalProtocolError: an Extra of a class not agreed on, or too many of them; a
        cursor that cannot be.
        """
        if isinstance(command, Next):
            return self._next()
        if isinstance(command, Acknowledge):
            self._inbound.acknowledge(command)
        elif isinstance(command, Grant):
            self._inbound.grant(command)
        elif isinstance(command, Extra):
            self._queue_extra(command.message)
        elif self._drain is None:
            self._drain = command
            self._inbound.hurry()
        return b""

    def tick(self, now: float) -> None:
        """Let time pass: an acknowledgement or a ping is due, or the link Lost, or draining has lasted long enough."""
        if self._over:
            return
        self._now = max(now, self._now)
        if self._drain is not None:
            if self._drain_until is None:
                self._drain_until = now + limits.DRAIN
            elif now >= self._drain_until:
                self._finish(complete=False)
        elif self._keepalive.dead(now):  # [session-30]
            self._over = True
            self._events.append(Lost(self._keepalive.silence(now)))
        else:
            self._ping = self._keepalive.next_ping(now) or self._ping

    # --- what else the daemon looks at ---

    @property
    def extra_room(self) -> int:
        """How many Extra commands fit before the writer must catch up; 0 also when their bytes are used up."""
        return limits.EXTRA_MESSAGES - len(self._extras) if self._extra_bytes < limits.EXTRA_BYTES else 0

    @property
    def may_send(self) -> bool:
        """Whether Next may have something: False is certain."""
        return (
            self._over
            or self._open_due
            or self._drain is not None
            or self._ping is not None
            or self._pong is not None
            or bool(self._extras)
            or self._inbound.may_acknowledge
            or (not self._cursor_due and self._outbound.may_send)
        )

    @property
    def over(self) -> bool:
        """Whether Finished or Lost was told, or an error raised."""
        return self._over

    # --- receiving ---

    def _take(self, message: Message) -> None:
        match message:
            case Batch():
                received = self._inbound.batch(message)
                if received is not None:
                    self._events.append(received)
            case Ack():
                self._acknowledged(message)
            case Open():
                self._inbound.open(message)
                self._events.append(StreamOpened(message.stream))
            case Close():
                self._inbound.close()
                self._events.append(Closing(code=message.code, text=message.text, retry_after=message.retry_after))
                self._drain = self._drain or Drain()  # [session-34]
            case Ping():
                # [session-29]
                self._pong = Pong(token=message.token)  # of several, the latest is answered (as RFC 6455 §5.5.3 has it)
            case Pong():
                self._keepalive.pong(message)
            case _ if type(message) in self._extra:
                self._events.append(Other(message))
            case _:
                # [session-1]
                raise RemoteError(f"{type(message).__name__} does not belong on this link", code=ErrorCode.UNEXPECTED)

    def _acknowledged(self, message: Ack) -> None:
        if message.stream == self._stream:
            self._answered = message.cursor
        if not self._outbound.belongs_to(self):
            return
        if message.stream not in self._streams:  # the one that is to be opened next is no exception
            raise RemoteError("an acknowledgement of a stream that was not opened on this link")
        if message.stream != self._outbound.stream:
            return
        self._sending = SENDING.after(self._sending, Ack, remote=True)
        self._outbound.grant(message.window, message.window_bytes)
        settled: Settled[K] | None
        if self._cursor_due:
            self._cursor_due = False
            settled = self._outbound.resume(message.cursor, message.refusals)
        else:
            settled = self._outbound.acknowledge(message.cursor, message.refusals)
        if settled is None:
            self._open_due = self._cursor_due = True
        elif settled.keys or settled.later:
            self._events.append(settled)

    # --- sending ---

    def _next(self) -> bytes:
        message = None if self._over else self._most_urgent()
        if message is None:
            return b""
        data = message if isinstance(message, bytes) else encode_message(message)
        self._maybe_finish()
        return data

    def _most_urgent(self) -> Message | bytes | None:
        if self._open_due and self._drain is None and self._outbound.belongs_to(self):  # [session-4]
            return self._open()
        message: Message | None
        if self._pong is not None:
            message, self._pong = self._pong, None
            return message
        if self._ping is not None:
            message, self._ping = self._ping, None
            return message
        message = self._inbound.next_ack(self._now)
        if message is not None:
            return message
        return self._load()

    def _open(self) -> Open:
        self._sending = SENDING.after(self._sending, Open, remote=False)
        self._open_due = False
        self._stream, self._carried, self._answered = self._outbound.stream, 0, 0
        self._streams.add(self._stream)
        return Open(stream=self._stream)

    def _load(self) -> Message | bytes | None:
        """Batches and messages beside the stream take turns, so that neither can starve the other."""
        batch_turn = self._extra_was_last or not self._extras
        message = self._batch_or_close() if batch_turn else None
        self._extra_was_last = message is None and bool(self._extras)
        return self._pop_extra() if self._extra_was_last else message

    def _pop_extra(self) -> bytes:
        data = self._extras.popleft()
        self._extra_bytes -= len(data)
        return data

    def _batch_or_close(self) -> Message | None:
        if self._drain is not None:
            if self._sending is Sending.CLOSED:  # [session-33]
                return None
            self._sending = SENDING.after(self._sending, Close, remote=False)
            return Close(code=self._drain.code, text=_printable(self._drain.text))
        if self._cursor_due or not self._outbound.belongs_to(self):  # [session-7]
            return None
        batch = self._outbound.next_batch()
        if batch is None:
            return None
        self._sending = SENDING.after(self._sending, Batch, remote=False)
        self._carried = batch[0] + len(batch[1]) - 1
        return Batch(stream=self._outbound.stream, first=batch[0], envelopes=batch[1])

    def _queue_extra(self, message: Message) -> None:
        if type(message) not in self._extra:
            raise LocalProtocolError(f"{type(message).__name__} was not agreed on for this link")  # [versioning-6]
        if not self.extra_room:
            raise LocalProtocolError("too many messages wait for the writer: look at extra_room")
        data = encode_message(message)
        self._extras.append(data)
        self._extra_bytes += len(data)

    # --- the way out ---

    def _maybe_finish(self) -> None:
        if (
            self._sending is Sending.CLOSED
            and self._inbound.state is Receiving.CLOSED
            and self._inbound.settled
            and self._answered >= self._carried
            and not self._extras
        ):
            self._finish(complete=True)

    def _finish(self, *, complete: bool) -> None:
        if not self._over:
            self._over = True
            self._events.append(Finished(complete=complete))


def closing(error: RemoteError) -> bytes:
    """The CLOSE that tells the peer what it did wrong; the last message of a link."""
    return encode_message(Close(code=error.code, text=_printable(str(error)), retry_after=error.retry_after))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[: limits.MAX_TEXT])  # [wire-20]
