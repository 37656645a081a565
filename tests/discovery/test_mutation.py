"""Whatever bytes a resolver sends: one of the four verdicts, and never a wrong SECURE or a downgrade to INSECURE."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.discovery.harness import NOW, Judge, service_records
from volly_fed.discovery.dnssec import Outcome
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Question
from volly_fed.testing.world import World


def build(*, nsec3: bool) -> World:
    world = World(seed=b"mutations", nsec3=nsec3)
    world.zone("a.test", [*service_records(), "*.wild IN A 192.0.2.9", "alias IN CNAME fed"])
    world.sign(NOW)
    return world


WORLDS = {nsec3: build(nsec3=nsec3) for nsec3 in (False, True)}
QUESTIONS = [
    ("fed.a.test", "A"),
    ("_5223._tcp.fed.a.test", "TLSA"),
    ("alias.a.test", "A"),
    ("x.wild.a.test", "A"),
    ("x.wild.a.test", "TXT"),
    ("missing.a.test", "SRV"),
]


@pytest.mark.parametrize("nsec3", [False, True], ids=["nsec", "nsec3"])
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_mutated_responses_never_deceive(nsec3: bool, data: st.DataObject) -> None:
    name, rdtype = data.draw(st.sampled_from(QUESTIONS))
    truth = Judge(WORLDS[nsec3])(name, rdtype)
    victim = data.draw(st.integers(0, 6))
    count = 0

    def mutate(question: Question, wire: bytes) -> bytes:
        nonlocal count
        count += 1
        return _changed(data, wire) if count - 1 == victim else wire

    answer = Judge(WORLDS[nsec3], mutate=mutate)(name, rdtype)
    assert answer.status is not Status.INSECURE
    if answer.status is Status.SECURE:
        assert answer.rdatas == truth.rdatas
        assert (answer.outcome is Outcome.FOUND) == (truth.outcome is Outcome.FOUND)
        assert answer.expires <= truth.expires


def _changed(data: st.DataObject, wire: bytes) -> bytes:
    changed = bytearray(wire)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(2, len(changed) - 1))
        kind = data.draw(st.sampled_from(["set", "flip", "cut", "insert", "double"]))
        if kind == "set":
            changed[start] = data.draw(st.integers(0, 255))
        elif kind == "flip":
            changed[start] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del changed[start : start + data.draw(st.integers(1, 8))]
        elif kind == "insert":
            changed[start:start] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            changed += changed[start:]
        if len(changed) < 3:
            break
    return bytes(changed)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_arbitrary_responses_are_indeterminate_or_bogus(data: st.DataObject) -> None:
    answer = Judge(WORLDS[False], mutate=lambda _question, wire: wire[:12] + data.draw(st.binary(max_size=200)))(
        "fed.a.test", "A"
    )
    assert answer.status in (Status.INDETERMINATE, Status.BOGUS)
