"""One discovery or look-up under way: what it asks, what that costs, and who judges the answers.

in: Questions; out: Answers with a verdict, from the cache or from a Judge.
Never: gives an Answer to another discovery before it is judged; what they share (`Knowledge`) is. Nor one that is
there only because this discovery has spent all it may: else whoever runs a zone could have it say so of other zones.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs
import dns.message
import dns.name
import trio

from volly_fed import limits
from volly_fed.daemon.dns.cache import Backoff, Cache, take
from volly_fed.daemon.dns.transport import Transport
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.chain import Asking, Walk
from volly_fed.discovery.dnssec import Answer, look_up, worse
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Message, Question
from volly_fed.discovery.zones import Zones
from volly_fed.errors import Indeterminate

V = TypeVar("V")


class Judge(Protocol):
    """Where one discovery's verdicts come from."""

    @property
    def is_overdrawn(self) -> bool:
        """Whether the discovery has spent more than it may: what is indeterminate then, may be so for that alone."""
        ...

    async def prefetch(self, questions: Iterable[Question], zones: Iterable[dns.name.Name], /) -> None:
        """Ask all `questions` at once, with what the chains of trust to `zones` need.

        Raises nothing: failures are kept for whoever needs the answer.
        """
        ...

    async def judge(self, question: Question) -> Answer:
        """The Answer; failures are in its status."""
        ...

    def seconds(self, question: Question) -> float:
        """How long prefetching took, so far as it is over."""
        ...


@attrs.frozen(kw_only=True)
class Knowledge:
    """What all discoveries of one resolver share."""

    clock: Callable[[], float]
    answers: Cache[Question, Answer] = attrs.field(factory=Cache)
    backoff: Backoff[Question] = attrs.field(factory=Backoff)


class Run:
    """Everything of one discovery that ends with it."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        self._knowledge = knowledge
        self._judge = judge
        self._now = knowledge.clock()

    async def prefetch(self, questions: Iterable[Question], zones: Iterable[dns.name.Name]) -> None:
        """Ask what is not known of `questions`, all at once, and what the chains of trust to `zones` need with it."""
        wanted = [question for question in questions if self._knowledge.answers.get(question, self._now) is None]
        if wanted:
            await self._judge.prefetch(wanted, zones)

    async def look_up(self, question: Question) -> tuple[Answer, float]:
        """The Answer, and how many seconds it took, prefetching included."""
        known = self._knowledge.answers.get(question, self._now)
        if known is not None:
            return known, 0.0
        waited, started = self._judge.seconds(question), trio.current_time()
        answer = self._remember(await self._judge.judge(question))
        return answer, waited + trio.current_time() - started

    def _remember(self, answer: Answer) -> Answer:
        knowledge, now = self._knowledge, self._knowledge.clock()
        if answer.status is Status.INDETERMINATE and self._judge.is_overdrawn:
            return answer
        if answer.status in (Status.BOGUS, Status.INDETERMINATE):
            answer = attrs.evolve(answer, expires=knowledge.backoff.failed(answer.question, now))
        else:
            knowledge.backoff.succeeded(answer.question)
        knowledge.answers.put(answer.question, answer, now=now, expires=answer.expires, weight=answer.weight)
        return answer


@attrs.define
class _Asked(Generic[V]):
    done: trio.Event = attrs.field(factory=trio.Event)
    result: list[V] = attrs.field(factory=list)
    seconds: float = 0.0


class Once(Generic[V]):
    """Asks each question once in a discovery, however many need it, and not too many at once. `ask` must not raise."""

    def __init__(self, ask: Callable[[Question], Awaitable[V]]) -> None:
        self._ask = ask
        self._limiter = trio.Semaphore(limits.DNS_IN_FLIGHT_EACH)
        self._asked: dict[Question, _Asked[V]] = {}

    async def get(self, question: Question) -> V:
        """What came of it."""
        asked = self._asked.get(question)
        if asked is None:
            asked = self._asked[question] = _Asked()
            started = trio.current_time()
            await take(self._limiter)
            try:
                asked.result.append(await self._ask(question))
            finally:
                self._limiter.release()
            asked.seconds = trio.current_time() - started
            asked.done.set()
        elif not asked.result:
            await asked.done.wait()
        return asked.result[0]

    async def get_all(self, questions: Iterable[Question]) -> None:
        """Ask all of them at once."""
        async with trio.open_nursery() as nursery:
            for question in dict.fromkeys(questions):
                nursery.start_soon(self.get, question)

    def seconds(self, question: Question) -> float:
        """How long it took; 0 if it was not asked."""
        return self._asked[question].seconds if question in self._asked else 0.0


class OwnJudge:
    """Our own validator: the chain of trust is walked here, from messages that nobody needs to vouch for."""

    def __init__(self, transport: Transport, zones: Zones, now: float) -> None:
        self._transport = transport
        self._budget = Budget()
        self._walk = Walk(zones=zones, now=now, budget=self._budget)
        self._messages: Once[Message | str] = Once(self._ask)

    @property
    def is_overdrawn(self) -> bool:
        """As `Judge`."""
        return self._budget.is_overdrawn

    async def prefetch(self, questions: Iterable[Question], zones: Iterable[dns.name.Name]) -> None:
        """As `Judge`: the chains of trust come in the same round trip as the answers."""
        chains = [step for zone in zones for step in self._walk.zones.unknown_above(zone, self._walk.now)]
        await self._messages.get_all([*questions, *chains])

    async def judge(self, question: Question) -> Answer:
        """As `Judge`."""
        return await self._drive(look_up(self._walk, question))

    def seconds(self, question: Question) -> float:
        """As `Judge`."""
        return self._messages.seconds(question)

    async def _drive(self, asking: Asking[Answer]) -> Answer:
        question = next(asking)
        while True:
            message = await self._messages.get(question)
            try:
                question = asking.throw(Indeterminate(message)) if isinstance(message, str) else asking.send(message)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer

    async def _ask(self, question: Question) -> Message | str:
        try:
            return (await self._transport.ask(question, self._budget)).message
        except Indeterminate as error:
            return str(error)


class OtherJudge:
    """Somebody else's validator: one question, one verdict."""

    def __init__(self, ask: Callable[[Question], Awaitable[Answer]], budget: Budget) -> None:
        """`budget` is what `ask` spends, so far as it spends any."""
        self._answers = Once(ask)
        self._budget = budget

    @property
    def is_overdrawn(self) -> bool:
        """As `Judge`."""
        return self._budget.is_overdrawn

    async def prefetch(self, questions: Iterable[Question], _zones: Iterable[dns.name.Name]) -> None:
        """As `Judge`; chains of trust are the other's business."""
        await self._answers.get_all(questions)

    async def judge(self, question: Question) -> Answer:
        """As `Judge`."""
        return await self._answers.get(question)

    def seconds(self, question: Question) -> float:
        """As `Judge`."""
        return self._answers.seconds(question)


class JointJudge:
    """Several validators that must agree: the worst verdict counts, with its reason. The records are the first's."""

    def __init__(self, judges: Sequence[tuple[str, Judge]]) -> None:
        """`judges` with the words that name them in reasons."""
        self._judges = tuple(judges)

    @property
    def is_overdrawn(self) -> bool:
        """As `Judge`: any of them."""
        return any(judge.is_overdrawn for _, judge in self._judges)

    async def prefetch(self, questions: Iterable[Question], zones: Iterable[dns.name.Name]) -> None:
        """As `Judge`, all of them at once."""
        asked, above = tuple(questions), tuple(zones)
        async with trio.open_nursery() as nursery:
            for _, judge in self._judges:
                nursery.start_soon(judge.prefetch, asked, above)

    async def judge(self, question: Question) -> Answer:
        """As `Judge`."""
        joint = await self._judges[0][1].judge(question)
        for name, judge in self._judges[1:]:
            other = await judge.judge(question)
            expires = min(joint.expires, other.expires)
            if worse(joint.status, other.status) is not joint.status:
                reason = f"{name}: {other.status.value} ({other.reason or 'no reason given'})"
                joint = attrs.evolve(joint, status=other.status, reason=reason)
            elif other.status is joint.status is Status.SECURE and joint.found is not other.found:
                reason = f"{name}: {other.outcome.value}, which disagrees with {joint.outcome.value} of the others"
                joint = attrs.evolve(joint, status=Status.INDETERMINATE, reason=reason)
            joint = attrs.evolve(joint, expires=expires)
        return joint

    def seconds(self, question: Question) -> float:
        """As `Judge`: the slowest."""
        return max(judge.seconds(question) for _, judge in self._judges)
