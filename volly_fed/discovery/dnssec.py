"""One validated look-up: a question in, an Answer with its verdict out, aliases followed.

in: a Walk (anchors, time, budget) and responses; out: an Answer, always; DNS never makes it raise.
Never: does I/O; like `chain` it yields Questions and is sent responses. An Answer that is not SECURE keeps its records
for show only. Source: RFC 4035 §4.3 and §5, RFC 2308, RFC 6672 §5.3.
"""

import enum

import attrs
import dns.name
import dns.rdata
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.discovery.chain import Asking, Walk
from volly_fed.discovery.denial import Absence
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Message, Question, find
from volly_fed.discovery.proof import Proof, join, proof_lines, weight_of, weight_of_proof
from volly_fed.discovery.rrset import RRset
from volly_fed.errors import Bogus, Indeterminate, Insecure


class Outcome(enum.Enum):
    """What came of a question."""

    FOUND = "found"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    FAILED = "failed"


_OUTCOMES = {Absence.NODATA: Outcome.NODATA, Absence.NXDOMAIN: Outcome.NXDOMAIN}
_BADNESS = {Status.SECURE: 0, Status.INSECURE: 1, Status.INDETERMINATE: 2, Status.BOGUS: 3}


@attrs.frozen(kw_only=True)
class Answer:
    """What one question came to."""

    question: Question
    status: Status
    outcome: Outcome
    rdatas: tuple[dns.rdata.Rdata, ...] = ()
    canonical: dns.name.Name
    """The name that the records belong to: the end of the chain of aliases."""
    expires: float
    """Seconds since 1970."""
    reason: str = ""
    proved: Proof = attrs.field(default=(), eq=False, repr=False)
    """The RRsets that were verified, chains included; an answer that is not secure may have some too."""

    @property
    def proof(self) -> tuple[str, ...]:
        """`proved` as zone-file lines, from the anchor down, each RRset followed by the RRSIG that held."""
        return proof_lines(self.proved)

    @property
    def weight(self) -> int:
        """Bytes of memory, estimated."""
        return weight_of_proof(self.proved) + weight_of(self.rdatas)

    @property
    def found(self) -> bool:
        """There are records, and every step to them is proved."""
        return self.status is Status.SECURE and self.outcome is Outcome.FOUND

    @property
    def absent(self) -> bool:
        """It is proved that there are none."""
        return self.status is Status.SECURE and self.outcome in (Outcome.NODATA, Outcome.NXDOMAIN)


def worse(one: Status, other: Status) -> Status:
    """The weaker of two verdicts."""
    return max(one, other, key=_BADNESS.__getitem__)


def failed(question: Question, error: Exception, now: float) -> Answer:
    """The Answer that `error` (Insecure, Bogus or Indeterminate) amounts to."""
    status, ttl = Status.INDETERMINATE, limits.DNS_FAILURE_TTL
    if isinstance(error, Insecure):
        status, ttl = Status.INSECURE, limits.DNS_INSECURE_TTL
    elif isinstance(error, Bogus):
        status = Status.BOGUS
    return Answer(
        question=question,
        status=status,
        outcome=Outcome.FAILED,
        canonical=question.name,
        expires=now + ttl,
        reason=str(error),
    )


def look_up(walk: Walk, question: Question) -> Asking[Answer]:
    """The Answer to `question`; errors become verdicts."""
    search = _Search(walk, question)
    try:
        return (yield from search.run())
    except (Insecure, Bogus, Indeterminate) as error:
        return failed(question, error, walk.now)
    except dns.name.NameTooLong:  # a DNAME's or a wildcard's, put together from parts that are each allowed
        return failed(question, Bogus(f"{question}: the records lead to a name that is too long"), walk.now)


class _Search:
    """The state of one look-up: where the aliases have led, and the weakest verdict on the way."""

    def __init__(self, walk: Walk, question: Question) -> None:
        self._walk = walk
        self._question = question
        self._name = question.name
        self._seen = {question.name}
        self._status = Status.SECURE
        self._ttl = float(limits.DNS_MAX_TTL)
        self._reason = ""
        self._proofs: list[Proof] = []

    def run(self) -> Asking[Answer]:
        message = yield self._question
        while True:
            rrset, dname = self._relevant(message)
            if rrset is None:
                return (yield from self._absence(message))
            yield from self._check(message, dname if dname is not None else rrset)
            if rrset.rdtype == self._question.rdtype:
                return self._answer(Outcome.FOUND, tuple(rrset))
            self._follow(rrset)
            if not any(candidate.name == self._name for candidate in message.answer):
                # a denial for the target may be in the same message, but asking for it is simpler to get right
                message = yield Question(self._name, self._question.rdtype)

    def _relevant(self, message: Message) -> tuple[RRset | None, RRset | None]:
        """The RRset that answers or redirects, and the DNAME that makes the redirection, where there is one."""
        rrset = find(message.answer, self._name, self._question.rdtype)
        if rrset is not None and rrset.rdtype != RdataType.CNAME:
            return rrset, None
        alias = find(message.answer, self._name, RdataType.CNAME)
        return alias, None if alias is None else self._dname(message, alias)

    def _dname(self, message: Message, alias: RRset) -> RRset | None:
        """RFC 6672 §5.3.1: a CNAME made from a DNAME is not signed; the DNAME is."""
        for rrset in message.answer:
            if rrset.rdtype != RdataType.DNAME:
                continue
            if self._name != rrset.name and self._name.is_subdomain(rrset.name):
                made = self._name.relativize(rrset.name).derelativize(rrset.first.target)
                if made == alias.first.target:
                    return rrset
        return None

    def _check(self, message: Message, rrset: RRset) -> Asking[None]:
        try:
            evidence = yield from self._walk.verify_in(message, rrset)
            self._ttl = min(self._ttl, evidence.ttl)
            self._proofs.append(evidence.proof)
            if evidence.labels < len(rrset.name) - 1 - rrset.name.is_wild():
                records = yield from self._walk.check_expansion(message, rrset.name, evidence)
                self._ttl = min(self._ttl, records.ttl)
                self._proofs.append(records.proof)
                if not records.secure:
                    self._weaken(f"{rrset.name}: a wildcard answers where NSEC3 opts names out")
        except Insecure as error:
            self._weaken(str(error))

    def _weaken(self, reason: str) -> None:
        self._status = worse(self._status, Status.INSECURE)
        self._reason = reason
        self._ttl = min(self._ttl, limits.DNS_INSECURE_TTL)

    def _follow(self, alias: RRset) -> None:
        # CNAME is a singleton type: a set holds one at most, and the signature over two cannot hold then
        self._name = alias.first.target
        if self._name in self._seen or len(self._seen) > limits.DNS_CNAME_HOPS:
            raise Indeterminate(f"{self._question}: its aliases lead in a circle, or too far")
        self._seen.add(self._name)

    def _absence(self, message: Message) -> Asking[Answer]:
        try:
            denial, evidence = yield from self._walk.denial(message, Question(self._name, self._question.rdtype))
        except Insecure as error:
            self._weaken(str(error))
            return self._answer(Outcome.NODATA, ())
        self._ttl = min(self._ttl, evidence.ttl)
        self._proofs.append(evidence.proof)
        if not denial.secure:
            self._weaken(f"{self._name}: {denial.reason}")
        elif not self._reason:
            self._reason = denial.reason
        return self._answer(_OUTCOMES[denial.absence], ())

    def _answer(self, outcome: Outcome, rdatas: tuple[dns.rdata.Rdata, ...]) -> Answer:
        return Answer(
            question=self._question,
            status=self._status,
            outcome=outcome,
            rdatas=rdatas,
            canonical=self._name,
            expires=self._walk.now + max(0.0, self._ttl),
            reason=self._reason,
            proved=join(self._proofs),
        )
