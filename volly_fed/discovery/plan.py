"""The rules of discovery: what to ask for a domain, and what the Answers amount to.

in: Answers of the validator; out: values, or the DiscoveryError that says who has to do what.
Never: uses a record that is not secure, falls back to another port, or to the domain's own address.
Source: RFC 2782, RFC 7673 §3, RFC 7672 §2.2, RFC 7671 §7.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import dns.exception
import dns.name
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.codepoints import IDENTITY_OWNER
from volly_fed.discovery.address import sort_addresses
from volly_fed.discovery.dane import TlsaRecord, objection, usable
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Service, Status, Target
from volly_fed.discovery.message import Question
from volly_fed.discovery.records import (
    Identity,
    SrvRecord,
    choose_identity,
    order_srv,
    parse_srv,
    parse_tlsa,
    txt_strings,
)
from volly_fed.discovery.wire_name import name_from
from volly_fed.errors import BadMessage, Bogus, DiscoveryError, Indeterminate, Insecure, NoRecords
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName

_ERRORS: Final[dict[Status, type[DiscoveryError]]] = {
    Status.SECURE: NoRecords,
    Status.INSECURE: Insecure,
    Status.BOGUS: Bogus,
    Status.INDETERMINATE: Indeterminate,
}
_NOTES: Final = {
    Status.SECURE: "the domain's operator has to publish it (`volly-fed dns print` shows the records)",
    Status.INSECURE: "the domain's operator has to sign the zone and have its DS published in the zone above",
    Status.BOGUS: (
        "the domain's operator has to repair the zone's DNSSEC; if every domain fails, check the clock here, "
        "and that [dns] resolvers pass DNSSEC records on"
    ),
    Status.INDETERMINATE: "check [dns] resolvers: they must be reachable and pass DNSSEC records on; it is tried again",
}
_WORST_FIRST: Final = (Status.BOGUS, Status.INDETERMINATE, Status.INSECURE, Status.SECURE)


def absolute(name: str) -> dns.name.Name:
    """`name`, taken from the root. Raises NoRecords for what no zone can hold (a name that is too long)."""
    try:
        return name_from(name)
    except dns.exception.DNSException as error:
        raise NoRecords(f"{name}: no DNS name ({error})\nnote: check its spelling") from error


def service_question(domain: DomainName, service: Service) -> Question:
    """Where the SRV records are."""
    return Question(absolute(f"{service.value}.{domain}"), RdataType.SRV)


def identity_question(domain: DomainName) -> Question:
    """Where the identity record is."""
    return Question(absolute(f"{IDENTITY_OWNER}.{domain}"), RdataType.TXT)


def address_questions(host: str) -> tuple[Question, Question]:
    """The AAAA and the A question for a target."""
    name = absolute(host)
    return Question(name, RdataType.AAAA), Question(name, RdataType.A)


def tlsa_question(port: int, base: dns.name.Name) -> Question:
    """Where the TLSA records of a port are (RFC 6698 §3): at the target's port and name, not at the domain's.

    Raises NoRecords where that name would be too long.
    """
    return Question(absolute(f"_{port}._tcp.{base}"), RdataType.TLSA)


def tlsa_bases(host: str, addresses: Sequence[Answer]) -> list[dns.name.Name]:
    """The TLSA base domains to try in turn: the end of the target's secure aliases, then the target (RFC 7671 §7)."""
    expanded = [answer.canonical for answer in addresses if answer.found]
    return list(dict.fromkeys([*expanded[:1], absolute(host)]))


def failure(status: Status, text: str) -> DiscoveryError:
    """The error for an answer of that status; SECURE stands for a proved absence. `text` names owner and type."""
    return _ERRORS[status](f"{text}\nnote: {_NOTES[status]}")


def choose_targets(answer: Answer, random: RandomSource) -> list[SrvRecord]:
    """The SRV records in the order to try, at most limits.DNS_SRV_TARGETS; malformed ones are left out.

    Raises the DiscoveryError for an answer that is not secure, says that there is none, or declares the service absent.
    """
    if not answer.found:
        raise failure(answer.status, _text(answer))
    records = list(_parsed_srv(answer))
    targets = order_srv((record for record in records if record.target is not None), random)
    if targets:
        return targets[: limits.DNS_SRV_TARGETS]
    if records:  # RFC 2782: a target of "." means that the service is decidedly not available [discovery-7]
        text = f'{answer.question}: the domain declares that it does not offer this service (target ".")'
        raise NoRecords(f"{text}\nnote: its operator has opted out; nothing can be done here")
    raise failure(Status.SECURE, f"{answer.question}: no record has a usable target")


def _parsed_srv(answer: Answer) -> Iterable[SrvRecord]:  # [discovery-6]
    for rdata in answer.rdatas:
        try:
            yield parse_srv(rdata)
        except BadMessage:
            continue


def identity_in(answer: Answer) -> Identity:
    """The published identity. Raises the DiscoveryError where it is missing, unproved, malformed or ambiguous."""
    if not answer.found:
        raise failure(answer.status, _text(answer))
    try:
        return choose_identity(txt_strings(answer.rdatas))
    except BadMessage as error:
        raise failure(Status.SECURE, f"{answer.question}: {error}") from error


def judge_target(
    srv: SrvRecord, addresses: Sequence[Answer], tlsa: Answer, *, service: Service, allow_private: bool
) -> Target:
    """The target with what can be used of it; `status` and `reason` say why not, where nothing can be.

    One address family that is secure is enough (RFC 7673 §3.2). FEDERATION requires TLSA; DEVICE uses it if it is
    there, and does without only where its absence is proved.
    """
    assert srv.target is not None
    found = [answer for answer in addresses if answer.found]  # [discovery-23]
    if not found:
        worst = min(addresses, key=lambda answer: _WORST_FIRST.index(answer.status))
        return Target(host=srv.target, port=srv.port, status=worst.status, reason=_text(worst))
    literals, refused = sort_addresses(
        (rdata for answer in found for rdata in answer.rdatas), allow_private=allow_private
    )
    if not literals:
        reason = f"{srv.target}: all its {refused} addresses are private, local or reserved"
        return Target(host=srv.target, port=srv.port, reason=f"{reason} ([dns] allow_private_addresses is off)")
    records, reason = _tlsa_records(tlsa)
    if reason and not (service is Service.DEVICE and tlsa.absent):  # [discovery-28]
        return Target(host=srv.target, port=srv.port, status=tlsa.status, reason=reason)
    host = _base_of(tlsa) if records else srv.target
    return Target(host=host, port=srv.port, priority=srv.priority, addresses=literals, tlsa=records, reason=tlsa.reason)


def _base_of(tlsa: Answer) -> str:
    """The TLSA base domain: the owner without its port and protocol labels."""
    return tlsa.question.name.parent().parent().to_text(omit_final_dot=True).lower()


def _tlsa_records(answer: Answer) -> tuple[tuple[TlsaRecord, ...], str]:
    """The usable records, or why there are none."""
    if not answer.found:
        return (), _text(answer)
    records, reasons = [], []
    for rdata in answer.rdatas[: limits.DNS_TLSA_RECORDS]:
        try:
            record = parse_tlsa(rdata)
        except BadMessage as error:
            reasons.append(str(error))
        else:
            records.append(record)
            reasons.append(objection(record))
    chosen = usable(records)
    return chosen, "" if chosen else f"{answer.question}: no usable record ({'; '.join(dict.fromkeys(reasons))})"


def no_target(rejected: Sequence[Target]) -> DiscoveryError:
    """The error where no target can be used: of the worst of their verdicts, with all reasons."""
    worst = min((target.status for target in rejected), key=_WORST_FIRST.index)
    return failure(worst, "; ".join(dict.fromkeys(target.reason for target in rejected)))


def _text(answer: Answer) -> str:
    """The answer's reason, with owner and type in front unless they are there."""
    question = str(answer.question)
    return answer.reason if answer.reason.startswith(question) else f"{question}: {answer.reason or 'no records'}"
