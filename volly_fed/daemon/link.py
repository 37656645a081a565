"""An established link while it runs: a reader, a writer, a timer, and who acknowledges, around a session machine.

in: a Socket, a Session, a Handler; out: calls of the handler, in the order of the messages; at last an End.
Never: sends from two tasks, or acknowledges before the handler has said that it is durable.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeAlias, TypeVar

import attrs
import trio

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError, RemoteError, StorageError
from volly_fed.session import (
    Acknowledge,
    Closing,
    Drain,
    Event,
    Extra,
    Finished,
    Grant,
    Lost,
    Next,
    Other,
    Received,
    Session,
    Settled,
    StreamOpened,
    closing,
)
from volly_fed.wire.messages import Message, Refusal

K = TypeVar("K", bound=Hashable)


Pending: TypeAlias = Callable[[], Awaitable[tuple[Refusal, ...]]]
"""Waits until a batch is durable; its refusals. A link awaits them in order, each once."""
Resumption: TypeAlias = tuple[int, tuple[Refusal, ...]]
"""Up to where a stream is settled, and what of the last window was refused."""


class Handler(Protocol[K]):
    """What a link's owner does with what comes in. RemoteError ends the link with its code, StorageError as BUSY."""

    async def opened(self, stream: bytes) -> Resumption:
        """The cursor that is stored for the peer's `stream`, and what of the last window was refused.

        (0, ()) for one that is unknown.
        """
        ...

    async def received(self, batch: Received) -> Pending:
        """Begin to make `batch` durable, with its cursor; the next batch is read meanwhile.

        The Pending waits until it is, and says which of it is refused.
        """
        ...

    async def settled(self, event: Settled[K]) -> None:
        """The peer is done with these of ours."""
        ...

    async def other(self, message: Message) -> None:
        """A message beside the streams."""
        ...


@attrs.frozen
class End:
    """Why a link ended: NONE where it was closed in order."""

    code: ErrorCode
    reason: str
    retry_after: int = 0
    """Seconds before a new link makes sense (BUSY); 0: nobody said so."""


class Link(Generic[K]):
    """One link. `run` it in a task; the other methods may be called from any other, at any time."""

    def __init__(self, socket: Socket, session: Session[K], handler: Handler[K]) -> None:
        self._socket = socket
        self._session = session
        self._handler = handler
        self._work = trio.Event()
        self._sending = False
        self._sending_since = 0.0
        self._time = trio.Event()
        self._tick_at = 0.0
        self._reason: End | None = None  # what the peer's CLOSE said; what is under way may still be acknowledged
        self._end: End | None = None
        self._pending: deque[tuple[int, Received, Pending]] = deque()  # bounded by the session's window
        self._opened = 0  # how often the peer has opened a stream
        self._to_acknowledge = trio.Event()
        self._ended = trio.Event()
        self._room = trio.Event()
        self._last_words = b""
        self.since = trio.current_time()

    def wake(self) -> None:
        """Something may want to leave: the session's outbound stream was given more."""
        self._work.set()

    def send(self, message: Message) -> bool:
        """Queue a message beside the streams. False: too many wait already, or the link is over; nothing was queued."""
        if not self.extra_room:
            return False
        self._session.send(Extra(message))
        self.wake()
        return True

    @property
    def extra_room(self) -> int:
        """How many more messages `send` would take now."""
        return 0 if self._over else self._session.extra_room

    @property
    def _over(self) -> bool:
        return self._session.over or self._end is not None

    async def wait_extra_room(self, spare: int = 0) -> None:
        """Until `send` would take more than `spare` messages, or the link is over."""
        while not self._over and self._session.extra_room <= spare:
            await self._room.wait()

    def drain(self, code: ErrorCode = ErrorCode.NONE, text: str = "") -> None:
        """Send no more batches, let what is under way be acknowledged, and end."""
        if not self._over:
            self._session.send(Drain(code=code, text=text))
            self._time.set()
            self.wake()

    def grant(self, window: int = limits.WINDOW_ENVELOPES, window_bytes: int = limits.WINDOW_BYTES) -> None:
        """Let the other end have so much in flight from now on; 0: nothing for now."""
        if not self._over:
            self._session.send(Grant(window=window, window_bytes=window_bytes))
            self.wake()

    async def run(self) -> End:
        """Serve the link until it ends; whatever the other end does, that is no error here."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._acknowledge)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._cut_off, nursery.cancel_scope)
            nursery.start_soon(self._write, nursery.cancel_scope)  # waking this task, deep in its calls, costs more
        return self._end or End(ErrorCode.NONE, "closed")

    # --- the tasks -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        with self._ending():
            while not self._session.over:
                data = await self._socket.receive()
                self._session.receive(data, trio.current_time())
                await self._handle_events()
                if self._session.may_send:
                    self.wake()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """What the other end or the disk does ends the link, and nothing else."""
        try:
            yield
        except RemoteError as error:
            if not isinstance(error, ChannelError):
                self._last_words = closing(error)  # [wire-25]
            self._finish(error.code, str(error))
        except StorageError as error:
            busy = RemoteError("not at the moment", code=ErrorCode.BUSY, retry_after=limits.BUSY_RETRY)
            self._last_words = closing(busy)
            self._finish(busy.code, str(error), busy.retry_after)
        except trio.EndOfChannel:
            self._finish(ErrorCode.NONE, "closed by the other end")

    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            while self._end is None:
                while await self._send_next():  # [session-15]
                    pass
                self._notice_end()
                await self._work.wait()
                self._work = trio.Event()
            if self._last_words:
                with trio.move_on_after(limits.CLOSE):
                    await self._socket.send(self._last_words)
        except ChannelError as error:
            self._finish(error.code, str(error))
        scope.cancel()

    async def _send_next(self) -> bool:
        """Send what is most urgent, unless another task is sending, which sees to it that the writer goes on.

        False: there was nothing to do.
        """
        if self._sending or self._end is not None or not (data := self._session.send(Next())):
            return False
        self._sending, self._sending_since = True, trio.current_time()
        try:
            await self._socket.send(data)
        finally:
            self._sending = False
        self._tell_room()
        return True

    async def _acknowledge(self) -> None:
        """Tell the peer what has become durable, in order, while the next batches are on their way to the disk."""
        with self._ending():
            while True:
                await self._to_acknowledge.wait()
                self._to_acknowledge = trio.Event()
                while self._pending:
                    opened, batch, pending = self._pending.popleft()
                    refusals = await pending()  # [session-17]
                    if opened == self._opened:  # who opens a stream again meanwhile is told where that one stands
                        self._session.send(Acknowledge(stream=batch.stream, cursor=batch.last, refusals=refusals))
                        await self._send_acknowledgement()
                        deadline = self._session.deadline  # an acknowledgement may be held back
                        if deadline is not None and deadline < self._tick_at:
                            self._time.set()

    async def _send_acknowledgement(self) -> None:
        """Waking the writer costs as much as sending; the reader may not do so, for it must not wait for room."""
        await self._send_next()
        if self._session.may_send:
            self.wake()

    def _tell_room(self) -> None:
        if self._room.statistics().tasks_waiting:
            self._room.set()
            self._room = trio.Event()

    async def _keep_time(self) -> None:
        while self._end is None and (deadline := self._deadline) is not None:
            self._tick_at = deadline
            with trio.move_on_at(deadline) as waiting:
                await self._time.wait()
            if not waiting.cancelled_caught:
                self._time = trio.Event()  # there is another deadline
                continue
            now = trio.current_time()
            self._session.tick(now)
            self._notice_end()  # the writer may be stuck, and nobody else would
            if self._sending and now >= self._sending_since + limits.SEND:  # [session-32]
                # an end that reads nothing, but sends, is alive to keepalive: here it is not
                self._finish(ErrorCode.TIMEOUT, f"the other end has taken nothing for {limits.SEND:.0f} s")
            self.wake()

    @property
    def _deadline(self) -> float | None:
        """When the session wants to be asked, or a send has lasted too long.

        A send does not wake the timer, which costs more than a send: the timer sees it in time because the session's
        own deadlines (limits.PING_AFTER at most) are nearer than limits.SEND.
        """
        deadline = self._session.deadline
        if deadline is None or not self._sending:
            return deadline
        return min(deadline, self._sending_since + limits.SEND)

    async def _cut_off(self, scope: trio.CancelScope) -> None:
        """Last words have their limit too: the writer may be stuck on an end that reads nothing."""
        await self._ended.wait()
        await trio.sleep(limits.CLOSE)
        scope.cancel()

    # --- events ----------------------------------------------------------------------------------------------------

    async def _handle_events(self) -> None:
        while events := self._session.events():
            for event in events:
                await self._handle(event)

    async def _handle(self, event: Event[K]) -> None:
        match event:
            case Received():
                self._pending.append((self._opened, event, await self._handler.received(event)))
                self._to_acknowledge.set()
            case Settled():
                await self._handler.settled(event)
            case Other():
                await self._handler.other(event.message)
            case StreamOpened():
                self._opened += 1
                cursor, refusals = await self._handler.opened(event.stream)  # [session-5]
                self._session.send(Acknowledge(stream=event.stream, cursor=cursor, refusals=refusals))
            case _:
                self._note(event)

    def _notice_end(self) -> None:
        """Sending and time bring events of their own: only such as end the link."""
        if self._session.over:
            for event in self._session.events():
                self._note(event)
            self._finish(ErrorCode.NONE, "closed")

    def _note(self, event: object) -> None:
        match event:
            case Closing():
                self._time.set()  # draining has a deadline of its own
                if event.code is not ErrorCode.NONE:
                    self._finish(event.code, event.text, event.retry_after, stop=False)
            case Lost():
                self._finish(ErrorCode.TIMEOUT, f"no sign of the other end for {event.silence:.0f} s")
            case Finished():
                self._finish(ErrorCode.NONE, "closed" if event.complete else "closed before all was acknowledged")

    def _finish(self, code: ErrorCode, reason: str, retry_after: int = 0, *, stop: bool = True) -> None:
        self._reason = self._reason or End(code, reason, retry_after)
        if stop:
            self._end = self._end or self._reason
            self._ended.set()
            self._tell_room()
            self.wake()
