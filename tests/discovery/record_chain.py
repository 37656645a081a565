"""Records spec/vectors/discovery/chain.json: python -m tests.discovery.record_chain.

Responses of the test world, signed anew at each recording, and what validation has to make of them. What is expected
is written down here. Each case has every response that its validation asks for, and the DS and DNSKEY sets above.
"""

import json
from collections.abc import Callable
from typing import Any

import attrs
import dns.message
import dns.name
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW, Judge, service_records, without
from tests.discovery.make_vectors import FOLDER, Vectors, case
from tests.discovery.worlds import DENIALS, SIGNATURES, build, hooked
from volly_fed.discovery.message import Message, Question, query_for
from volly_fed.testing.world import Nsec3, World

Reply = dns.message.Message
COVERS = [15, 16, 17, 18, 19, 20]


@attrs.define
class Recorder(Judge):
    """Notes what it is answered."""

    responses: dict[str, str] = attrs.field(factory=dict)

    def respond(self, question: Question) -> Message:
        response = self.world.respond(dns.message.from_wire(query_for(question, 1)), udp=False)
        assert isinstance(response, Reply)
        response.id = 0
        self.responses[key(question)] = response.to_wire(max_size=65535).hex()
        return super().respond(question)


def key(question: Question) -> str:
    """How a response is named in the file."""
    return f"{question.name.to_text().lower()} {question.rdtype.name}"


def record(world: World, name: str, rdtype: str, status: str, outcome: str = "", **changes: Any) -> Vectors:
    now = changes.get("now", NOW)
    judge = Recorder(world, now=now)
    answer = judge(name, rdtype)
    assert (answer.status.value, answer.outcome.value) == (status, outcome or answer.outcome.value), answer
    above = dns.name.from_text(name)
    while above != dns.name.root:
        judge.respond(Question(above, RdataType.DS))
        above = above.parent()
    anchors = [line.split(" IN DS ")[1] for line in world.anchor_text.splitlines()]
    given = {"name": name, "type": rdtype, "now": int(now), "anchors": anchors, "responses": judge.responses}
    expect: Vectors = {"status": status}
    if outcome:
        expect["outcome"] = outcome
    return {"given": given, "expect": {"accept": expect}}


def stripped(*rdtypes: RdataType) -> Callable[[Reply, Reply, bool], Reply]:
    return lambda _query, response, _udp: without(response, *rdtypes)


def without_ds(query: Reply, response: Reply, _udp: bool) -> Reply:
    asked = query.question[0].rdtype
    return without(response, RdataType.DS, *SIGNATURES) if asked == RdataType.DS else response


def special() -> World:
    world = World(seed=b"special")
    world.zone("costly.test", service_records(), nsec3=Nsec3(iterations=101))
    world.zone("cheap.test", service_records(), nsec3=Nsec3(iterations=100))
    world.sign(NOW)
    return world


def cases() -> list[Vectors]:
    plain, hashed = build(), build(nsec3=True)
    found = {
        "srv": record(plain, "_volly-fed._tcp.a.test.", "SRV", "secure", "found"),
        "tlsa": record(plain, "_5223._tcp.fed.a.test.", "TLSA", "secure", "found"),
        "no-such-type": record(plain, "fed.a.test.", "TXT", "secure", "nodata"),
        "no-such-type-nsec3": record(hashed, "fed.a.test.", "TXT", "secure", "nodata"),
        "no-such-name": record(plain, "missing.a.test.", "A", "secure", "nxdomain"),
        "no-such-name-nsec3": record(hashed, "missing.a.test.", "A", "secure", "nxdomain"),
        "wildcard": record(plain, "x.wild.a.test.", "A", "secure", "found"),
        "alias-to-another-zone": record(plain, "good.alias.test.", "A", "secure", "found"),
        "unsigned": record(plain, "fed.unsigned.test.", "A", "insecure"),
        "unsigned-nsec3": record(hashed, "fed.unsigned.test.", "A", "insecure"),
        "alias-to-unsigned": record(plain, "unsigned.alias.test.", "A", "insecure"),
        "unknown-algorithm": record(plain, "fed.unknown-algorithm.test.", "A", "insecure"),
        "wrong-signature": record(plain, "fed.bad.test.", "A", "bogus"),
        "expired": record(plain, "fed.expired.test.", "A", "bogus"),
        "not-yet-valid": record(plain, "fed.not-yet-valid.test.", "A", "bogus"),
        "no-signature": record(plain, "fed.no-signatures.test.", "A", "bogus"),
        "another-ds": record(plain, "fed.wrong-ds.test.", "A", "bogus"),
        "alias-to-bogus": record(plain, "bogus.alias.test.", "A", "bogus"),
        "signatures-stripped": record(hooked(stripped(*SIGNATURES)), "fed.a.test.", "A", "bogus"),
        "denial-stripped": record(hooked(stripped(*DENIALS)), "missing.a.test.", "A", "bogus"),
        "wildcard-without-denial": record(hooked(stripped(*DENIALS)), "x.wild.a.test.", "A", "bogus"),
        "ds-stripped": record(hooked(without_ds), "fed.a.test.", "A", "bogus"),
        "iterations-100": record(special(), "missing.cheap.test.", "A", "secure", "nxdomain"),
        "iterations-101": record(special(), "missing.costly.test.", "A", "insecure"),
        "ed25519": record(build(algorithm=15), "fed.a.test.", "A", "secure", "found"),
        "rsa": record(build(algorithm=8), "fed.a.test.", "A", "secure", "found"),
        "a-year-later": record(plain, "fed.a.test.", "A", "bogus", now=NOW + 365 * 86400),
    }
    return [case(name, made["given"], made["expect"]) for name, made in found.items()]


if __name__ == "__main__":
    covers = [f"discovery-{number}" for number in COVERS]
    made = {"spec": "discovery v1", "kind": "discovery-chain", "covers": covers, "notes": {}, "cases": cases()}
    (FOLDER / "chain.json").write_text(json.dumps(made, indent=1) + "\n")
