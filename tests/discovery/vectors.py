"""The vectors of discovery: records, DANE, what answers amount to, and addresses."""

import ipaddress
from typing import Any

import attrs
import dns.name
import dns.rdata
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.discovery.harness import Judge
from volly_fed import errors
from volly_fed.codepoints import ErrorCode
from volly_fed.discovery import dane, plan
from volly_fed.discovery.address import is_public
from volly_fed.discovery.anchors import read_anchors
from volly_fed.discovery.dnssec import Answer, Outcome
from volly_fed.discovery.endpoint import Service, Status, Target
from volly_fed.discovery.message import Message, Question, parse_response
from volly_fed.discovery.records import SrvRecord, choose_identity, parse_srv, parse_tlsa, txt_strings
from volly_fed.names import DomainName
from volly_fed.testing.world import World

Case = dict[str, Any]


def read_rdata(kind: str, text: str) -> dns.rdata.Rdata:
    """As the validator hands it on: a malformed TLSA record is generic."""
    data = bytes.fromhex(text)
    try:
        return dns.rdata.from_wire(IN, RdataType.from_text(kind), data, 0, len(data))
    except Exception:
        assert kind == "TLSA"
        return dns.rdata.GenericRdata(IN, RdataType.TLSA, data)


def refused(wrong: Case) -> Any:
    assert ErrorCode[wrong["code"]] is ErrorCode.MALFORMED
    return pytest.raises(getattr(errors, wrong["class"]))


def check_identity(given: Case, expect: Case) -> None:
    """Kind `discovery-identity`."""
    texts = txt_strings(read_rdata("TXT", record) for record in given["rdata"])
    if "reject" in expect:
        with refused(expect["reject"]):
            choose_identity(texts)
        return
    found = choose_identity(texts)
    following = None if found.next is None else found.next.hex()
    assert {"id": found.current.hex(), "next": following} == expect["accept"]


def check_srv(given: Case, expect: Case) -> None:
    """Kind `discovery-srv`."""
    record = read_rdata("SRV", given["rdata"])
    if "reject" in expect:
        with refused(expect["reject"]):
            parse_srv(record)
        return
    found = parse_srv(record)
    shown = {"priority": found.priority, "weight": found.weight, "port": found.port, "target": found.target}
    assert shown == expect["accept"]


def check_tlsa(given: Case, expect: Case) -> None:
    """Kind `discovery-tlsa`."""
    record = read_rdata("TLSA", given["rdata"])
    if "reject" in expect:
        with refused(expect["reject"]):
            parse_tlsa(record)
        return
    found = parse_tlsa(record)
    shown = {"usage": found.usage, "selector": found.selector, "matching": found.matching, "data": found.data.hex()}
    assert shown | {"usable": not dane.objection(found)} == expect["accept"]
    assert bool(dane.usable([found])) is expect["accept"]["usable"]


def check_dane(given: Case, expect: Case) -> None:
    """Kind `discovery-dane`."""
    records = [parse_tlsa(read_rdata("TLSA", text)) for text in given["records"]]
    spki, certificate = bytes.fromhex(given["spki"]), bytes.fromhex(given["certificate"])
    assert dane.match(records, spki=spki, certificate=certificate) is expect["accept"]["published"]


def answer(question: Question, given: Case) -> Answer:
    rdatas = tuple(read_rdata(question.rdtype.name, text) for text in given["rdata"])
    status = Status(given["status"])
    failed = status is not Status.SECURE and not rdatas
    return Answer(
        question=question,
        status=status,
        outcome=Outcome.FAILED if failed else Outcome.FOUND if given["found"] else Outcome.NODATA,
        rdatas=rdatas,
        canonical=dns.name.from_text(given["canonical"]) if "canonical" in given else question.name,
        expires=0.0,
    )


def discover(given: Case) -> Case:
    """What a discovery of b.example comes to with these answers; raises like it."""
    domain = DomainName("b.example")
    srv = answer(plan.service_question(domain, Service.FEDERATION), given["srv"])
    txt = answer(plan.identity_question(domain), given["txt"])
    records = plan.choose_targets(srv, lambda size: bytes(size))
    identity = plan.identity_in(txt)
    targets = [judged(record, given["targets"][record.target]) for record in records]
    good = [target for target in targets if target.addresses]
    if not good:
        raise plan.no_target(targets)
    return {
        "identity": identity.current.hex(),
        "next": None if identity.next is None else identity.next.hex(),
        "targets": [
            {"host": t.host, "port": t.port, "addresses": [*t.addresses], "tlsa": [str(record) for record in t.tlsa]}
            for t in good
        ],
    }


def judged(record: SrvRecord, given: Case) -> Target:
    assert record.target is not None
    ask6, ask4 = plan.address_questions(record.target)
    addresses = [answer(ask6, given["aaaa"]), answer(ask4, given["a"])]
    bases = plan.tlsa_bases(record.target, addresses)
    questions = [plan.tlsa_question(record.port, base) for base in bases]
    for question in questions:
        tlsa = answer(question, given["tlsa"][question.name.to_text(omit_final_dot=True)])
        if not tlsa.absent:
            break
    return plan.judge_target(record, addresses, tlsa, service=Service.FEDERATION, allow_private=False)


def check_decision(given: Case, expect: Case) -> None:
    """Kind `discovery-decision`."""
    if "reject" in expect:
        with pytest.raises(errors.DiscoveryError) as caught:
            discover(given)
        assert type(caught.value).__name__ == expect["reject"]["class"]
        assert ErrorCode[expect["reject"]["code"]] is ErrorCode.DISCOVERY
        return
    assert discover(given) == expect["accept"]


def check_address(given: Case, expect: Case) -> None:
    """Kind `discovery-address`."""
    assert is_public(ipaddress.ip_address(given["address"])) is expect["accept"]["dial"]


@attrs.define
class Replay(Judge):
    """Is answered what was recorded."""

    responses: dict[str, str] = attrs.field(factory=dict)

    def respond(self, question: Question) -> Message:
        wire = bytes.fromhex(self.responses[f"{question.name.to_text().lower()} {question.rdtype.name}"])
        return parse_response(wire, question)


def check_chain(given: Case, expect: Case) -> None:
    """Kind `discovery-chain`."""
    anchors = read_anchors("".join(f". IN DS {anchor}\n" for anchor in given["anchors"]))
    replay = Replay(World(), now=float(given["now"]), anchors=anchors, responses=given["responses"])
    found, wanted = replay(given["name"], given["type"]), expect["accept"]
    assert found.status.value == wanted["status"], found.reason
    assert found.outcome.value == wanted.get("outcome", found.outcome.value)


CONSUMERS = {
    "discovery-identity": check_identity,
    "discovery-srv": check_srv,
    "discovery-tlsa": check_tlsa,
    "discovery-dane": check_dane,
    "discovery-decision": check_decision,
    "discovery-address": check_address,
    "discovery-chain": check_chain,
}
