"""Drives the pure validator against a test world, without a network: every response goes through its wire form."""

from collections.abc import Callable, Iterable

import attrs
import dns.message
import dns.name
import dns.rdata
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.discovery.anchors import Anchors, read_anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.chain import Walk, Zones
from volly_fed.discovery.dnssec import Answer, look_up
from volly_fed.discovery.message import Message, Question, parse_response, query_for
from volly_fed.discovery.rrset import Dnskey, Record, RRset, Rrsig
from volly_fed.errors import BadMessage, Indeterminate
from volly_fed.testing.world import World

NOW = 1_800_000_000.0
IDENTITY = "v=vf1 id=" + "A" * 43
DIGEST = "ab" * 32
Mutate = Callable[[Question, bytes], bytes]


def service_records(host: str = "fed", port: int = 5223, digest: str = DIGEST) -> list[str]:
    """The records of a complete federating domain."""
    return [
        f"_volly-fed._tcp IN SRV 0 5 {port} {host}",
        f'_volly-fed IN TXT "{IDENTITY}"',
        f"{host} IN A 192.0.2.1",
        f"{host} IN AAAA 2001:db8::1",
        f"_{port}._tcp.{host} IN TLSA 3 1 1 {digest}",
    ]


@attrs.define
class Judge:
    """One look-up after the other, each with its own budget; `mutate` may change every response's bytes."""

    world: World
    now: float = NOW
    anchors: Anchors | None = None
    mutate: Mutate | None = None
    verifications: int = limits.DNS_VERIFICATIONS
    require_mldsa44: bool = False
    asked: list[Question] = attrs.field(factory=list)
    budget: Budget = attrs.field(factory=Budget)

    def __call__(self, name: str, rdtype: str) -> Answer:
        anchors = self.anchors if self.anchors is not None else read_anchors(self.world.anchor_text)
        self.budget = Budget(verifications=self.verifications)
        zones = Zones(anchors, require_mldsa44=self.require_mldsa44)
        walk = Walk(zones=zones, now=self.now, budget=self.budget)
        asking = look_up(walk, Question(dns.name.from_text(name), RdataType.make(rdtype)))
        question = next(asking)
        while True:
            try:
                try:
                    self.budget.spend_query()
                    message = self.respond(question)
                except (BadMessage, Indeterminate) as error:
                    question = asking.throw(Indeterminate(f"{question}: {error}"))
                else:
                    question = asking.send(message)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer

    def respond(self, question: Question) -> Message:
        self.asked.append(question)
        query = dns.message.from_wire(query_for(question, 1))
        response = self.world.respond(query, udp=False)
        if response is None:
            raise Indeterminate("no response")
        wire = response if isinstance(response, bytes) else response.to_wire(max_size=65535)
        if self.mutate is not None:
            wire = self.mutate(question, wire)
        message = parse_response(wire, question)
        if message.rcode not in (0, 3):
            raise Indeterminate(f"rcode {message.rcode}")
        return message


def rrset_of(name: dns.name.Name, ttl: int, rdatas: Iterable[dns.rdata.Rdata]) -> RRset:
    """One or more records of one type, as the validator wants them."""
    first, *others = rdatas
    made = RRset(name, first.rdtype, first.covers())
    for rdata in (first, *others):
        wire = rdata.to_digestable()
        record: Record = rdata
        if rdata.rdtype == RdataType.RRSIG:
            record = Rrsig.from_wire(wire)
        elif rdata.rdtype == RdataType.DNSKEY:
            record = Dnskey.from_wire(wire)
        made.add(wire, record, ttl)
    return made


def without(message: dns.message.Message, *rdtypes: RdataType) -> dns.message.Message:
    """The message without RRsets of those types."""
    message.answer = [rrset for rrset in message.answer if rrset.rdtype not in rdtypes]
    message.authority = [rrset for rrset in message.authority if rrset.rdtype not in rdtypes]
    return message
