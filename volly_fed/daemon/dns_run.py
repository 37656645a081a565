"""One discovery or look-up under way: its messages, its budget, and the driving of the validator's generators.

in: Questions; out: validated Answers, from the cache or the network.
Never: shares unvalidated messages with another discovery; what they share (`Knowledge`) is validated.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import attrs
import dns.message
import dns.name
import trio

from volly_fed import limits
from volly_fed.daemon.dns_transport import Transport
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.chain import Asking, Walk, Zones
from volly_fed.discovery.dnssec import Answer, look_up
from volly_fed.discovery.message import Question
from volly_fed.errors import Indeterminate

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most limits.DNS_CACHE_ENTRIES values, each until its time; the oldest makes room."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K, now: float) -> V | None:
        """The value, unless it has expired."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > now else None

    def put(self, key: K, value: V, expires: float) -> None:
        """Remember `value` until `expires`, in the seconds of `get`."""
        self._entries.pop(key, None)
        self._entries[key] = (expires, value)
        while len(self._entries) > limits.DNS_CACHE_ENTRIES:
            self._entries.popitem(last=False)


@attrs.frozen(kw_only=True)
class Knowledge:
    """What all discoveries of one resolver share."""

    transport: Transport
    zones: Zones
    clock: Callable[[], float]
    answers: Cache[Question, Answer] = attrs.field(factory=Cache)


@attrs.define
class _Asked:
    """A question that was sent: what came back, and how long that took (seconds)."""

    done: trio.Event = attrs.field(factory=trio.Event)
    message: dns.message.Message | None = None
    error: str = ""
    seconds: float = 0.0


class Run:
    """Everything of one discovery that ends with it."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._budget = Budget()
        self._walk = Walk(zones=knowledge.zones, now=knowledge.clock(), budget=self._budget)
        self._asked: dict[Question, _Asked] = {}

    async def prefetch(self, questions: Iterable[Question], zones: Iterable[dns.name.Name]) -> None:
        """Ask all questions at once, with what the chains of trust to `zones` need, as far as nothing is known.

        Failures are kept for whoever needs the answer.
        """
        now = self._walk.now
        wanted = [question for question in questions if self._knowledge.answers.get(question, now) is None]
        if wanted:
            wanted += [question for zone in zones for question in self._knowledge.zones.unknown_above(zone, now)]
        async with trio.open_nursery() as nursery:
            for question in dict.fromkeys(wanted):
                nursery.start_soon(self._ask, question)

    async def look_up(self, question: Question) -> tuple[Answer, float]:
        """The validated Answer, and how many seconds it took, prefetching included."""
        answer = self._knowledge.answers.get(question, self._walk.now)
        if answer is not None:
            return answer, 0.0
        waited = self._asked[question].seconds if question in self._asked else 0.0
        started = trio.current_time()
        answer = await self._drive(look_up(self._walk, question))
        self._knowledge.answers.put(question, answer, answer.expires)
        return answer, waited + trio.current_time() - started

    async def _drive(self, asking: Asking[Answer]) -> Answer:
        question = next(asking)
        while True:
            asked = await self._ask(question)
            try:
                if asked.message is None:
                    question = asking.throw(Indeterminate(asked.error))
                else:
                    question = asking.send(asked.message)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer

    async def _ask(self, question: Question) -> _Asked:
        asked = self._asked.get(question)
        if asked is not None:
            await asked.done.wait()
            return asked
        asked = self._asked[question] = _Asked()
        started = trio.current_time()
        try:
            asked.message = await self._knowledge.transport.ask(question, self._budget)
        except Indeterminate as error:
            asked.error = str(error)
        asked.seconds = trio.current_time() - started
        asked.done.set()
        return asked
