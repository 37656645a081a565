import os

import dns.name
import dns.rdata
import pytest
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from tests.discovery.harness import DIGEST, IDENTITY, NOW
from volly_fed import limits
from volly_fed.discovery import plan
from volly_fed.discovery.dane import TlsaRecord
from volly_fed.discovery.dnssec import Answer, Outcome
from volly_fed.discovery.endpoint import Service, Status, Target
from volly_fed.discovery.message import Question
from volly_fed.discovery.records import SrvRecord
from volly_fed.errors import Bogus, DiscoveryError, Indeterminate, Insecure, NoRecords
from volly_fed.names import DomainName

SRV = SrvRecord(priority=0, weight=0, port=5223, target=DomainName("fed.a.test"))
ERRORS = {Status.INSECURE: Insecure, Status.BOGUS: Bogus, Status.INDETERMINATE: Indeterminate}


def answer(
    name: str,
    rdtype: str,
    *texts: str,
    status: Status = Status.SECURE,
    outcome: Outcome | None = None,
    canonical: str | None = None,
) -> Answer:
    question = Question(dns.name.from_text(name), RdataType.make(rdtype))
    return Answer(
        question=question,
        status=status,
        outcome=outcome or (Outcome.FOUND if texts else Outcome.NODATA),
        rdatas=tuple(dns.rdata.from_text(IN, rdtype, text) for text in texts),
        canonical=dns.name.from_text(canonical or name),
        expires=NOW,
        reason="because" if status is not Status.SECURE else "",
    )


A = answer("fed.a.test", "A", "9.9.9.9")
AAAA = answer("fed.a.test", "AAAA", "2620:fe::fe")
NO_AAAA = answer("fed.a.test", "AAAA")
TLSA = answer("_5223._tcp.fed.a.test", "TLSA", f"3 1 1 {DIGEST}")


def decide(
    *addresses: Answer, tlsa: Answer = TLSA, service: Service = Service.FEDERATION, allow_private: bool = False
) -> Target:
    return plan.judge_target(SRV, addresses, tlsa, service=service, allow_private=allow_private)


def test_owners_are_those_of_the_rfcs() -> None:
    domain = DomainName("a.test")
    assert str(plan.service_question(domain, Service.FEDERATION)) == "_volly-fed._tcp.a.test. SRV"
    assert str(plan.service_question(domain, Service.DEVICE)) == "_volly._tcp.a.test. SRV"
    assert str(plan.identity_question(domain)) == "_volly-fed.a.test. TXT"
    assert str(plan.tlsa_question(5223, dns.name.from_text("fed.a.test"))) == "_5223._tcp.fed.a.test. TLSA"


def test_a_name_too_long_is_no_records() -> None:
    domain = DomainName(".".join(["x" * 60] * 4))
    with pytest.raises(NoRecords, match="note:"):
        plan.service_question(domain, Service.FEDERATION)


def test_complete_target() -> None:
    record = TlsaRecord(usage=3, selector=1, matching=1, data=bytes.fromhex(DIGEST))
    assert decide(AAAA, A) == Target(host="fed.a.test", port=5223, addresses=("2620:fe::fe", "9.9.9.9"), tlsa=(record,))


def test_one_secure_family_is_enough() -> None:
    bogus = answer("fed.a.test", "AAAA", status=Status.BOGUS)
    assert decide(bogus, A).addresses == ("9.9.9.9",)
    assert decide(NO_AAAA, A).addresses == ("9.9.9.9",)


@pytest.mark.spec("discovery-23")
@pytest.mark.parametrize("status", list(ERRORS))
def test_addresses_that_are_not_secure_are_not_used(status: Status) -> None:
    target = decide(NO_AAAA, answer("fed.a.test", "A", "9.9.9.9", status=status))
    assert (target.addresses, target.status) == ((), status)
    assert "fed.a.test. A" in target.reason


@pytest.mark.spec("discovery-23", "discovery-28")
@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("status", list(ERRORS))
def test_tlsa_that_is_not_secure_is_not_ignored(status: Status, service: Service) -> None:
    target = decide(
        NO_AAAA, A, tlsa=answer("_5223._tcp.fed.a.test", "TLSA", f"3 1 1 {DIGEST}", status=status), service=service
    )
    assert (target.addresses, target.tlsa, target.status) == ((), (), status)


def test_proved_absence_of_tlsa_refuses_federation_only() -> None:
    absent = answer("_5223._tcp.fed.a.test", "TLSA")
    assert decide(NO_AAAA, A, tlsa=absent).addresses == ()
    target = decide(NO_AAAA, A, tlsa=absent, service=Service.DEVICE)
    assert (target.addresses, target.tlsa, target.host) == (("9.9.9.9",), (), "fed.a.test")


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("text", [f"2 1 1 {DIGEST}", f"3 9 1 {DIGEST}", "3 1 0 00", f"0 0 1 {DIGEST}"])
def test_only_unusable_tlsa_refuses(text: str, service: Service) -> None:
    target = decide(NO_AAAA, A, tlsa=answer("_5223._tcp.fed.a.test", "TLSA", text), service=service)
    assert target.addresses == ()
    assert "no usable record" in target.reason


@pytest.mark.spec("discovery-11")
def test_unusable_beside_usable_is_ignored() -> None:
    tlsa = answer("_5223._tcp.fed.a.test", "TLSA", f"2 1 1 {DIGEST}", f"3 1 1 {DIGEST}")
    assert len(decide(NO_AAAA, A, tlsa=tlsa).tlsa) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
def test_private_addresses_need_permission(address: str) -> None:
    private = answer("fed.a.test", "A", address)
    refused = decide(NO_AAAA, private)
    assert refused.addresses == ()
    assert "allow_private_addresses" in refused.reason
    assert decide(NO_AAAA, private, allow_private=True).addresses == (address,)
    assert decide(NO_AAAA, answer("fed.a.test", "A", address, "9.9.9.9")).addresses == ("9.9.9.9",)


def test_alias_moves_the_tlsa_base() -> None:
    alias = answer("fed.a.test", "A", "9.9.9.9", canonical="real.b.test")
    assert list(map(str, plan.tlsa_bases("fed.a.test", [NO_AAAA, alias]))) == ["real.b.test.", "fed.a.test."]
    assert list(map(str, plan.tlsa_bases("fed.a.test", [NO_AAAA, A]))) == ["fed.a.test."]
    tlsa = answer("_5223._tcp.real.b.test", "TLSA", f"3 1 1 {DIGEST}")
    assert decide(NO_AAAA, alias, tlsa=tlsa).host == "real.b.test"


@pytest.mark.parametrize("status", list(ERRORS))
def test_srv_that_is_not_secure_is_its_verdict(status: Status) -> None:
    with pytest.raises(ERRORS[status], match=r"_volly-fed\._tcp\.a\.test\. SRV: because\nnote: "):
        plan.choose_targets(answer("_volly-fed._tcp.a.test", "SRV", "0 0 1 fed.a.test.", status=status), os.urandom)


@pytest.mark.spec("discovery-7")
def test_absent_srv_does_not_fall_back() -> None:
    with pytest.raises(NoRecords, match="SRV"):
        plan.choose_targets(answer("_volly-fed._tcp.a.test", "SRV"), os.urandom)


@pytest.mark.spec("discovery-7")
def test_srv_of_the_root_is_an_opt_out() -> None:
    with pytest.raises(NoRecords, match="does not offer"):
        plan.choose_targets(answer("_volly-fed._tcp.a.test", "SRV", "0 0 0 ."), os.urandom)


@pytest.mark.spec("discovery-6")
def test_unusable_srv_records_are_left_out() -> None:
    mixed = answer(
        "_volly-fed._tcp.a.test", "SRV", "0 0 0 fed.a.test.", "0 0 1 _x.a.test.", "1 0 5223 fed.a.test.", "0 0 0 ."
    )
    assert [record.target for record in plan.choose_targets(mixed, os.urandom)] == ["fed.a.test"]
    with pytest.raises(NoRecords, match="usable target"):
        plan.choose_targets(answer("_volly-fed._tcp.a.test", "SRV", "0 0 0 fed.a.test."), os.urandom)


def test_targets_are_bounded() -> None:
    many = answer("_volly-fed._tcp.a.test", "SRV", *(f"0 0 {port} fed.a.test." for port in range(1, 40)))
    assert len(plan.choose_targets(many, os.urandom)) == limits.DNS_SRV_TARGETS


@pytest.mark.parametrize("status", list(ERRORS))
def test_identity_that_is_not_secure_is_its_verdict(status: Status) -> None:
    with pytest.raises(ERRORS[status]):
        plan.identity_in(answer("_volly-fed.a.test", "TXT", f'"{IDENTITY}"', status=status))


@pytest.mark.parametrize(
    "texts", [[], ['"v=spf1"'], ['"v=vf1 id=x"'], [f'"{IDENTITY}"', f'"{IDENTITY} next={"A" * 43}"']]
)
def test_missing_malformed_and_ambiguous_identities_are_no_records(texts: list[str]) -> None:
    with pytest.raises(NoRecords, match=r"_volly-fed\.a\.test\. TXT"):
        plan.identity_in(answer("_volly-fed.a.test", "TXT", *texts))


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ([Status.SECURE, Status.INSECURE, Status.INDETERMINATE, Status.BOGUS], Bogus),
        ([Status.SECURE, Status.INSECURE, Status.INDETERMINATE], Indeterminate),
        ([Status.INSECURE, Status.SECURE], Insecure),
        ([Status.SECURE], NoRecords),
    ],
)
def test_the_worst_target_names_the_error(statuses: list[Status], error: type[DiscoveryError]) -> None:
    targets = [Target(host="x", port=1, status=status, reason=f"r{status.value}") for status in statuses]
    caught = plan.no_target(targets)
    assert type(caught) is error
    assert all(f"r{status.value}" in str(caught) for status in statuses)
