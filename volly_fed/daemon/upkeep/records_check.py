"""What the world sees of a domain: every record validated, every authoritative server and address asked.

in: what ought to be published, a Resolver; out: Findings, in the order an operator repairs things.
Never: stops at the first thing that is wrong, or takes what nobody answered for fine.
Source: RFC 2782, RFC 4035 §5, RFC 6698 §3, RFC 7671 §7 and §8, RFC 7673.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

import dns.name
import trio
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.codepoints import PORT_DEVICE, PORT_FEDERATION
from volly_fed.config.model import HomeserverConfig
from volly_fed.config.records import Published
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.upkeep.authoritative import DNS_PORT, Zone, delegation, find_zone, poll_zone
from volly_fed.daemon.upkeep.findings import Finding
from volly_fed.daemon.upkeep.records_judge import (
    Wanted,
    has_current_key,
    judge_addresses,
    judge_identity,
    judge_srv,
    judge_tlsa,
    judge_wrong_owner,
)
from volly_fed.daemon.upkeep.records_servers import judge_views, judge_zone
from volly_fed.discovery import plan
from volly_fed.discovery.dnssec import Answer
from volly_fed.discovery.endpoint import Service, Status
from volly_fed.discovery.message import Question
from volly_fed.discovery.records import SrvRecord
from volly_fed.errors import DiscoveryError, NoRecords
from volly_fed.names import DomainName

T = TypeVar("T")
R = TypeVar("R")
_PORTS = {Service.FEDERATION: PORT_FEDERATION, Service.DEVICE: PORT_DEVICE}


async def check(config: HomeserverConfig, published: Published, resolver: Resolver) -> list[Finding]:
    """What the world sees of this homeserver's records, compared with what `published` says of its keys.

    Nothing that DNS says or does raises: it is in the findings.
    """
    wanted = [
        Wanted(
            service=Service.FEDERATION,
            host=config.federation.host,
            port=config.federation.port,
            keys=published.tls,
        )
    ]
    if config.devices.host is not None:
        keys = () if published.device_tls is None else (published.device_tls,)
        devices = Wanted(service=Service.DEVICE, host=config.devices.host, port=config.devices.port, keys=keys)
        wanted.append(devices)
    inspection = _Inspection(config.server.domain, resolver, config.dns.authoritative_port)
    return await inspection.run(wanted, published)


async def check_domain(domain: DomainName, resolver: Resolver, *, port: int = DNS_PORT) -> list[Finding]:
    """What the world sees of somebody else's domain: whether it is complete, proved and the same everywhere.

    `port` is where authoritative servers listen: other than 53 in test networks only. Raises like `check`: nothing.
    """
    return await _Inspection(domain, resolver, port).run([Wanted()], None)


class _Inspection:
    """One check; remembers the answers, so that the servers can be compared with them."""

    def __init__(self, domain: DomainName, resolver: Resolver, port: int) -> None:
        self._domain = domain
        self._resolver = resolver
        self._port = port
        self._answers: dict[Question, Answer] = {}

    async def run(self, wanted: Sequence[Wanted], published: Published | None) -> list[Finding]:
        services = [plan.service_question(self._domain, each.service) for each in wanted]
        identity = plan.identity_question(self._domain)
        await self._ask([*services, identity])
        findings = judge_identity(self._answers[identity], published)
        for question, each in zip(services, wanted, strict=True):
            found, targets = judge_srv(self._answers[question], each)
            findings += found
            for place in _places(each, targets):
                findings += await self._target(place)
        zones = await self._zones()
        # the keys' signatures are made apart from all others, and end apart from them
        signed = {zone.name: zone for zone in zones.values() if isinstance(zone, Zone) and zone.name != dns.name.root}
        await self._ask(Question(name, RdataType.DNSKEY) for name in signed)
        servers = await self._servers({**zones, **signed})
        about_zones = await _gather(self._zone, zones.items())
        return list(dict.fromkeys([*_flat(about_zones), *findings, *servers]))

    async def _ask(self, questions: Iterable[Question]) -> list[Answer]:
        async def ask(question: Question) -> Answer:
            return await self._resolver.lookup(question.name.to_text(), question.rdtype.name)

        wanted = list(questions)
        answers = await _gather(ask, wanted)
        self._answers.update(zip(wanted, answers, strict=True))
        return answers

    async def _target(self, wanted: Wanted) -> list[Finding]:
        assert wanted.host is not None
        addresses = await self._ask(plan.address_questions(wanted.host))
        findings = judge_addresses(addresses, allow_private=self._resolver.allow_private)
        try:
            questions = [plan.tlsa_question(wanted.port, base) for base in plan.tlsa_bases(wanted.host, addresses)]
        except NoRecords as error:
            return [*findings, Finding.of_error(f"{wanted.host} TLSA", error)]
        answers = await self._ask(questions)
        chosen = next((answer for answer in answers if not answer.absent), answers[-1])
        for answer in answers:
            if answer is not chosen:
                del self._answers[answer.question]  # the other name of an alias: nothing need be there
        findings += judge_tlsa(chosen, wanted)
        if not has_current_key(chosen, wanted):
            findings += await self._wrong_owners(wanted, chosen)
        return findings

    async def _wrong_owners(self, wanted: Wanted, chosen: Answer) -> list[Finding]:
        """What is published where people put TLSA records by mistake."""
        right = chosen.question.name.to_text(omit_final_dot=True)
        questions = [question for question in _mistakes(self._domain, wanted) if question != chosen.question]

        async def ask(question: Question) -> Answer:
            return await self._resolver.lookup(question.name.to_text(), question.rdtype.name)

        answers = await _gather(ask, questions)
        return [finding for answer in answers for finding in judge_wrong_owner(answer, wanted, right)]

    async def _zones(self) -> dict[dns.name.Name, Zone | DiscoveryError]:
        """The zone of every name that was asked for, or why it cannot be told."""

        async def find(name: dns.name.Name) -> Zone | DiscoveryError:
            try:
                return await find_zone(self._resolver, name.to_text())
            except DiscoveryError as error:
                return error

        # of an answer that is not proved, its own finding says why
        secure = (answer for answer in self._answers.values() if answer.status is Status.SECURE)
        names = list(dict.fromkeys(answer.canonical for answer in secure))
        return dict(zip(names, await _gather(find, names), strict=True))

    async def _zone(self, item: tuple[dns.name.Name, Zone | DiscoveryError]) -> list[Finding]:
        name, zone = item
        if not isinstance(zone, Zone):
            return [Finding.of_error(f"zone of {name.to_text(omit_final_dot=True)}", zone)]
        if zone.name == dns.name.root:
            return []
        origin = zone.name.to_text()
        ds, nsec3 = await self._resolver.lookup(origin, "DS"), await self._resolver.lookup(origin, "NSEC3PARAM")
        delegated: frozenset[str] | None = None
        with suppress(DiscoveryError), trio.move_on_after(limits.DISCOVERY):  # advice only: the DS says enough
            delegated = await delegation(self._resolver, zone, port=self._port)
        return judge_zone(zone, ds, nsec3, delegated)

    async def _servers(self, zones: dict[dns.name.Name, Zone | DiscoveryError]) -> list[Finding]:
        """Every answer that is proved, compared with what each server says."""
        now = self._resolver.now()

        async def compare(answer: Answer) -> list[Finding]:
            zone = zones.get(answer.canonical)
            if not isinstance(zone, Zone):
                return []
            name, rdtype = answer.canonical.to_text(), answer.question.rdtype.name
            return judge_views(answer, await poll_zone(zone, name, rdtype, now=now, port=self._port), now)

        return _flat(await _gather(compare, self._answers.values()))


def _places(wanted: Wanted, targets: Sequence[SrvRecord]) -> list[Wanted]:
    """Where the service has to be: at the place of this server, or wherever the records of a foreign domain lead."""
    if wanted.host is not None:
        return [wanted]
    return [Wanted(service=wanted.service, host=each.target, port=each.port) for each in targets]


def _mistakes(domain: DomainName, wanted: Wanted) -> list[Question]:
    """Owners where TLSA records are put by mistake, the right one among them where two are the same."""
    host, port = wanted.host, wanted.port
    names = [
        f"{host}",
        f"_tcp.{host}",
        f"_{port}.{host}",
        f"_{_PORTS[wanted.service]}._tcp.{host}",
        f"{domain}",
        f"_{port}._tcp.{domain}",
        f"{wanted.service.value}.{domain}",
        f"_{port}._tcp.{host}.{domain}",  # the final dot forgotten in a zone file
    ]
    found: list[Question] = []
    for name in dict.fromkeys(names):
        try:
            found.append(Question(plan.absolute(name), RdataType.TLSA))
        except NoRecords:
            continue  # too long to exist
    return found


async def _gather(function: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """`function` of every item, all at once; the results in the items' order."""
    results: dict[int, R] = {}

    async def one(index: int, item: T) -> None:
        results[index] = await function(item)

    async with trio.open_nursery() as nursery:
        for index, item in enumerate(items):
            nursery.start_soon(one, index, item)
    return [results[index] for index in sorted(results)]


def _flat(lists: Iterable[list[Finding]]) -> list[Finding]:
    return [finding for found in lists for finding in found]
