"""Debian's unbound and delv judge every question of the matrix; where they differ from us, the file must say why.

Cases that show in zone files are served by named, the others by the world's own server. Not judged: cases about our own
resolver's clock, anchors and options, which ask nothing new.
"""

from collections.abc import Awaitable, Callable, Iterator

import attrs
import dns.name
import pytest
import trio

from tests.discovery import debian_delv, debian_servers, debian_unbound
from tests.discovery.debian import Daemon, running, world_servers, write_zones
from tests.discovery.matrix import CASES, Case, Found, build
from tests.discovery.matrix_zones import add_hooks
from tests.discovery.opinion import Disagreement, Opinion, Subject, complaints, listed
from volly_fed.config.values import Server
from volly_fed.daemon.dns.resolver import Resolver, trust_anchors
from volly_fed.discovery.endpoint import Step
from volly_fed.errors import DiscoveryError
from volly_fed.names import DomainName
from volly_fed.testing.world import World

pytestmark = [pytest.mark.debian, pytest.mark.real]

AT_ONCE = 4
"""Questions under way; delv is a process each."""
PATIENTLY = 16
"""The same for cases of misbehaving servers: those wait for time-outs more than they work."""
HASTE = {"outbound-msg-retry": "2"}
"""For unbound: how often it asks a server that says nothing. How long a verdict takes depends on it, nothing else."""

LOSSY = ("packet-loss", "everything-lost-once")
"""Cases that delv is not asked about: whether it asks a server again in time depends on how busy the machine is."""

Judge = Callable[["Question"], Awaitable[tuple[Opinion, str]]]


@attrs.frozen(kw_only=True)
class Question:
    """What is judged, and our own opinion."""

    case: str
    name: str
    rdtype: str
    served: bool
    ours: Opinion

    @property
    def subject(self) -> Subject:
        return Subject(self.case, f"{self.name} {self.rdtype}")


def is_judged(case: Case) -> bool:
    """Whether the case is about what DNS says, not about our resolver's own circumstances."""
    plain = Case(name="", status=case.status, reason="")
    circumstances = ("clock", "anchors", "ipv6", "change", "require_mldsa44")
    return all(getattr(case, name) == getattr(plain, name) for name in circumstances)


async def questions_of(resolver: Resolver, case: Case) -> list[Question]:
    """The questions of a case: the one that it asks, or all that its discovery asks."""
    if case.ask is not None:
        ours = Opinion.of(case.status, records=case.found is Found.RECORDS)
        return [Question(case=case.name, name=case.ask[0], rdtype=case.ask[1], served=case.served, ours=ours)]
    assert case.discover is not None
    steps: list[Step] = []
    try:
        await resolver.discover(DomainName(case.discover), trace=steps.append)
    except DiscoveryError:
        assert case.status is not None
    questions = []
    for step in steps:
        ours = Opinion.of_answer(await resolver.lookup(step.name, step.rrtype))
        questions.append(Question(case=case.name, name=step.name, rdtype=step.rrtype, served=case.served, ours=ours))
    return questions


async def collect(world: World, port: int) -> list[Question]:
    """All questions of the matrix, each once, with our opinions."""
    resolver = Resolver([Server("127.0.0.1", port)], trust_anchors(world.anchor_text), allow_private=True)
    found: dict[tuple[str, str, bool], Question] = {}
    for case in filter(is_judged, CASES):
        for question in await questions_of(resolver, case):
            found.setdefault((question.name.lower(), question.rdtype, question.served), question)
    return list(found.values())


@pytest.fixture(scope="module")
def world() -> World:
    return build()


@pytest.fixture(scope="module")
def ports(world: World) -> Iterator[dict[str, int]]:
    """The world's own servers: "" for everything, and one for each zone that is answered for wrongly.

    A resolver remembers how slow a server is: with one server for all, a silent zone would be held against the others.
    """
    origins = {dns.name.from_text(origin) for origin in world.origins} - {dns.name.root}
    names = {dns.name.from_text(case.ask[0] if case.ask else str(case.discover)) for case in CASES if not case.served}
    zones = {max(origin for origin in origins if name.is_subdomain(origin)).to_text() for name in names}
    with world_servers(world, len(zones) + 1) as numbers:
        yield dict(zip(["", *sorted(zones)], numbers, strict=True))


@pytest.fixture(scope="module")
def questions(world: World, ports: dict[str, int]) -> list[Question]:
    return trio.run(collect, world, ports[""])


@pytest.fixture(scope="module")
def named(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Serves the zone files.

    Why not another: knot 3.2.6 crashes over a zone that announces NSEC3 and has none, and nsd 4.6.1 leaves a part of
    the proof out where an empty non-terminal is opted out.
    """
    folder = tmp_path_factory.mktemp("named")
    with running(debian_servers.named(write_zones(world, folder / "zones"), world.origins), folder) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def unbound(
    world: World, named: Daemon, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Judge]:
    """Two of them: one in front of named, one in front of the world's own servers."""
    folder = tmp_path_factory.mktemp("unbound")
    to_zones = debian_unbound.unbound(world.anchor_text, forwards={".": named.port}, options=HASTE)
    forwards = {name or ".": port for name, port in ports.items()}
    to_world = debian_unbound.unbound(world.anchor_text, forwards=forwards, options=HASTE)
    with running(to_zones, folder / "zones") as zones, running(to_world, folder / "world") as answers:

        async def judge(question: Question) -> tuple[Opinion, str]:
            port = zones.port if question.served else answers.port
            return await debian_unbound.judge(port, question.name, question.rdtype)

        yield judge


@pytest.fixture(scope="module")
def delv(world: World, named: Daemon, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Judge:
    anchors = debian_delv.anchor(tmp_path_factory.mktemp("delv"), world.anchor_text)

    async def judge(question: Question) -> tuple[Opinion, str]:
        port = named.port if question.served else ports[""]
        return await debian_delv.judge(anchors, port, question.name, question.rdtype)

    return judge


async def differences(judge: Judge, questions: list[Question]) -> dict[Subject, Disagreement]:
    """Where `judge` does not say what we say, with what it gives as its reason."""
    add_hooks(build())  # new ones: some count what they have been asked
    found: dict[Subject, Disagreement] = {}
    limits = {True: trio.CapacityLimiter(AT_ONCE), False: trio.CapacityLimiter(PATIENTLY)}

    async def compare(question: Question) -> None:
        async with limits[question.served]:
            theirs, why = await judge(question)
        if theirs is not question.ours:
            found[question.subject] = Disagreement(theirs, question.ours, why)

    async with trio.open_nursery() as nursery:
        for question in questions:
            nursery.start_soon(compare, question)
    return found


async def test_unbound_judges_as_we_do_or_the_file_says_why(unbound: Judge, questions: list[Question]) -> None:
    problems = complaints("unbound", listed("unbound"), await differences(unbound, questions))
    assert not problems, "\n".join(problems)


async def test_delv_judges_as_we_do_or_the_file_says_why(delv: Judge, questions: list[Question]) -> None:
    asked = [question for question in questions if question.case not in LOSSY]
    problems = complaints("delv", listed("delv"), await differences(delv, asked))
    assert not problems, "\n".join(problems)


def test_most_of_the_matrix_is_judged(questions: list[Question]) -> None:
    judged = {question.case for question in questions}
    assert {case.name for case in CASES if is_judged(case) and case.ask is not None} - judged == set()
    assert len(questions) >= 150
    assert {question.ours for question in questions} == set(Opinion)
