"""One discovery, from a domain to its Endpoint, in two round trips: SRV and identity; then addresses and TLSA.

in: a domain and a service; out: an Endpoint, or a DiscoveryError; either way the steps.
Never: decides; `discovery.plan` has the rules. Source: RFC 7673 §3.
"""

import re
from collections.abc import Sequence
from typing import Final

import attrs
import dns.name

from volly_fed.daemon.dns.run import Run
from volly_fed.discovery import plan
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import NO_IDENTITY, Endpoint, Service, Step, Target
from volly_fed.discovery.message import Question
from volly_fed.discovery.proof import join
from volly_fed.discovery.records import Identity, SrvRecord
from volly_fed.discovery.wire_name import above
from volly_fed.errors import Bogus, DiscoveryError, NoRecords
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName

_OUT_OF_DATE: Final = re.compile(r"(?:^|[\s(])[^\s.]*\. [A-Z0-9]+: its signature (?:expired|is not valid)")
_CLOCK_NOTE: Final = (
    "check the clock of this machine: signatures of the root or of a top-level domain are hardly ever out of date"
)


@attrs.frozen(kw_only=True)
class Wish:
    """What is to be found, and under which policy."""

    domain: DomainName
    service: Service
    allow_private: bool
    random: RandomSource


class Discovery:
    """One run; `steps` grows as it goes, so that it can be shown after a failure too."""

    def __init__(self, run: Run, wish: Wish) -> None:
        self.steps: list[Step] = []
        self._wish = wish
        self._run = run
        self._answers: list[Answer] = []

    async def run(self) -> Endpoint:
        """The Endpoint. Raises the DiscoveryError family."""
        wish = self._wish
        records, identity = await self._first_round()
        targets = await self._second_round(records)
        good = tuple(target for target in targets if target.addresses)
        if not good:
            raise plan.no_target(targets)
        return Endpoint(
            domain=wish.domain,
            service=wish.service,
            targets=good,
            rejected=tuple(target for target in targets if not target.addresses),
            identity=identity.current if identity is not None else NO_IDENTITY,
            identity_next=identity.next if identity is not None else None,
            expires=min(answer.expires for answer in self._answers),
            steps=tuple(self.steps),
            proved=join(answer.proved for answer in self._answers),
        )

    async def _first_round(self) -> tuple[list[SrvRecord], Identity | None]:
        wish = self._wish
        service, identity = plan.service_question(wish.domain, wish.service), plan.identity_question(wish.domain)
        has_identity = wish.service is Service.FEDERATION
        questions = [service, identity] if has_identity else [service]
        await self._run.prefetch(questions, [plan.absolute(wish.domain)])
        # all of them before any decision, so that what was asked for is also remembered and shown
        answers = [await self._answer(question) for question in questions]
        records = plan.choose_targets(answers[0], wish.random)
        return records, plan.identity_in(answers[1]) if has_identity else None

    async def _second_round(self, records: Sequence[SrvRecord]) -> list[Target]:
        questions: list[Question] = []
        zones: list[dns.name.Name] = []
        for record in records:
            assert record.target is not None
            addresses = plan.address_questions(record.target)
            questions += addresses
            zones.append(above(addresses[0].name))
            questions += _tlsa_questions(record, [])
        await self._run.prefetch(questions, zones)
        return [await self._target(record) for record in records]

    async def _target(self, record: SrvRecord) -> Target:
        assert record.target is not None
        addresses = [await self._answer(question) for question in plan.address_questions(record.target)]
        questions = _tlsa_questions(record, addresses)
        if not questions:
            reason = f"{record.target}: its TLSA owner would be too long a name"
            return Target(host=record.target, port=record.port, reason=reason)
        tlsa = await self._answer(questions[0])
        for question in questions[1:]:
            if tlsa.absent:
                tlsa = await self._answer(question)
        return plan.judge_target(
            record, addresses, tlsa, service=self._wish.service, allow_private=self._wish.allow_private
        )

    async def _answer(self, question: Question) -> Answer:
        answer, seconds = await self._run.look_up(question)
        self._answers.append(answer)
        self.steps.append(_step(answer, seconds))
        return answer


def suspects_clock(reason: str) -> bool:
    """Whether `reason`, of an Answer or an error, says that a signature of the root or a top-level domain has run out.

    Their operators would have noticed: it is far more likely that the clock here is wrong.
    """
    return _OUT_OF_DATE.search(reason) is not None


def with_clock_note(error: DiscoveryError) -> DiscoveryError:
    """`error`; its note tells to check the clock, where that is the likely cause."""
    reason, _, _ = str(error).partition("\nnote:")
    return Bogus(f"{reason}\nnote: {_CLOCK_NOTE}") if isinstance(error, Bogus) and suspects_clock(reason) else error


def _tlsa_questions(record: SrvRecord, addresses: Sequence[Answer]) -> list[Question]:
    """Where to look for the target's TLSA records, in turn; nowhere, if the name cannot exist."""
    assert record.target is not None
    try:
        return [plan.tlsa_question(record.port, base) for base in plan.tlsa_bases(record.target, addresses)]
    except NoRecords:
        return []


def _step(answer: Answer, seconds: float) -> Step:
    found = f"{answer.outcome.value}, {len(answer.rdatas)} records" if answer.rdatas else answer.outcome.value
    return Step(
        name=str(answer.question.name).rstrip(".") or ".",
        rrtype=answer.question.rdtype.name,
        status=answer.status,
        reason=f"{found}: {answer.reason}" if answer.reason else found,
        milliseconds=seconds * 1000,
    )
