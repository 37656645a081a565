"""What the world's answers to a homeserver's questions amount to: present, right, or wrong and how.

in: validated Answers and what ought to be published; out: Findings. Pure: asks nobody.
Never: calls right what is not proved, or knows a key that the operator did not name.
Source: RFC 2782, RFC 6698, RFC 7671 §8.1 (both keys are published), RFC 7673.
"""

from collections.abc import Sequence
from typing import Final

import attrs
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from volly_fed.config.records import Published
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.discovery import plan
from volly_fed.discovery.address import sort_addresses
from volly_fed.discovery.dane import Matching, Selector, TlsaRecord, objection
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Service, Status
from volly_fed.discovery.message import Question
from volly_fed.discovery.records import SrvRecord, parse_srv, parse_tlsa
from volly_fed.errors import BadMessage, DiscoveryError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text

_PRINT: Final = "`volly-fed dns print` shows the record to publish"
_SPARE: Final = "publish it: without a spare, a lost or stolen TLS key means waiting for DNS"


@attrs.frozen(kw_only=True)
class Wanted:
    """One service that ought to be there; of somebody else's domain only `service` is known."""

    service: Service = Service.FEDERATION
    host: DomainName | None = None
    port: int = 0
    keys: tuple[bytes, ...] = ()
    """SHA-256 over the SPKI: current, spare, retiring."""


def subject_of(question: Question) -> str:
    """Owner and type, without the final dot."""
    return f"{question.name.to_text(omit_final_dot=True)} {question.rdtype.name}"


def judge_absence(answer: Answer) -> Finding:
    """Why `answer` has no records that can be used."""
    return _failure(answer, plan.failure(answer.status, answer.reason or "no records"))


def _failure(answer: Answer, error: DiscoveryError) -> Finding:
    """`error`, without the owner and type that the subject says already."""
    found = Finding.of_error(subject_of(answer.question), error)
    return attrs.evolve(found, reason=found.reason.removeprefix(f"{answer.question}: "))


def judge_srv(answer: Answer, wanted: Wanted) -> tuple[list[Finding], list[SrvRecord]]:
    """Whether the SRV records lead to `wanted`, and all records that lead anywhere."""
    if not answer.found:
        return [judge_absence(answer)], []
    subject, findings, records = subject_of(answer.question), list[Finding](), list[SrvRecord]()
    for rdata in answer.rdatas:
        try:
            records.append(parse_srv(rdata))
        except BadMessage as error:
            findings.append(Finding(subject=subject, verdict=Verdict.WARNING, reason=str(error), note="remove it"))
    targets = [record for record in records if record.target is not None]
    if not targets:
        reason = 'the domain declares that it does not offer this service (target ".")' if records else "none is usable"
        findings.append(Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=_PRINT))
    elif wanted.host is None:
        findings += [Finding(subject=subject, verdict=Verdict.OK, reason=f"leads to {_place(t)}") for t in targets]
    else:
        findings += _own_target(subject, targets, wanted)
    return findings, targets


def _own_target(subject: str, targets: Sequence[SrvRecord], wanted: Wanted) -> list[Finding]:
    own = f"{wanted.host} port {wanted.port}"
    others = [record for record in targets if (record.target, record.port) != (wanted.host, wanted.port)]
    if len(others) < len(targets):
        reason = "a further target, which needs addresses and TLSA records of its own: "
        further = [Finding(subject=subject, verdict=Verdict.INFO, reason=reason + _place(other)) for other in others]
        return [Finding(subject=subject, verdict=Verdict.OK, reason=f"leads to {own}"), *further]
    reason = f"leads to {', '.join(map(_place, others))}, not to {own}"
    note = _PRINT
    if any(record.target is not None and record.target.startswith(f"{wanted.host}.") for record in others):
        note = "the target needs a final dot in the zone file: without it, the zone's name is added"
    return [Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note)]


def _place(record: SrvRecord) -> str:
    return f"{record.target} port {record.port}"


def judge_identity(answer: Answer, published: Published | None) -> list[Finding]:
    """Whether the identity record is there, and names our identities where they are known."""
    subject = subject_of(answer.question)
    try:
        identity = plan.identity_in(answer)
    except DiscoveryError as error:
        return [_failure(answer, error)]
    shown = Finding(subject=subject, verdict=Verdict.OK, reason=str(identity))
    if published is None:
        return [shown]
    if identity.current != published.identity:
        reason = f"names the identity {_print(identity.current)}; this server's is {_print(published.identity)}"
        note = f"peers will refuse this server until it is right; {_PRINT}"
        return [Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note)]
    if identity.next == published.identity_next:
        return [shown]
    reason = f"announces next={_print(identity.next)}; this server's next identity is {_print(published.identity_next)}"
    verdict = Verdict.WARNING if identity.next is None or published.identity_next is None else Verdict.FAILED
    return [Finding(subject=subject, verdict=verdict, reason=reason, note=_PRINT)]


def _print(fingerprint: Fingerprint | None) -> str:
    return "nothing" if fingerprint is None else fingerprint_text(fingerprint)


def judge_addresses(answers: Sequence[Answer], *, allow_private: bool) -> list[Finding]:
    """AAAA and A of one target: one family will do, private addresses and aliases will not."""
    findings, found = list[Finding](), [answer for answer in answers if answer.found]
    for answer in answers:
        if answer.canonical != answer.question.name:
            reason = f"an alias (CNAME) of {answer.canonical.to_text(omit_final_dot=True)}"
            note = "let the SRV record name a host with addresses of its own (RFC 2782)"
            findings.append(Finding(subject=_host(answer), verdict=Verdict.WARNING, reason=reason, note=note))
        if not answer.found and not (answer.absent and found):
            lost = judge_absence(answer)
            findings.append(attrs.evolve(lost, verdict=Verdict.WARNING) if found else lost)
    for answer in found:
        subject = subject_of(answer.question)
        literals = ", ".join(rdata.address for rdata in answer.rdatas if isinstance(rdata, A | AAAA))
        _, refused = sort_addresses(answer.rdatas, allow_private=False)
        if not refused:
            findings.append(Finding(subject=subject, verdict=Verdict.OK, reason=literals))
            continue
        which = "" if refused == len(answer.rdatas) else f"{refused} of them "
        reason = f"{literals}: {which}private, local or reserved; other servers refuse to dial such an address"
        if allow_private:
            findings.append(Finding(subject=subject, verdict=Verdict.INFO, reason=reason))
            continue
        note = "publish the address that the internet sees"
        findings.append(Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note))
    return list(dict.fromkeys(findings))


def _host(answer: Answer) -> str:
    return answer.question.name.to_text(omit_final_dot=True)


def tlsa_records(answer: Answer) -> tuple[list[TlsaRecord], list[str]]:
    """The usable records, and what is wrong with each of the others."""
    good, bad = list[TlsaRecord](), list[str]()
    for rdata in answer.rdatas:
        try:
            record = parse_tlsa(rdata)
        except BadMessage as error:
            bad.append(str(error))
            continue
        why = objection(record)
        if why:
            bad.append(f"{record}: {why}")
        else:
            good.append(record)
    return good, bad


def has_current_key(answer: Answer, wanted: Wanted) -> bool:
    """Whether peers can prove the key in use (of a foreign domain: any key)."""
    good, _ = tlsa_records(answer)
    return answer.found and any(not wanted.keys or record == _record(wanted.keys[0]) for record in good)


def judge_tlsa(answer: Answer, wanted: Wanted) -> list[Finding]:
    """Whether the TLSA records name the keys in `wanted`, and nothing but them."""
    subject = subject_of(answer.question)
    if not answer.found:
        if answer.absent and wanted.service is Service.DEVICE:
            reason = "no records: devices trust the certificate's authority alone"
            verdict = Verdict.WARNING if wanted.keys else Verdict.INFO
            return [Finding(subject=subject, verdict=verdict, reason=reason, note=_PRINT if wanted.keys else "")]
        return [judge_absence(answer)]
    good, bad = tlsa_records(answer)
    findings = [
        Finding(subject=subject, verdict=Verdict.WARNING, reason=f"not usable: {why}", note="remove it") for why in bad
    ]
    if not good:
        findings.append(Finding(subject=subject, verdict=Verdict.FAILED, reason="no usable record", note=_PRINT))
    elif wanted.keys:
        findings += _own_keys(subject, good, wanted)
    else:
        findings.append(Finding(subject=subject, verdict=Verdict.OK, reason=f"{len(good)} usable records"))
    return findings


def _own_keys(subject: str, good: Sequence[TlsaRecord], wanted: Wanted) -> list[Finding]:
    current, *further = [_record(key) for key in wanted.keys]
    findings: list[Finding] = []
    if current in good:
        findings.append(Finding(subject=subject, verdict=Verdict.OK, reason="names the current key"))
    else:
        reason = f"does not name the current key: {current} is missing"
        note = f"peers cannot prove this server's TLS key; {_PRINT}"
        findings.append(Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note))
    for record, which, note in zip(further, _which(len(further)), [_SPARE] + [_PRINT] * len(further), strict=False):
        if record in good:
            findings.append(Finding(subject=subject, verdict=Verdict.OK, reason=f"names the {which} key"))
        else:
            reason = f"does not name the {which} key: {record} is missing"
            findings.append(Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=note))
    if not further and wanted.service is Service.FEDERATION:
        note = "`volly-fed dns roll start` makes one"
        findings.append(Finding(subject=subject, verdict=Verdict.WARNING, reason="there is no spare key", note=note))
    findings += [
        Finding(
            subject=subject,
            verdict=Verdict.WARNING,
            reason=f"names a key that is none of this server's: {record}",
            note="remove it, unless another server at the same name and port uses it: whoever has that key can be you",
        )
        for record in good
        if record not in (current, *further)
    ]
    return findings


def _which(count: int) -> list[str]:
    return ["spare"] + ["retiring"] * max(0, count - 1)


def _record(digest: bytes) -> TlsaRecord:
    return TlsaRecord(usage=3, selector=Selector.SPKI, matching=Matching.SHA256, data=digest)


def judge_wrong_owner(answer: Answer, wanted: Wanted, right: str) -> list[Finding]:
    """TLSA records at an owner where nobody looks for them; nothing, where there are none."""
    records = [*tlsa_records(answer)[0], *tlsa_records(answer)[1]]
    if not records:
        return []
    ours = any(record == _record(key) for record in records for key in wanted.keys)
    keys = "TLSA records with this server's key" if ours else "TLSA records"
    status = "" if answer.status is Status.SECURE else f" ({answer.status.value})"
    return [
        Finding(
            subject=subject_of(answer.question),
            verdict=Verdict.FAILED,
            reason=f"wrong owner: {keys} are here{status}, where nobody looks for them",
            note=f"move them to {right}",
        )
    ]
