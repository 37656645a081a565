"""Target: whole discoveries with a forger on the way, who has every genuine answer of the world and changes some.

in: the kind of world, a domain, then steps: which answers are changed, and how: as the seeded forger of tests/discovery
would, their bytes, or another answer in their place. Keys are those of volly_fed/testing/world.
Never lets through: another error than the validator names, a wrong SECURE, a downgrade to INSECURE, an answer that
holds longer than the true one. Whether a signature holds is remembered, because most are checked thousands of times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from random import Random

from fuzz import mutators
from fuzz.discovery import taken_apart
from fuzz.target import Raw, Step, Target, join, pick, split
from tests.discovery.mutations import changed
from tests.discovery.truth import DOMAINS, KINDS, Truth, check_answer, check_outcome, discovered, remembered, truth_of
from tests.discovery.whole import Whole
from volly_fed.discovery.keys import Key
from volly_fed.discovery.message import Message, Question, parse_response

FORGE, BYTES, REPLAY, CUT = range(4)
_NAMES = tuple(DOMAINS)
_HEAD = 3  # kind, domain, by what is counted which answer a step is about


class _Forger:
    """Changes the answers that the steps name, by their number in the discovery, or by their type."""

    def __init__(self, truth: Truth, by_type: bool, steps: list[Step]) -> None:
        self._truth = truth
        self._by_type = by_type
        self._steps = steps
        self._asked = 0

    def __call__(self, asked: Question) -> Message:
        wire = self._truth.wire(asked)
        number = int(asked.rdtype) if self._by_type else self._asked
        self._asked += 1
        made = wire
        for kind, payload in self._steps:
            if pick(payload, 0) == number & 0xFF:
                genuine = made if kind % 4 == BYTES else wire  # the forger wants a message that it can read
                made = self._changed(genuine, kind % 4, payload[1:])
        return self._truth.message(asked) if made is wire else parse_response(made, asked)

    def _changed(self, wire: bytes, kind: int, payload: bytes) -> bytes:
        if kind == FORGE:
            return changed(Random(payload), wire, self._truth.pool)
        if kind == REPLAY:
            return self._truth.pool.message(Random(payload)).to_wire(max_size=65535)
        if kind == CUT:
            return wire[: int.from_bytes(payload[:2], "big")]
        made = bytearray(wire)
        for at in range(0, len(payload) - 2, 3):
            place = int.from_bytes(payload[at : at + 2], "big")
            if place < len(made):
                made[place] ^= payload[at + 2]
        return bytes(made)


@contextmanager
def _remembering() -> Iterator[None]:
    checks = Key.verifies
    Key.verifies = remembered  # type: ignore[assignment, method-assign] # put back below
    try:
        yield
    finally:
        Key.verifies = checks  # type: ignore[method-assign] # as above


def run(data: bytes) -> None:
    """One discovery."""
    with _remembering():
        kind, domain = KINDS[pick(data, 0) % len(KINDS)], _NAMES[pick(data, 1) % len(_NAMES)]
        truth = truth_of(kind)
        forger = _Forger(truth, bool(pick(data, 2) & 1), split(data[_HEAD:]))
        whole = Whole(anchors=truth.anchors, ask=forger)
        outcome = discovered(whole, domain)
        context = f"{kind} {domain}"
        for answer in whole.answers.values():
            check_answer(answer, truth.answer(answer.question), context)
            assert answer.proof is not None
            assert answer.weight >= 0
        check_outcome(outcome, truth.outcomes[domain], context)


_STEPS = mutators.steps(4, inner=mutators.plain, fresh=lambda random: (random.randrange(4), _fresh(random)))


def _fresh(random: Random) -> bytes:
    """About one of the first answers, or those of one type."""
    number = random.choice([random.randrange(24), 1, 5, 16, 28, 33, 43, 48, 52])
    return bytes([number]) + random.randbytes(random.choice([2, 3, 6]))


def mutate(data: bytes, random: Random, raw: Raw) -> bytes:
    """Mostly steps."""
    return mutators.prefixed(_HEAD, _STEPS)(data, random, raw)


@cache
def seeds() -> list[bytes]:
    """Every domain of every world unchanged, and with a few answers changed."""
    made = []
    for kind in range(len(KINDS)):
        for domain in range(len(_NAMES)):
            random = Random(f"{kind} {domain}")
            head = bytes([kind, domain, random.randrange(2)])
            made += [head, head + join((n % 4, _fresh(random)) for n in range(4))]
    return [*made, *_altered()]


def _altered() -> list[bytes]:
    """One bit of the first record of each answer that a good domain's discovery needs."""
    truth, made = truth_of(KINDS[0]), []
    whole = Whole(anchors=truth.anchors, ask=truth.message)
    discovered(whole, _NAMES[0])
    for asked in whole.answers:
        head, records = taken_apart(truth.wire(asked))
        _, name, fields, rdata = records[0]
        end = len(head) + len(name) + len(fields) + 2 + len(rdata) - 1
        step = (BYTES, bytes([int(asked.rdtype) & 0xFF]) + end.to_bytes(2, "big") + b"\1")
        made.append(bytes([0, 0, 1]) + join([step]))
    return made


TARGET = Target(run=run, seeds=seeds, mutate=mutate, longest=512)
