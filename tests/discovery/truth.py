"""Worlds of every sort of domain with what is true in them, and what a changed answer may never make of it.

in: a kind of world, answers; out: their bytes and verdicts unchanged, and AssertionError for a deceived validator.
What the unchanged world says is the truth.
"""

from functools import cache

import dns.message

from tests.discovery.harness import IDENTITY, NOW, service_records
from tests.discovery.mutations import Pool
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

KINDS = ("nsec", "nsec3", "opt-out")
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
        self.world = build(kind)
        self._wires: dict[Question, bytes] = {}
        self._messages: dict[Question, Message] = {}
        self._answers: dict[Question, Answer] = {}
        self.anchors = read_anchors(self.world.anchor_text)
        self.outcomes = {
            domain: discovered(Whole(anchors=self.anchors, ask=self.message), domain) for domain in DOMAINS
        }
        for name, rdtype in MORE:
            self.answer(question(name, rdtype))
        self.pool = Pool(list(self._wires.values()))

    def wire(self, asked: Question) -> bytes:
        """The answer's bytes, unchanged."""
        if asked not in self._wires:
            response = self.world.respond(dns.message.from_wire(query_for(asked, 1)), udp=False)
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
    """What comes of a discovery."""
    try:
        return whole.discover(domain)
    except DiscoveryError as error:
        return error


def remembered(key: Key, signature: bytes, data: bytes) -> bool:
    """In place of Key.verifies: most signatures are checked thousands of times, and nothing else decides."""
    return _held(rdata_of(key.dnskey), signature, data)


@cache
def _held(rdata: bytes, signature: bytes, data: bytes) -> bool:
    return _VERIFIES(Key(Dnskey.from_wire(rdata), 0), signature, data)


_VERIFIES = Key.verifies


def check_answer(answer: Answer, right: Answer, context: str) -> None:
    """No wrong SECURE, no downgrade to INSECURE, and nothing that holds longer."""
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


def check_outcome(outcome: Found | DiscoveryError, right: Found | DiscoveryError, context: str) -> None:
    """No other service or identity than the true ones."""
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
