"""Two sessions over a link that is cut and made again anywhere between two messages (hypothesis)."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from volly_fed import limits
from volly_fed.codepoints import EnvelopeClass
from volly_fed.testing.session_pair import SessionPair

SIDES = st.sampled_from([0, 1])


class LossyLink(RuleBasedStateMachine):
    """At least once on the wire; after the duplicate rule exactly once, in the order of each class, without loss."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: tuple[list[bytes], list[bytes]] = ([], [])

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.pair = SessionPair(random.Random(seed).randbytes)
        self.pair.connect()

    @rule(
        side=SIDES, urgency=st.sampled_from(EnvelopeClass), count=st.integers(1, 300), size=st.sampled_from([8, 9000])
    )
    def offer(self, side: int, urgency: EnvelopeClass, count: int, size: int) -> None:
        for _ in range(count):
            serial = len(self.offered[side])
            envelope = bytes([side, urgency]) + serial.to_bytes(4, "big") + bytes(size)
            self.offered[side].append(envelope)
            self.pair.nodes[side].offer(envelope, urgency)

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
        self.pair.cut()
        self.pair.connect()
        self.pair.settle_down()
        for side in (0, 1):
            inbox = self.pair.nodes[1 - side].inbox
            assert not self.pair.nodes[side].owed
            for urgency in EnvelopeClass:
                arrived = [envelope for envelope in inbox if envelope[1] == urgency]
                assert arrived == [envelope for envelope in self.offered[side] if envelope[1] == urgency]


TestLossyLink = LossyLink.TestCase
TestLossyLink.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
