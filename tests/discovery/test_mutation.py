"""Whole discoveries, with answers changed on the way: never a wrong SECURE, a downgrade to INSECURE, or an exception.

What the unchanged world says is the truth. The seeds are fixed: a failure names its run, and repeats it.
"""

from collections import Counter
from functools import cache
from random import Random

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.discovery.harness import IDENTITY, NOW, Judge, service_records
from tests.discovery.mutations import Pool, changed
from tests.discovery.whole import Whole, question
from volly_fed.discovery.anchors import read_anchors
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Status, Target
from volly_fed.discovery.keys import Key, rdata_of
from volly_fed.discovery.message import Message, Question, parse_response, query_for
from volly_fed.discovery.records import Identity
from volly_fed.discovery.rrset import Dnskey
from volly_fed.errors import Bogus, DiscoveryError, Indeterminate, Insecure, NoRecords
from volly_fed.testing.world import Flaw, Nsec3, World

pytestmark = pytest.mark.slow
KINDS = ("nsec", "nsec3", "opt-out")
PARTS = 3
RUNS = 560
"""Of each part of each kind: 5 040 discoveries in all."""
DOMAINS = {
    "a.test": "",
    "alias.test": "",
    "wild.test": "",
    "none.test": NoRecords,
    "out.test": NoRecords,
    "unsigned.test": Insecure,
    "mixed.test": Insecure,
    "bad.test": Bogus,
    "bare.test": Bogus,
}
"""What the unchanged world gives: a service, or an error."""
MORE = [
    *(("nobody.test", "DS"), ("x.a.test", "MX"), ("q.wild.a.test", "MX"), ("unsigned.test", "DS"), ("a.test", "MX")),
    *(("q.b.a.test", "A"), ("q.wild.a.test", "A")),
    *((f"{letter}.test", "DS") for letter in "bcdefghijklm"),
]
"""Denials and wildcards' answers that no discovery asks for, to be replayed."""
Found = tuple[list[Target], Identity]


def build(kind: str) -> World:
    """Domains of every sort; Ed25519 throughout, because it is the quickest."""
    world = World(seed=b"mutations", algorithm=15, nsec3=kind != "nsec")
    if kind == "opt-out":
        world.zone("test", nsec3=Nsec3(opt_out=True))
    below = ["*.b IN A 192.0.2.66", "fed.b IN A 192.0.2.7", f"_5223._tcp.fed.b IN TLSA 3 1 1 {'ef' * 32}"]
    world.zone("a.test", [*service_records(), *below, "*.wild IN A 192.0.2.9"])
    second = "_volly-fed._tcp IN SRV 5 0 5223 other"
    world.zone(
        "alias.test", [*service_records("x.dir")[:2], second, "other IN CNAME fed.a.test.", "dir IN DNAME d.sub"]
    )
    hosts = ["x.d IN A 192.0.2.3", "x.d IN AAAA 2001:db8::3", f"*._tcp.x.d IN TLSA 3 1 1 {'cd' * 32}"]
    world.zone("sub.alias.test", hosts)
    world.zone("wild.test", ["*._tcp IN SRV 0 5 5223 fed.b.a.test.", f'* IN TXT "{IDENTITY}"', "x IN A 192.0.2.8"])
    world.zone("none.test", ["x IN A 192.0.2.1"])
    world.zone("out.test", ["_volly-fed._tcp IN SRV 0 0 0 .", f'_volly-fed IN TXT "{IDENTITY}"'])
    world.zone("unsigned.test", service_records(), signed=False)
    world.zone("mixed.test", ["_volly-fed._tcp IN SRV 0 5 5223 fed.unsigned.test.", *service_records()[1:]])
    world.zone("bad.test", service_records(), flaws=Flaw.BAD_SIGNATURE)
    world.zone("bare.test", service_records(), flaws=Flaw.NO_SIGNATURES)
    world.sign(NOW)
    return world


class Truth:
    """A world as it is: its answers' bytes, the verdicts on them, and what its discoveries come to."""

    def __init__(self, kind: str) -> None:
        self._world = build(kind)
        self._wires: dict[Question, bytes] = {}
        self._messages: dict[Question, Message] = {}
        self._answers: dict[Question, Answer] = {}
        self.anchors = read_anchors(self._world.anchor_text)
        self.outcomes = {
            domain: discovered(Whole(anchors=self.anchors, ask=self.message), domain) for domain in DOMAINS
        }
        for name, rdtype in MORE:
            self.answer(question(name, rdtype))
        self.pool = Pool(list(self._wires.values()))

    def wire(self, asked: Question) -> bytes:
        """The answer's bytes, unchanged."""
        if asked not in self._wires:
            response = self._world.respond(dns.message.from_wire(query_for(asked, 1)), udp=False)
            assert isinstance(response, dns.message.Message)
            self._wires[asked] = response.to_wire(max_size=65535)
        return self._wires[asked]

    def message(self, asked: Question) -> Message:
        """The answer, unchanged; parsed once, because the validator changes nothing in it."""
        if asked not in self._messages:
            self._messages[asked] = parse_response(self.wire(asked), asked)
        return self._messages[asked]

    def answer(self, asked: Question) -> Answer:
        """The verdict on the unchanged answer."""
        if asked not in self._answers:
            self._answers[asked] = Whole(anchors=self.anchors, ask=self.message).look_up(asked)
        return self._answers[asked]


truth_of = cache(Truth)


def discovered(whole: Whole, domain: str) -> Found | DiscoveryError:
    try:
        return whole.discover(domain)
    except DiscoveryError as error:
        return error


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
    monkeypatch.setattr(Key, "verifies", _verifies)


def _verifies(key: Key, signature: bytes, data: bytes) -> bool:
    return _held(rdata_of(key.dnskey), signature, data)


@cache
def _held(rdata: bytes, signature: bytes, data: bytes) -> bool:
    return _VERIFIES(Key(Dnskey.from_wire(rdata), 0), signature, data)


_VERIFIES = Key.verifies


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
            _check_answer(answer, truth.answer(answer.question), context)
        _check_outcome(outcome, truth.outcomes[domain], context)
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


def _check_answer(answer: Answer, right: Answer, context: str) -> None:
    shown = f"{context}: {answer.question} {answer.reason}"
    if answer.status is Status.INSECURE:
        assert right.status is Status.INSECURE, shown
    if answer.status is Status.SECURE:
        assert right.status is Status.SECURE, shown
        assert (set(answer.rdatas), answer.found, answer.absent) == (set(right.rdatas), right.found, right.absent), (
            shown
        )
        assert answer.canonical == right.canonical, shown
        assert answer.expires <= right.expires, shown


def _check_outcome(outcome: Found | DiscoveryError, right: Found | DiscoveryError, context: str) -> None:
    if isinstance(outcome, DiscoveryError):
        assert type(outcome) in (Bogus, Indeterminate, type(right)), f"{context}: {outcome}"
        return
    assert isinstance(right, tuple), f"{context}: {outcome}"
    assert outcome[1] == right[1], context
    rightly = {(target.host, target.port): target for target in right[0]}
    for target in outcome[0]:
        if target.addresses:
            known = rightly[target.host, target.port]
            assert set(target.addresses) <= set(known.addresses), context
            assert set(target.tlsa) == set(known.tlsa), context


@given(data=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_arbitrary_responses_are_indeterminate_or_bogus(data: bytes) -> None:
    answer = Judge(truth_of("nsec")._world, mutate=lambda _question, wire: wire[:12] + data)("fed.a.test", "A")
    assert answer.status in (Status.INDETERMINATE, Status.BOGUS)
