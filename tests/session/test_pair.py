"""Two sessions over a link that is cut and made again anywhere between two messages (hypothesis)."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.testing.session_pair import SessionPair
from volly_fed.wire.messages import Refusal

SIDES = st.sampled_from([0, 1])


def judge(sequence: int, envelope: bytes) -> Refusal | None:
    """Some envelopes are refused, whenever they come."""
    serial = int.from_bytes(envelope[2:6], "big")
    return (sequence, ErrorCode.UNDELIVERABLE, "no") if serial % 7 == 3 else None


class LossyLink(RuleBasedStateMachine):
    """Every envelope arrives once, in the order of its class, or is refused, and then its sender hears of it, once."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: tuple[list[bytes], list[bytes]] = ([], [])
        self.refused: tuple[list[int], list[int]] = ([], [])

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.pair = SessionPair(random.Random(seed).randbytes, judge=judge)
        self.pair.connect()

    @rule(
        side=SIDES, urgency=st.sampled_from(EnvelopeClass), count=st.integers(1, 300), size=st.sampled_from([8, 9000])
    )
    def offer(self, side: int, urgency: EnvelopeClass, count: int, size: int) -> None:
        for _ in range(count):
            serial = len(self.offered[side])
            envelope = bytes([side, urgency]) + serial.to_bytes(4, "big") + bytes(size)
            self.offered[side].append(envelope)
            key = self.pair.nodes[side].offer(envelope, urgency)
            if judge(1, envelope):
                self.refused[side].append(key)

    @rule(steps=st.lists(st.tuples(st.sampled_from(["write", "deliver", "commit"]), SIDES), max_size=60))
    def work(self, steps: list[tuple[str, int]]) -> None:
        for step, side in steps:
            getattr(self.pair, step)(side)

    @rule(rounds=st.integers(1, 8), commits=st.booleans())
    def work_in_turns(self, rounds: int, commits: bool) -> None:
        for _ in range(rounds):
            for side in (0, 1):
                self.pair.write(side)
                self.pair.deliver(side)
                if commits:
                    self.pair.commit(side)

    @precondition(lambda self: self.pair.connected)
    @rule(again=st.booleans())
    def cut(self, again: bool) -> None:
        self.pair.cut()
        if again:
            self.pair.connect()

    @precondition(lambda self: not self.pair.connected)
    @rule()
    def connect(self) -> None:
        self.pair.connect()

    @precondition(lambda self: self.pair.connected)
    @rule(side=SIDES, again=st.booleans())
    def fail(self, side: int, again: bool) -> None:
        self.pair.fail(side)
        if again and not self.pair.connected:
            self.pair.connect()

    @rule(side=SIDES, window=st.sampled_from([0, 1, 7, 1024]), size=st.sampled_from([0, 1, 20_000, 1 << 20]))
    def grant(self, side: int, window: int, size: int) -> None:
        self.pair.grant(side, window, size)

    @rule(seconds=st.sampled_from([limits.ACK_PACE / 2, limits.ACK_PACE]))
    def pass_time(self, seconds: float) -> None:
        self.pair.pass_time(seconds)

    @rule(side=SIDES)
    def restart(self, side: int) -> None:
        self.pair.restart(side)
        self.pair.connect()

    @rule(side=SIDES)
    def lose_cursors(self, side: int) -> None:
        self.pair.cut()
        self.pair.nodes[side].lose_cursors()
        self.pair.connect()

    @invariant()
    def window_holds(self) -> None:
        for node in self.pair.nodes:
            assert node.outbound.in_flight <= limits.WINDOW_ENVELOPES

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        if not self.pair.connected:
            self.pair.connect()
        self.pair.settle_down()
        for side in (0, 1):  # in the end all are granted something, however little it is
            self.pair.grant(side, 3, 1)
        self.pair.settle_down()
        for side in (0, 1):
            inbox = self.pair.nodes[1 - side].inbox
            assert not self.pair.nodes[side].owed
            assert sorted(self.pair.nodes[side].refused) == self.refused[side]
            for urgency in EnvelopeClass:
                arrived = [envelope for envelope in inbox if envelope[1] == urgency]
                taken = [envelope for envelope in self.offered[side] if not judge(1, envelope)]
                assert arrived == [envelope for envelope in taken if envelope[1] == urgency]


TestLossyLink = LossyLink.TestCase
TestLossyLink.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
