"""Target: one session, its own daemon honest, its peer hostile.

in: steps of the peer (OPEN, BATCH, ACK and all the others, with numbers that are nearly right, or bytes as they are)
and of the daemon (write, commit, offer, grant, drain, a new link, time).
Never lets through: another error than RemoteError, an envelope handed out twice or after a gap, more in flight than was
granted, an acknowledgement that goes back or comes before the disk, an envelope settled twice.
"""

from contextlib import suppress
from random import Random

from fuzz import mutators
from fuzz.target import Target, join, pick, split
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.session import Drain, Grant, Next, Outbound, Received, Session, Settled, StreamOpened
from volly_fed.testing.session_pair import SessionNode
from volly_fed.wire import encode_message, parse_message
from volly_fed.wire.messages import Ack, Batch, Close, Message, Open, Ping, Pong, PresenceRequest, Refusal

RAW, OPEN, BATCH, ACK, CLOSE, PING, PONG, EXTRA, WRITE, COMMIT, OFFER, GRANT, TICK, DRAIN, CONNECT, FAIL = range(16)
_STREAMS = (b"stream.0", b"stream.1", b"stream.2", b"stream.3")
_WINDOWS = (0, 1, 7, 64, limits.WINDOW_ENVELOPES, 1 << 40)
_SIZES = (0, 1, 20_000, 70_000, limits.WINDOW_BYTES, 1 << 50)
_SECONDS = (0.0, limits.ACK_PACE / 2, limits.ACK_PACE, 1.0, limits.PONG_WITHIN, limits.PING_AFTER)
_MIDDLE = 128
_MARK = b"number"
_MARKED, _NUMBER = slice(1, 7), slice(7, 15)
"""Where in the peer's envelopes their own sequence number stands."""


def _judge(sequence: int, envelope: bytes) -> Refusal | None:
    return (sequence, ErrorCode.UNDELIVERABLE, "no") if envelope[:1] == b"\3" else None


class _Link:
    """What was said on one link, as the wire shows it."""

    def __init__(self) -> None:
        self.received: dict[bytes, int] = {}
        self.acknowledged: dict[bytes, int] = {}
        self.sent: dict[bytes, int] = {}
        self.granted: tuple[int, int] | None = None
        """By the peer; None: it has told no cursor."""


class _Side:
    """Our session with the daemon around it."""

    def __init__(self) -> None:
        self.node = SessionNode(Random(1).randbytes, _judge)
        self.now = 0.0
        self.offered = self.settled = 0
        self.streams: list[bytes] = []
        self.link = _Link()
        self.connect()

    def connect(self) -> None:
        self.link = _Link()
        self.node.session = Session(self.node.outbound, now=self.now, extra=frozenset({PresenceRequest}))

    @property
    def outbound(self) -> Outbound[int]:
        return self.node.outbound

    # --- the peer ---

    def receive(self, data: bytes) -> None:
        session = self.node.session
        if session is None or session.over:
            return
        self.before_open(data)
        try:
            session.receive(data, self.now)
        except RemoteError:
            assert session.over
            return
        message = parse_message(data)
        if isinstance(message, Ack) and message.stream in self.streams:
            known = message.stream == self.outbound.stream
            self.link.granted = (message.window, message.window_bytes) if known else self.link.granted
        self.look()

    def before_open(self, data: bytes) -> None:
        """The stored cursor is read after what is being written: so does the daemon's store."""
        with suppress(BadMessage):
            while isinstance(parse_message(data), Open) and self.node._uncommitted:
                self.commit()

    def say(self, message: Message) -> None:
        self.receive(encode_message(message))

    def batch(self, payload: bytes) -> None:
        """Nearly what is due: stream, distance from what is due, count, size."""
        stream = _STREAMS[pick(payload, 0) % 4]
        first = max(0, self.link.received.get(stream, 0) + 1 + pick(payload, 1, _MIDDLE) - _MIDDLE)
        count, size = pick(payload, 2) % 257, (1, 20, 3000, 60_000)[pick(payload, 3) % 4]
        kinds = [bytes([pick(payload, 4) + n & 3]) for n in range(count)]
        envelopes = [kind + _MARK + (first + n).to_bytes(8, "big") + bytes(size) for n, kind in enumerate(kinds)]
        if sum(map(len, envelopes)) < limits.BATCH_BYTES:
            self.say(Batch(stream=stream, first=first, envelopes=envelopes))

    def acknowledge(self, payload: bytes) -> None:
        """Nearly what was sent: stream, distance from the last sent, windows, refusals with theirs."""
        known = [self.outbound.stream, *self.streams, _STREAMS[0]]
        stream = known[pick(payload, 0) % len(known)]
        cursor = max(0, self.link.sent.get(stream, 0) + pick(payload, 1, _MIDDLE) - _MIDDLE)
        window, size = _WINDOWS[pick(payload, 2) % 6], _SIZES[pick(payload, 3) % 6]
        codes = (ErrorCode.OVERLOADED, ErrorCode.UNDELIVERABLE)
        refusals = tuple((max(0, cursor - (byte >> 1)), codes[byte & 1], "no") for byte in payload[4:20])
        self.say(Ack(stream=stream, cursor=cursor, refusals=refusals, window=window, window_bytes=size))

    # --- the daemon ---

    def offer(self, payload: bytes) -> None:
        size = (1, 2000, 60_000)[pick(payload, 1) % 3]
        for _ in range(min(pick(payload, 0), 64 if size > 1 else 255)):
            self.offered += 1
            self.node.offer(self.offered.to_bytes(4, "big") + bytes(size), EnvelopeClass(pick(payload, 2) % 3))

    def commit(self) -> None:
        if self.node._uncommitted and self.node._uncommitted[0][0] is not self.node.session:
            self.node.commit()
            return
        self.node.commit()
        self.look()

    def write(self) -> None:
        session = self.node.session
        data = session.send(Next()) if session is not None else b""
        if data:
            self.wrote(parse_message(data))
        self.look()

    def wrote(self, message: Message) -> None:
        link = self.link
        if isinstance(message, Open):
            assert message.stream == self.outbound.stream
            self.streams.append(message.stream)
            link.granted = None
        elif isinstance(message, Ack):
            assert message.cursor >= link.acknowledged.get(message.stream, 0), "the cursor goes back"
            assert message.cursor <= self.node._streams.get(message.stream, (0, {}))[0], "before it is durable"
            link.acknowledged[message.stream] = message.cursor
        elif isinstance(message, Batch):
            self.wrote_batch(message)

    def wrote_batch(self, message: Batch) -> None:
        link, outbound = self.link, self.outbound
        assert link.granted is not None, "a batch before the peer's cursor"
        last = message.first + len(message.envelopes) - 1
        expected = link.sent.get(message.stream, outbound._settled) + 1
        assert message.first == expected, f"{message.first} sent, where {expected} follows"
        window, size = link.granted
        assert last - outbound._settled <= min(window, limits.WINDOW_ENVELOPES), "beyond the window"
        alone = last - outbound._settled == 1
        assert alone or outbound._sent_bytes <= min(size, limits.WINDOW_BYTES) or size < limits.MAX_ENVELOPE
        link.sent[message.stream] = last

    def look(self) -> None:
        """What must hold after every step, and what the events tell."""
        node, before = self.node, len(self.node.events)
        node.handle_events()
        for event in node.events[before:]:
            self.heard(event)
        assert self.outbound.in_flight <= limits.WINDOW_ENVELOPES
        assert len(node.owed) + self.settled == self.offered, "an envelope is lost or settled twice"
        coming = [batch for session, batch in node._uncommitted if session is node.session]
        assert sum(len(batch.envelopes) for batch in coming) <= limits.WINDOW_ENVELOPES

    def heard(self, event: object) -> None:
        if isinstance(event, StreamOpened):
            self.link.received[event.stream] = self.node._streams.get(event.stream, (0, {}))[0]
            self.link.acknowledged.pop(event.stream, None)
        elif isinstance(event, Received):
            assert event.first == self.link.received[event.stream] + 1, "a gap, or twice"
            self.link.received[event.stream] = event.last
            for sequence, envelope in enumerate(event.envelopes, event.first):
                number = int.from_bytes(envelope[_NUMBER], "big")
                assert envelope[_MARKED] != _MARK or number == sequence, "another envelope's number"
        elif isinstance(event, Settled):
            self.settled += len(event.keys)
            assert len({*event.keys}) == len(event.keys)


def _step(side: _Side, number: int, payload: bytes) -> None:
    match number:
        case 0:
            side.receive(payload)
        case 1:
            side.say(Open(stream=_STREAMS[pick(payload, 0) % 4]))
        case 2:
            side.batch(payload)
        case 3:
            side.acknowledge(payload)
        case 4:
            side.say(Close(code=ErrorCode.NONE, text="", retry_after=pick(payload, 0)))
        case 5 | 6:
            side.say((Ping if number == PING else Pong)(token=pick(payload, 0)))
        case 7:
            side.say(PresenceRequest())
        case 8:
            for _ in range(1 + pick(payload, 0) % 8):
                side.write()
        case 9:
            side.commit()
        case 10:
            side.offer(payload)
        case _:
            _daemon_step(side, number, payload)


def _daemon_step(side: _Side, number: int, payload: bytes) -> None:
    session = side.node.session
    if number == CONNECT:
        side.connect()
    elif number == FAIL:
        side.node.fail()
    elif session is not None and number == GRANT:
        session.send(Grant(window=_WINDOWS[pick(payload, 0) % 6], window_bytes=_SIZES[pick(payload, 1) % 6]))
    elif session is not None and number == DRAIN:
        session.send(Drain())
    elif session is not None:
        side.now += _SECONDS[pick(payload, 0) % 6]
        session.tick(side.now)
    side.look()


def run(data: bytes) -> None:
    """Each step, and what must hold after it."""
    side = _Side()
    for number, payload in split(data):
        _step(side, number % 16, payload)


def _open_both() -> list[tuple[int, bytes]]:
    """Both streams are open, at cursor 0."""
    return [(WRITE, b""), (OPEN, b"\0"), (ACK, bytes([0, _MIDDLE, 4, 4])), (WRITE, b"\7")]


def seeds() -> list[bytes]:
    """Links as they should be, and what is done to them."""
    batch, ack = bytes([0, _MIDDLE, 9, 1, 0]), bytes([0, _MIDDLE, 4, 4])
    give = [(BATCH, batch), (BATCH, batch), (COMMIT, b""), (WRITE, b"\3"), (TICK, b"\2"), (COMMIT, b""), (WRITE, b"\3")]
    take = [(OFFER, bytes([40, 0, 1])), (OFFER, bytes([9, 1, 0])), (WRITE, b"\7"), (ACK, ack)]
    end = [(DRAIN, b""), (CLOSE, b""), (WRITE, b"\7"), (COMMIT, b""), (WRITE, b"\7"), (ACK, ack), (TICK, b"\4")]
    again = [(CONNECT, b""), *_open_both()]
    refused = [(ACK, bytes([0, _MIDDLE, 4, 4, 3, 6, 9]))]
    full = (BATCH, bytes([0, _MIDDLE, 255, 0]))
    return [
        join([*_open_both(), *give, *take, *end]),
        join([*_open_both(), *take[:3], *again, *take, *give]),
        join([*_open_both(), *take[:3], *refused, (WRITE, b"\7")]),
        join([*_open_both(), *[full] * 5]),  # more than the window
        join([*_open_both(), full, (BATCH, bytes([0, _MIDDLE + 1, 9, 0]))]),  # a gap
        join([*_open_both(), full, (BATCH, bytes([0, _MIDDLE - 9, 19, 0])), (COMMIT, b""), (WRITE, b"\7")]),
        join([*_open_both(), *give[:2], (GRANT, b"\1\2"), (OPEN, b"\1"), *give, (FAIL, b"")]),
        join([*_open_both(), *take[:3], (CONNECT, b""), (WRITE, b""), (ACK, bytes([0, 120, 4, 4])), (WRITE, b"\7")]),
        join([*_open_both(), (TICK, b"\5"), (WRITE, b""), (PONG, b"\1"), (PING, b"\7"), (EXTRA, b""), (WRITE, b"\7")]),
        join([*_open_both(), (TICK, b"\5"), (WRITE, b""), (TICK, b"\5"), (RAW, encode_message(Ping(token=1)))]),
    ]


TARGET = Target(run=run, seeds=seeds, mutate=mutators.steps(16, inner=mutators.cbor), longest=2048)
