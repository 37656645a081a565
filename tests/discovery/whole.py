"""A whole discovery without a network: the rules of `plan` over the validator, every answer from a function."""

from collections.abc import Callable

import attrs
import dns.name
from dns.rdatatype import RdataType

from tests.discovery.harness import NOW
from volly_fed.discovery import plan
from volly_fed.discovery.anchors import Anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.chain import Walk, Zones
from volly_fed.discovery.dnssec import Answer, look_up
from volly_fed.discovery.endpoint import Service, Target
from volly_fed.discovery.message import Message, Question
from volly_fed.discovery.records import Identity, SrvRecord
from volly_fed.errors import BadMessage, Indeterminate
from volly_fed.names import DomainName

Answering = Callable[[Question], Message]
"""The message that answers. Raises BadMessage or Indeterminate."""
_USABLE = (0, 3)


@attrs.define(kw_only=True)
class Whole:
    """One discovery. `ask` gives every answer, `answers` collects the verdicts."""

    anchors: Anchors
    ask: Answering
    now: float = NOW
    answers: dict[Question, Answer] = attrs.field(factory=dict)
    _budget: Budget = attrs.field(factory=Budget)
    _messages: dict[Question, Message | str] = attrs.field(factory=dict)
    _walk: Walk = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._walk = Walk(zones=Zones(self.anchors), now=self.now, budget=self._budget)

    def discover(self, domain: str) -> tuple[list[Target], Identity]:
        """Targets, usable or not, and the identity. Raises the DiscoveryError family."""
        name = DomainName(domain)
        service = self.look_up(plan.service_question(name, Service.FEDERATION))
        identity = self.look_up(plan.identity_question(name))
        records = plan.choose_targets(service, bytes)
        found = plan.identity_in(identity)
        targets = [self._target(record) for record in records]
        if not any(target.addresses for target in targets):
            raise plan.no_target(targets)
        return targets, found

    def _target(self, record: SrvRecord) -> Target:
        assert record.target is not None
        addresses = [self.look_up(question) for question in plan.address_questions(record.target)]
        tlsa = None
        for base in plan.tlsa_bases(record.target, addresses):
            tlsa = self.look_up(plan.tlsa_question(record.port, base))
            if not tlsa.absent:
                break
        assert tlsa is not None
        return plan.judge_target(record, addresses, tlsa, service=Service.FEDERATION, allow_private=True)

    def look_up(self, question: Question) -> Answer:
        """The verdict, each question once."""
        if question not in self.answers:
            self.answers[question] = self._drive(question)
        return self.answers[question]

    def _drive(self, question: Question) -> Answer:
        asking = look_up(self._walk, question)
        asked = next(asking)
        while True:
            message = self._ask(asked)
            try:
                asked = asking.throw(Indeterminate(message)) if isinstance(message, str) else asking.send(message)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer

    def _ask(self, question: Question) -> Message | str:
        if question not in self._messages:
            try:
                self._budget.spend_query()
                message = self.ask(question)
            except (BadMessage, Indeterminate) as error:
                self._messages[question] = str(error)
            else:
                usable = message.rcode in _USABLE
                self._messages[question] = message if usable else f"rcode {message.rcode}"
        return self._messages[question]


def question(name: str, rdtype: str) -> Question:
    """The question for a name taken from the root."""
    return Question(dns.name.from_text(name), RdataType.make(rdtype))
