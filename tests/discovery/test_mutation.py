"""Whole discoveries, with answers changed on the way: never a wrong SECURE, a downgrade to INSECURE, or an exception.

What the unchanged world says is the truth. The seeds are fixed: a failure names its run, and repeats it.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.discovery.harness import Judge
from tests.discovery.mutations import changed
from tests.discovery.truth import (
    DOMAINS,
    KINDS,
    Found,
    Truth,
    check_answer,
    check_outcome,
    discovered,
    remembered,
    truth_of,
)
from tests.discovery.whole import Whole
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.keys import Key
from volly_fed.discovery.message import Message, Question, parse_response
from volly_fed.errors import DiscoveryError

pytestmark = pytest.mark.slow
PARTS = 3
RUNS = 560
"""Of each part of each kind: 5 040 discoveries in all."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_unchanged_world_is_what_it_should_be(kind: str) -> None:
    for domain, expected in DOMAINS.items():
        outcome = truth_of(kind).outcomes[domain]
        if expected:
            assert type(outcome) is expected, f"{domain}: {outcome}"
        else:
            assert isinstance(outcome, tuple), f"{domain}: {outcome}"
            assert all(target.addresses and target.tlsa for target in outcome[0])


@pytest.fixture(autouse=True)
def _remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most signatures are checked thousands of times; whether one holds depends on nothing else."""
    monkeypatch.setattr(Key, "verifies", remembered)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", KINDS)
def test_changed_answers_never_deceive(kind: str, part: int) -> None:
    truth, seen = truth_of(kind), Counter[str]()
    for run in range(RUNS):
        random = Random(f"{kind} {part} {run}")
        domain = random.choice([*DOMAINS, "a.test", "alias.test", "wild.test"])
        whole, outcome = _attacked(truth, random, domain)
        context = f"{kind} {part} {run} {domain}"
        for answer in whole.answers.values():
            check_answer(answer, truth.answer(answer.question), context)
        check_outcome(outcome, truth.outcomes[domain], context)
        seen[type(outcome).__name__] += 1
    # the attacks are neither all noticed (then nothing was ever tried) nor all without effect
    assert seen["tuple"] > RUNS / 20, seen
    assert seen["Bogus"] > RUNS / 4, seen


def _attacked(truth: Truth, random: Random, domain: str) -> tuple[Whole, Found | DiscoveryError]:
    """A discovery with some of its answers changed: one, a few, or all of one type."""
    share = random.choice([0.06, 0.15, 0.4])
    kinds = random.choice([None, "DS", "DNSKEY", "leaf"])

    def ask(asked: Question) -> Message:
        kind = asked.rdtype.name if asked.rdtype.name in ("DS", "DNSKEY") else "leaf"
        hit = random.random() < share if kinds is None else kind == kinds and random.random() < 0.6
        return parse_response(changed(random, truth.wire(asked), truth.pool), asked) if hit else truth.message(asked)

    whole = Whole(anchors=truth.anchors, ask=ask)
    return whole, discovered(whole, domain)


@given(data=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_arbitrary_responses_are_indeterminate_or_bogus(data: bytes) -> None:
    answer = Judge(truth_of("nsec").world, mutate=lambda _question, wire: wire[:12] + data)("fed.a.test", "A")
    assert answer.status in (Status.INDETERMINATE, Status.BOGUS)
