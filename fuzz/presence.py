"""Target: what a peer shows of who is online: coded changes, records from the disk, and a view with a hostile peer.

in: which of them; changes and records as bytes; for a view steps: filters in pieces, changes that fit or nearly fit,
messages as they are, the link, time. A filter's bits are drawn from a seed, so that an input stays small.
Never lets through: another error than RemoteError (BadMessage for changes and records), changes with two spellings, a
filter that an error has changed, that is too full, or that is not what the events said.
"""

from random import Random

import numpy as np

from fuzz import mutators
from fuzz.target import Raw, Target, join, pick, split
from volly_fed.codepoints import FilterClass
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.presence import View, bounds
from volly_fed.presence.delta import encode_delta, parse_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits, filter_bytes
from volly_fed.presence.state import Appeared, Changed, Gone, Viewing
from volly_fed.presence.tags import epoch_of
from volly_fed.wire import Message, parse_message
from volly_fed.wire.messages import PresenceDelta, PresenceSnapshot, PresenceWithdraw

DELTA, RECORD, VIEW = range(3)
RAW, FILTER, PIECE, CHANGE, CODED, WITHDRAW, ASK, LOST, TIME, TICK = range(10)
_WALL = 1_000_000 * bounds.EPOCH + 600.0
_MIDDLE = 128
_CLASSES = (0, 0, 0, 1, 2, 9)


def _delta(data: bytes) -> None:
    bits = filter_bits(FilterClass(pick(data, 0) % len(FilterClass)))
    positions = parse_delta(data[1:], bits)
    assert encode_delta(positions, bits) == data[1:], "changes with two spellings"
    assert not len(positions) or (positions[0] >= 0 and positions[-1] < bits and (np.diff(positions) > 0).all())


def _record(data: bytes) -> None:
    """A record ends with its filter's bits: what is missing of them is zeros."""
    size = filter_bytes(FilterClass.TAGS_4K) if pick(data, 0) else 0
    record = data[1:] + bytes(size)
    again = View.from_record(record).to_record()
    assert again is not None
    assert View.from_record(again).to_record() == again, "another view when it is read again"


class _Peer:
    """A view, its peer, and a copy of the filter as the events tell it."""

    def __init__(self) -> None:
        self.view = View()
        self.wall = _WALL
        self.mirror: Filter | None = None
        self.head: tuple[int, ...] = (epoch_of(_WALL), 1, 0, 5)
        """Of the filter that is being sent: epoch, key, class, sequence."""
        self.view.connected()

    def receive(self, message: Message) -> None:
        before = self.view.filter
        bits, sequence = (before.to_bytes(), self.view.sequence) if before else (b"", 0)
        try:
            self.view.receive(message, self.wall)
        except RemoteError:
            assert self.view.filter is before, "an error took the filter away"
            assert before is None or (before.to_bytes(), self.view.sequence) == (bits, sequence), "half a change"
        self.look()

    def look(self) -> None:
        for event in self.view.events():
            if isinstance(event, Appeared):
                self.mirror = Filter.from_bytes(Placement(Secret(event.key), event.size), event.bits)
            elif isinstance(event, Changed):
                assert self.mirror is not None
                self.mirror.flip(parse_delta(event.changes, filter_bits(self.mirror.placement.size)))
            else:
                assert isinstance(event, Gone)
                self.mirror = None
        shown = self.view.filter
        assert (shown is None) == (self.mirror is None)
        assert (self.view.deadline is None) == (shown is None)
        if shown is not None:
            assert shown.ones <= bounds.MAX_FILL * filter_bits(shown.placement.size), "too full"

    def check_end(self) -> None:
        """What costs more: every bit."""
        shown = self.view.filter
        if shown is not None and self.mirror is not None:
            data = shown.to_bytes()
            assert data == self.mirror.to_bytes(), "not what the events said"
            assert shown.ones == int.from_bytes(data, "big").bit_count()
            record = self.view.to_record()
            assert record is not None
            assert View.from_record(record).to_record() == record

    # --- steps ---

    def raw(self, payload: bytes) -> None:
        try:
            self.receive(parse_message(payload))
        except BadMessage:
            return

    def begin(self, payload: bytes) -> None:
        """Another filter: epoch, key, class, sequence; its first piece follows."""
        epoch = epoch_of(_WALL) + pick(payload, 0, _MIDDLE) - _MIDDLE
        self.head = (max(0, epoch), pick(payload, 1), _CLASSES[pick(payload, 2) % len(_CLASSES)], pick(payload, 3))
        self.piece(payload[4:])

    def piece(self, payload: bytes) -> None:
        """One piece: number, seed, density, how much too short."""
        epoch, key, size, sequence = self.head
        offset = pick(payload, 0) * bounds.SNAPSHOT_PIECE
        wanted = filter_bytes(FilterClass(size)) if size in [*FilterClass] else 1
        length = max(0, min(bounds.SNAPSHOT_PIECE, wanted - offset) - pick(payload, 3))
        bits = _bits(pick(payload, 1), pick(payload, 2) % 4, length)
        self.receive(
            PresenceSnapshot(epoch=epoch, key=bytes([key]) * 32, size=size, sequence=sequence, offset=offset, bits=bits)
        )

    def change(self, payload: bytes) -> None:
        """How far the sequence is off, and positions; from 128 on as their number and the first of them."""
        placement = (
            self.mirror.placement if self.mirror is not None else Placement(Secret(bytes(32)), FilterClass.TAGS_4K)
        )
        bits = filter_bits(placement.size)
        numbers = {int.from_bytes(payload[at : at + 3], "big") % bits for at in range(1, len(payload), 3)}
        if pick(payload, 0) >= _MIDDLE:
            numbers = {(pick(payload, 2) + 4 * n) % bits for n in range(64 * pick(payload, 1))}
        coded = encode_delta(np.array(sorted(numbers), dtype=np.int64), bits)
        assert coded is not None
        self.coded(bytes([pick(payload, 0)]) + coded)

    def coded(self, payload: bytes) -> None:
        off = pick(payload, 0) % 8
        sequence = max(0, self.view.sequence + (1 if off else 0) + (off == 7))  # now and then wrong
        known = self.mirror.placement.filter_id if self.mirror is not None else bytes(8)
        self.receive(PresenceDelta(filter=known, sequence=sequence, changes=payload[1:]))

    def ask(self) -> None:
        if self.view.state is Viewing.AWAY:
            self.view.connected()
        else:
            self.view.again()
        self.look()


def _bits(seed: int, density: int, length: int) -> bytes:
    """Density 0: none; 1: an eighth; 2: about 45 %; 3: half of them, which is too many."""
    random = Random(seed)
    made = random.getrandbits(8 * length) if length and density else 0
    for _ in range(2 if density == 1 else 0):
        made &= random.getrandbits(8 * length) if length else 0
    if density == 2:  # as above
        made &= random.getrandbits(8 * length) | random.getrandbits(8 * length) | random.getrandbits(8 * length)
    return made.to_bytes(length, "big")


def _view(data: bytes) -> None:
    peer = _Peer()
    for number, payload in split(data):
        _step(peer, number % 10, payload)
    peer.check_end()


def _step(peer: _Peer, number: int, payload: bytes) -> None:
    match number:
        case 0:
            peer.raw(payload)
        case 1:
            peer.begin(payload)
        case 2:
            peer.piece(payload)
        case 3:
            peer.change(payload)
        case 4:
            peer.coded(payload)
        case 5:
            peer.receive(PresenceWithdraw())
        case 6:
            peer.ask()
        case 7:
            peer.view.lost()
        case 8:
            peer.wall += pick(payload, 0) * 60.0
        case _:
            peer.view.tick(peer.wall)
            peer.look()


_READERS = (_delta, _record, _view)


def run(data: bytes) -> None:
    """The first byte says what it is."""
    try:
        _READERS[pick(data, 0) % len(_READERS)](data[1:])
    except BadMessage:
        return


_STEPS = mutators.steps(10, inner=mutators.plain)


def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
    """As the first byte says."""
    inner = (mutators.prefixed(1, mutators.plain), mutators.prefixed(1, mutators.cbor), _STEPS)
    return mutators.prefixed(1, inner[pick(data, 0) % len(inner)])(data, random, raw)


def seeds() -> list[bytes]:
    """The vectors of changes, a record, and views as they should be."""
    from tests.vectors import read, vector_files  # only to make a corpus

    document = next(read(path) for path in vector_files() if read(path)["kind"] == "presence-delta")
    given = [case["given"] for case in document["cases"]]
    view = View()
    view._hold(7, 3, Filter(Placement(Secret(b"k" * 32), FilterClass.TAGS_4K)))
    record = view.to_record() or b""
    first, change = (FILTER, bytes([_MIDDLE, 1, 0, 5, 0, 9, 1, 0])), (CHANGE, bytes([1, 0, 0, 9, 0, 4, 4]))
    second = [(FILTER, bytes([_MIDDLE, 2, 4, 5, 0, 9, 1, 0])), (PIECE, bytes([1, 8, 1, 0])), change]
    end = [(WITHDRAW, b""), (ASK, b""), first, (LOST, b""), (ASK, b""), change, (TIME, b"\xff"), (TICK, b"")]
    sequences = [
        [first, change, change, *end],
        [first, *second, change],
        [first, change, second[0], (ASK, b""), second[1], first, change],
        [(FILTER, bytes([_MIDDLE, 1, 0, 5, 0, 9, 3, 0])), first, (CHANGE, bytes([7, 0, 0, 9]))],
        [first, (FILTER, bytes([_MIDDLE + 1, 3, 0, 5, 0, 9, 2, 0])), (TIME, b"\x1e"), (TICK, b""), first],
    ]
    sequences.append([(FILTER, bytes([_MIDDLE, 1, 0, 5, 0, 9, 2, 0])), (CHANGE, b"\x81\xff"), change])  # too full
    return [
        *(bytes([DELTA, one["class"]]) + bytes.fromhex(one["data"]) for one in given if len(one["data"]) < 4096),
        bytes([RECORD, 1]) + record[: -filter_bytes(FilterClass.TAGS_4K)],
        *(bytes([VIEW]) + join(steps) for steps in sequences),
    ]


TARGET = Target(run=run, seeds=seeds, mutate=mutate, longest=2048)
