"""Target: two honest sessions; the link is cut, slowed and made again anywhere, disks fail, processes die.

in: steps of testing.session_pair; out: nothing.
Never lets through: any error, an envelope lost, twice in an inbox, or out of the order of its class; a sender that does
not hear of a refusal, or hears twice.
"""

from random import Random

from fuzz import mutators
from fuzz.target import Target, join, pick, split
from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.testing.session_pair import SessionPair
from volly_fed.wire.messages import Refusal

OFFER, WRITE, DELIVER, COMMIT, TURN, CUT, FAIL, GRANT, TIME, RESTART, FORGET = range(11)
_WINDOWS = (0, 1, 7, limits.WINDOW_ENVELOPES)
_SIZES = (0, 1, 20_000, limits.WINDOW_BYTES)


def _judge(sequence: int, envelope: bytes) -> Refusal | None:
    """Some envelopes are refused, whenever they come."""
    return (sequence, ErrorCode.UNDELIVERABLE, "no") if _is_refused(envelope) else None


def _is_refused(envelope: bytes) -> bool:
    return int.from_bytes(envelope[2:6], "big") % 7 == 3  # one in seven


class _Run:
    """The pair, and what was offered."""

    def __init__(self) -> None:
        self.pair = SessionPair(Random(1).randbytes, judge=_judge)
        self.offered: tuple[list[bytes], list[bytes]] = ([], [])
        self.refused: tuple[list[int], list[int]] = ([], [])
        self.pair.connect()

    def offer(self, side: int, payload: bytes) -> None:
        urgency, size = EnvelopeClass(pick(payload, 2) % 3), (8, 9000, 60_000)[pick(payload, 3) % 3]
        for _ in range(pick(payload, 1) % (256 if size == 8 else 32)):  # the small ones
            envelope = bytes([side, urgency]) + len(self.offered[side]).to_bytes(4, "big") + bytes(size)
            self.offered[side].append(envelope)
            key = self.pair.nodes[side].offer(envelope, urgency)
            if _is_refused(envelope):
                self.refused[side].append(key)

    def step(self, number: int, payload: bytes) -> None:
        side, pair = pick(payload, 0) % 2, self.pair
        match number:
            case 0:
                self.offer(side, payload)
            case 1:
                pair.write(side)
            case 2:
                pair.deliver(side)
            case 3:
                pair.commit(side)
            case 4:
                for each in (0, 1):
                    pair.write(each)
                    pair.deliver(each)
            case _:
                self.mishap(number, side, payload)

    def mishap(self, number: int, side: int, payload: bytes) -> None:
        pair = self.pair
        match number:
            case 5:
                pair.cut()
            case 6:
                pair.fail(side)
            case 7:
                pair.grant(side, _WINDOWS[pick(payload, 1) % 4], _SIZES[pick(payload, 2) % 4])
            case 8:
                pair.pass_time(limits.ACK_PACE / (1 + pick(payload, 1) % 2))
            case 9:
                pair.restart(side)
            case _:
                pair.cut()
                pair.nodes[side].lose_cursors()
        if not pair.connected and number != CUT:
            pair.connect()

    def finish(self) -> None:
        if not self.pair.connected:
            self.pair.connect()
        self.pair.settle_down()
        for side in (0, 1):  # in the end all are granted something, however little it is
            self.pair.grant(side, 3, 1)
        self.pair.settle_down()
        for side in (0, 1):
            node, inbox = self.pair.nodes[side], self.pair.nodes[1 - side].inbox
            assert not node.owed, "something is never settled"
            assert sorted(node.refused) == self.refused[side], "a refusal that its sender does not hear of once"
            for urgency in EnvelopeClass:
                taken = [one for one in self.offered[side] if one[1] == urgency and not _is_refused(one)]
                assert [one for one in inbox if one[1] == urgency] == taken, "lost, twice or out of order"


def run(data: bytes) -> None:
    """All steps, and then everything has to arrive."""
    made = _Run()
    for number, payload in split(data):
        made.step(number % 11, payload)
        for node in made.pair.nodes:
            assert node.outbound.in_flight <= limits.WINDOW_ENVELOPES
    made.finish()


def seeds() -> list[bytes]:
    """A link that works, and each mishap in the middle of it."""
    work = [(OFFER, bytes([0, 40, 1, 0])), (OFFER, bytes([1, 20, 0, 1])), *[(TURN, b"")] * 6, (COMMIT, b"\0")]
    mishaps = [(CUT, b""), (FAIL, b"\1"), (GRANT, b"\0\1\2"), (TIME, b"\0\1"), (RESTART, b"\1"), (FORGET, b"\0")]
    return [join([*work, mishap, *work]) for mishap in mishaps]


TARGET = Target(run=run, seeds=seeds, mutate=mutators.steps(11, inner=mutators.plain), longest=1024)
